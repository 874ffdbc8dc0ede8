using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// What the vision transformers of Table 2 are, as vit-pytorch has them: patches of an image or a video and a class token, each of 1024
/// features; 5 layers; a head on the class token; dropout on tokens, attention and features. A smaller input has fewer patches, at the
/// first places.
/// </summary>
public abstract class VisionTransformer : Module<Tensor, Tensor>
{
    private protected const int Dim = 1024;

    const int Depth = 5;

    // Registered by name, whatever class they are met through, so they are not private.
    private protected readonly Sequential to_patch_embedding;
    private protected readonly Parameter pos_embedding;
    private protected readonly Parameter cls_token;
    private protected readonly Dropout dropout;
    private protected readonly Transformer transformer;
    private protected readonly Module<Tensor, Tensor> mlp_head;

    /// <summary>Each a transformer layer.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = Transformer.Blocks(Depth);

    /// <param name="name">The class's.</param>
    /// <param name="patches">Cuts the input.</param>
    /// <param name="patchValues">Values of a patch.</param>
    /// <param name="mostPatches">Of the largest input.</param>
    /// <param name="heads">Attention heads.</param>
    /// <param name="norm">Whether all tokens go through a last layer norm.</param>
    /// <param name="dropout">Probability of every dropout.</param>
    /// <param name="head">Makes logits of the class token.</param>
    private protected VisionTransformer(
        string name, Patches patches, int patchValues, int mostPatches, int heads, bool norm, double dropout,
        Func<Module<Tensor, Tensor>> head) : base(name)
    {
        to_patch_embedding = Sequential(patches, LayerNorm(patchValues), Linear(patchValues, Dim), LayerNorm(Dim));
        pos_embedding = Parameter(randn(1, 1 + mostPatches, Dim));
        cls_token = Parameter(randn(1, 1, Dim));
        this.dropout = Dropout(dropout);
        transformer = new Transformer(Dim, Depth, heads, mlp: 2048, dropout, norm);
        mlp_head = head();
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var y = to_patch_embedding.call(x).WithClassToken(cls_token, pos_embedding).ThenThrough(dropout, transformer);
        using var first = y.select(1, 0);
        return mlp_head.call(first);
    }
}
