using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>The <see cref="UNet"/> of volumes: (n, inputs, d, h, w).</summary>
public sealed class UNet3D : UNet
{
    /// <param name="inputs">The number of channels of the image.</param>
    /// <param name="outputs">The number of classes.</param>
    /// <param name="features">f: the number of channels of the first level.</param>
    /// <param name="norm">
    /// Makes a normalisation by its number of channels, such as a batch norm that is synchronised over ranks; by default a batch norm.
    /// </param>
    public UNet3D(int inputs = 4, int outputs = 3, int features = 32, Func<int, Module<Tensor, Tensor>>? norm = null)
        : base(nameof(UNet3D), norm is null ? kind : kind with { Norm = norm }, inputs, outputs, features) { }

    /// <summary>The network of BRATS and of Table 2: four modalities, three tumour regions; 22.6 million parameters.</summary>
    public static UNet3D Brats() => new(inputs: 4, outputs: 3, features: 32);

    /// <summary>The network of SPLEEN: CT, spleen and background.</summary>
    public static UNet3D Spleen() => new(inputs: 1, outputs: 2, features: 14);

    static readonly Kind kind = new(
        (from, to) => Conv3d(from, to, 3, padding: 1), (map, weight, bias) => functional.conv3d(map, weight, bias, padding: [1, 1, 1]),
        channels => BatchNorm3d(channels), () => MaxPool3d(2),
        from => ConvTranspose3d(from, from / 2, 2, stride: 2), (from, to) => Conv3d(from, to, 1));
}
