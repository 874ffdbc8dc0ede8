using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The common part of Table 2's vision transformers, as in vit-pytorch: patches of an image or a video and a class token, each of 1024
/// features; 5 layers; a head on the class token; dropout on tokens, attention and features. A smaller input has fewer patches, at the
/// first positions.
/// </summary>
public abstract class VisionTransformer : Module<Tensor, Tensor>
{
    private protected const int Dim = 1024;

    const int Depth = 5;

    // TorchSharp registers fields by name, also those of a base class unless they are private.
    private protected readonly Sequential to_patch_embedding;
    private protected readonly Parameter pos_embedding;
    private protected readonly Parameter cls_token;
    private protected readonly Dropout dropout;
    private protected readonly Transformer transformer;
    private protected readonly Module<Tensor, Tensor> mlp_head;

    /// <summary>Each block is a transformer layer.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = Transformer.Blocks(Depth);

    /// <param name="name">The name of the class.</param>
    /// <param name="patches">Cuts the input into patches.</param>
    /// <param name="patchValues">The number of values of a patch.</param>
    /// <param name="mostPatches">The number of patches of the largest input.</param>
    /// <param name="heads">The number of attention heads.</param>
    /// <param name="norm">Whether a last layer norm follows for all tokens.</param>
    /// <param name="dropout">The probability of every dropout.</param>
    /// <param name="head">Maps the class token to logits.</param>
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
