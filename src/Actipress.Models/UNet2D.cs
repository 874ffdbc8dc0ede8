using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>The <see cref="UNet"/> of planes, such as slices of volumes: (n, inputs, h, w).</summary>
public sealed class UNet2D : UNet
{
    /// <param name="inputs">The number of channels of the image.</param>
    /// <param name="outputs">The number of classes.</param>
    /// <param name="features">f: the number of channels of the first level.</param>
    /// <param name="norm">
    /// Makes a normalisation by its number of channels, such as a batch norm that is synchronised over ranks; by default a batch norm.
    /// </param>
    public UNet2D(int inputs = 4, int outputs = 3, int features = 32, Func<int, Module<Tensor, Tensor>>? norm = null)
        : base(nameof(UNet2D), norm is null ? kind : kind with { Norm = norm }, inputs, outputs, features) { }

    static readonly Kind kind = new(
        (from, to) => Conv2d(from, to, 3, padding: 1), (map, weight, bias) => functional.conv2d(map, weight, bias, padding: [1, 1]),
        channels => BatchNorm2d(channels), () => MaxPool2d(2),
        from => ConvTranspose2d(from, from / 2, 2, stride: 2), (from, to) => Conv2d(from, to, 1));
}
