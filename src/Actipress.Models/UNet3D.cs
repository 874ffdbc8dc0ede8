using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The 3D U-Net of the paper's segmentation experiments: (n, inputs, d, h, w) with extents that are multiples of 16, to logits (n,
/// outputs, d, h, w). Four encoder levels of f, 2f, 4f, 8f channels, a bottleneck of 16f, four decoder levels; each level is twice
/// convolution, batch norm, ReLU.
/// </summary>
public sealed class UNet3D : Module<Tensor, Tensor>
{
    readonly Sequential down1, down2, down3, down4, bottom, up4, up3, up2, up1;
    readonly MaxPool3d pool1 = MaxPool3d(2), pool2 = MaxPool3d(2), pool3 = MaxPool3d(2), pool4 = MaxPool3d(2);
    readonly ConvTranspose3d rise4, rise3, rise2, rise1;
    readonly Conv3d head;

    /// <summary>
    /// Each an encoder level with its decoder level, from the finest on. Bottleneck, pools, transposed convolutions and the final
    /// convolution are in none.
    /// </summary>
    public static IReadOnlyList<string[]> Blocks { get; } = [["down1", "up1"], ["down2", "up2"], ["down3", "up3"], ["down4", "up4"]];

    /// <param name="inputs">Channels of the image.</param>
    /// <param name="outputs">Classes.</param>
    /// <param name="features">f: channels of the first level.</param>
    public UNet3D(int inputs = 4, int outputs = 3, int features = 32) : base(nameof(UNet3D))
    {
        var f = features;
        (down1, down2, down3, down4, bottom) = (Level(inputs, f), Level(f, 2 * f), Level(2 * f, 4 * f), Level(4 * f, 8 * f), Level(8 * f, 16 * f));
        (rise4, rise3, rise2, rise1) = (Rise(16 * f), Rise(8 * f), Rise(4 * f), Rise(2 * f));
        (up4, up3, up2, up1) = (Level(16 * f, 8 * f), Level(8 * f, 4 * f), Level(4 * f, 2 * f), Level(2 * f, f));
        head = Conv3d(f, outputs, 1);
        RegisterComponents();
    }

    /// <summary>That of BRATS and of Table 2: four modalities, three tumour regions; 22.6 million parameters.</summary>
    public static UNet3D Brats() => new(inputs: 4, outputs: 3, features: 32);

    /// <summary>That of SPLEEN: CT, spleen and background.</summary>
    public static UNet3D Spleen() => new(inputs: 1, outputs: 2, features: 14);

    static Sequential Level(int from, int to) => Sequential(
        ("conv1", Conv3d(from, to, 3, padding: 1)), ("bn1", BatchNorm3d(to)), ("relu1", ReLU()),
        ("conv2", Conv3d(to, to, 3, padding: 1)), ("bn2", BatchNorm3d(to)), ("relu2", ReLU()));

    static ConvTranspose3d Rise(int from) => ConvTranspose3d(from, from / 2, 2, stride: 2);

    public override Tensor forward(Tensor x)
    {
        var skip1 = down1.call(x);
        var skip2 = skip1.Through(pool1, down2);
        var skip3 = skip2.Through(pool2, down3);
        var skip4 = skip3.Through(pool3, down4);
        var y = skip4.Through(pool4, bottom);
        y = Up(y, skip4, rise4, up4);
        y = Up(y, skip3, rise3, up3);
        y = Up(y, skip2, rise2, up2);
        y = Up(y, skip1, rise1, up1);
        return y.ThenThrough(head);
    }

    static Tensor Up(Tensor y, Tensor skip, ConvTranspose3d rise, Sequential level)
    {
        using var risen = y.ThenThrough(rise);
        Tensor both;
        using (skip) both = cat([skip, risen], 1);
        return both.ThenThrough(level);
    }
}
