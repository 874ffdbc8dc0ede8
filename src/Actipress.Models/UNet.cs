using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The U-Net of the paper's segmentation experiments, over planes or volumes: four encoder levels of f, 2f, 4f, 8f channels, a bottleneck
/// of 16f, four decoder levels; each level is twice convolution, batch norm, ReLU. (n, inputs, ...) with extents that are multiples of
/// 16, to logits (n, outputs, ...).
/// </summary>
public abstract class UNet : Module<Tensor, Tensor>
{
    // TorchSharp finds a module's children among its own fields and its inherited protected fields.
    private protected readonly Module<Tensor, Tensor> down1, down2, down3, down4, bottom, up4, up3, up2, up1;
    private protected readonly Module<Tensor, Tensor> pool1, pool2, pool3, pool4;
    private protected readonly Module<Tensor, Tensor> rise4, rise3, rise2, rise1;
    private protected readonly Module<Tensor, Tensor> head;

    /// <summary>
    /// Each block is an encoder level with its decoder level, from the finest on. The bottleneck, pools, transposed convolutions and the
    /// final convolution belong to no block.
    /// </summary>
    public static IReadOnlyList<string[]> Blocks { get; } = [["down1", "up1"], ["down2", "up2"], ["down3", "up3"], ["down4", "up4"]];

    /// <summary>The layers of networks over planes or over volumes.</summary>
    /// <param name="Convolution">Makes a convolution of 3 points an axis, by its numbers of input and output channels.</param>
    /// <param name="Convolve">Applies such a convolution with a weight and an optional bias.</param>
    /// <param name="Norm">Makes a batch norm by its number of channels.</param>
    /// <param name="Pool">Halves every axis.</param>
    /// <param name="Rise">Doubles every axis and halves the channels.</param>
    /// <param name="Head">Makes a convolution of 1 point an axis.</param>
    private protected sealed record Kind(
        Func<int, int, Module<Tensor, Tensor>> Convolution, Func<Tensor, Tensor, Tensor?, Tensor> Convolve,
        Func<int, Module<Tensor, Tensor>> Norm, Func<Module<Tensor, Tensor>> Pool, Func<int, Module<Tensor, Tensor>> Rise,
        Func<int, int, Module<Tensor, Tensor>> Head);

    readonly Kind kind;

    private protected UNet(string name, Kind kind, int inputs, int outputs, int features) : base(name)
    {
        this.kind = kind;
        var f = features;
        (down1, down2, down3, down4, bottom) =
            (Level(inputs, f), Level(f, 2 * f), Level(2 * f, 4 * f), Level(4 * f, 8 * f), Level(8 * f, 16 * f));
        (pool1, pool2, pool3, pool4) = (kind.Pool(), kind.Pool(), kind.Pool(), kind.Pool());
        (rise4, rise3, rise2, rise1) = (kind.Rise(16 * f), kind.Rise(8 * f), kind.Rise(4 * f), kind.Rise(2 * f));
        (up4, up3, up2, up1) = (Level(16 * f, 8 * f), Level(8 * f, 4 * f), Level(4 * f, 2 * f), Level(2 * f, f));
        head = kind.Head(f, outputs);
        RegisterComponents();

        Module<Tensor, Tensor> Level(int from, int to) => Sequential(
            ("conv1", kind.Convolution(from, to)), ("bn1", kind.Norm(to)), ("relu1", ReLU()),
            ("conv2", kind.Convolution(to, to)), ("bn2", kind.Norm(to)), ("relu2", ReLU()));
    }

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

    // A level that is run as one module would hold its input until its last layer is done.
    Tensor Up(Tensor y, Tensor skip, Module<Tensor, Tensor> rise, Module<Tensor, Tensor> level)
    {
        Module<Tensor, Tensor>[] layers = [.. level.Parts()];
        using var joined = OfJoined(layers[0], skip, y.ThenThrough(rise));
        return joined.Through(layers[1..]);
    }

    // The convolution of two maps that are joined by channels is the sum of one convolution of each. So the maps are never joined, and
    // neither are their gradients, one of which is held until the encoder's backward pass. Both maps are disposed.
    Tensor OfJoined(Module<Tensor, Tensor> convolution, Tensor skip, Tensor risen)
    {
        var (weight, bias) = (convolution.get_parameter("weight")!, convolution.get_parameter("bias"));
        var (sum, channels) = ((Tensor?)null, skip.shape[1]);
        using (skip)
        using (var part = weight.narrow(1, 0, channels))
            sum = kind.Convolve(skip, part, bias);
        using (risen)
        using (var part = weight.narrow(1, channels, risen.shape[1]))
        using (var other = kind.Convolve(risen, part, null))
            sum.Add_(other);
        return sum;
    }
}
