using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The vision transformer for videos of Table 2: (n, 3, 16, 128, 128) to logits (n, classes). It has 512 patches of 2 x 16 x 16 and 8
/// heads. Unlike <see cref="ViT"/> it ends with a layer norm of the class token alone.
/// </summary>
/// <param name="classes">The number of classes.</param>
/// <param name="dropout">The probability of every dropout.</param>
public sealed class ViT3D(int classes = 100, double dropout = 0.1) : VisionTransformer(
    nameof(ViT3D), new Patches([FramePatch, Patch, Patch], [1, 2, 0]), 3 * FramePatch * Patch * Patch,
    Frames / FramePatch * (Image / Patch) * (Image / Patch),
    heads: 8, norm: false, dropout, () => Sequential(LayerNorm(Dim), Linear(Dim, classes)))
{
    // The values of a patch are in the order (height, width, frames, channels).
    const int Frames = 16, Image = 128, FramePatch = 2, Patch = 16;
}
