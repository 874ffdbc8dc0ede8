using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The vision transformer for videos of Table 2, as vit-pytorch has it: (n, 3, 16, 128, 128) to logits (n, classes). 512 patches of
/// 2 x 16 x 16 and a class token, each of 1024 features; 5 layers with 8 heads and an MLP of 2048; dropout 0.1 on tokens, attention and
/// features. A smaller video has fewer patches, at the first places. Unlike <see cref="ViT"/> it ends with a layer norm of the class
/// token alone.
/// </summary>
public sealed class ViT3D : Module<Tensor, Tensor>
{
    const int Frames = 16, Image = 128, FramePatch = 2, Patch = 16, PatchValues = 3 * FramePatch * Patch * Patch, Dim = 1024, Depth = 5;

    // A patch's values run over height, width, frames, channels.
    readonly Sequential to_patch_embedding = Sequential(
        new Patches([FramePatch, Patch, Patch], [1, 2, 0]), LayerNorm(PatchValues), Linear(PatchValues, Dim), LayerNorm(Dim));
    readonly Parameter pos_embedding = Parameter(randn(1, 1 + Frames / FramePatch * (Image / Patch) * (Image / Patch), Dim));
    readonly Parameter cls_token = Parameter(randn(1, 1, Dim));
    readonly Dropout dropout;
    readonly Transformer transformer;
    readonly Sequential mlp_head;

    /// <summary>Each a transformer layer.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = Transformer.Blocks(Depth);

    /// <param name="classes">Outputs.</param>
    /// <param name="dropout">Probability of every dropout.</param>
    public ViT3D(int classes = 100, double dropout = 0.1) : base(nameof(ViT3D))
    {
        this.dropout = Dropout(dropout);
        transformer = new Transformer(Dim, Depth, heads: 8, mlp: 2048, dropout, norm: false);
        mlp_head = Sequential(LayerNorm(Dim), Linear(Dim, classes));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var y = to_patch_embedding.call(x).WithClassToken(cls_token, pos_embedding).ThenThrough(dropout, transformer);
        using var first = y.select(1, 0);
        return mlp_head.call(first);
    }
}
