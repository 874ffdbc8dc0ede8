using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The vision transformer of Table 2 (Dosovitskiy et al. 2021), as vit-pytorch has it: (n, 3, 256, 256) to logits (n, classes). 64 patches
/// of 32 x 32 and a class token, each of 1024 features; 5 layers with 16 heads and an MLP of 2048; dropout 0.1 on tokens, attention and
/// features. A smaller image has fewer patches, at the first places.
/// </summary>
public sealed class ViT : Module<Tensor, Tensor>
{
    const int Image = 256, Patch = 32, PatchValues = 3 * Patch * Patch, Dim = 1024, Depth = 5;

    readonly Sequential to_patch_embedding = Sequential(
        new Patches([Patch, Patch], [0, 1]), LayerNorm(PatchValues), Linear(PatchValues, Dim), LayerNorm(Dim));
    readonly Parameter pos_embedding = Parameter(randn(1, 1 + Image / Patch * (Image / Patch), Dim));
    readonly Parameter cls_token = Parameter(randn(1, 1, Dim));
    readonly Dropout dropout;
    readonly Transformer transformer;
    readonly Linear mlp_head;

    /// <summary>Each a transformer layer.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = Transformer.Blocks(Depth);

    /// <param name="classes">Outputs.</param>
    /// <param name="dropout">Probability of every dropout.</param>
    public ViT(int classes = 1000, double dropout = 0.1) : base(nameof(ViT))
    {
        this.dropout = Dropout(dropout);
        transformer = new Transformer(Dim, Depth, heads: 16, mlp: 2048, dropout, norm: true);
        mlp_head = Linear(Dim, classes);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var y = to_patch_embedding.call(x).WithClassToken(cls_token, pos_embedding).ThenThrough(dropout, transformer);
        using var first = y.select(1, 0);
        return mlp_head.call(first);
    }
}
