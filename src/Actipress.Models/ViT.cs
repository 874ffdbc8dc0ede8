using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The vision transformer of Table 2 (Dosovitskiy et al. 2021): (n, 3, 256, 256) to logits (n, classes). It has 64 patches of 32 x 32, 16
/// heads, and a layer norm of all tokens before the head.
/// </summary>
/// <param name="classes">The number of classes.</param>
/// <param name="dropout">The probability of every dropout.</param>
public sealed class ViT(int classes = 1000, double dropout = 0.1) : VisionTransformer(
    nameof(ViT), new Patches([Patch, Patch], [0, 1]), 3 * Patch * Patch, Image / Patch * (Image / Patch),
    heads: 16, norm: true, dropout, () => Linear(Dim, classes))
{
    const int Image = 256, Patch = 32;
}
