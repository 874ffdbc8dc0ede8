using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// EDSR (Lim et al. 2017) as in Table 3: images (n, 3, h, w) of 0 to 255 to (n, 3, 4h, 4w). 32 residual blocks of 256 features, each scaled
/// by 0.1, and two pixel shuffles of 2. The first convolution subtracts the mean colour of DIV2K and the last adds it again; neither is
/// trained. Parameters are named as in the published EDSR-PyTorch.
/// </summary>
public sealed class EDSR : Module<Tensor, Tensor>
{
    const int Depth = 32, Features = 256;

    readonly Conv2d sub_mean = MeanShift(-1), add_mean = MeanShift(1);
    readonly Sequential head = Sequential(Convolution(3, Features));
    readonly Sequential body, tail;

    /// <summary>block0 is every trained layer: Table 3 compresses the whole network.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = [["head", "body", "tail"]];

    public EDSR() : base(nameof(EDSR))
    {
        body = Sequential([.. Enumerable.Range(0, Depth).Select(_ => new Residual()), Convolution(Features, Features)]);
        tail = Sequential(
            Sequential(Convolution(Features, 4 * Features), PixelShuffle(2), Convolution(Features, 4 * Features), PixelShuffle(2)),
            Convolution(Features, 3));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        Tensor y;
        using (var shallow = x.Through(sub_mean, head)) y = body.call(shallow).Add_(shallow);
        return y.ThenThrough(tail, add_mean);
    }

    static Conv2d Convolution(int from, int to) => Conv2d(from, to, 3, padding: 1);

    static Conv2d MeanShift(int sign)
    {
        var shift = Conv2d(3, 3, 1);
        using var untracked = no_grad();
        using var weight = shift.weight.view(3, 3);
        using var identity = eye(3);
        using var offset = tensor(new[] { sign * 255 * 0.4488f, sign * 255 * 0.4371f, sign * 255 * 0.4040f });
        weight.copy_(identity);
        shift.bias!.copy_(offset);
        foreach (var parameter in shift.parameters()) parameter.requires_grad = false;
        return shift;
    }

    sealed class Residual : Module<Tensor, Tensor>
    {
        readonly Sequential body = Sequential(Convolution(Features, Features), ReLU(inplace: true), Convolution(Features, Features));

        public Residual() : base(nameof(Residual)) => RegisterComponents();

        public override Tensor forward(Tensor x)
        {
            using var y = body.call(x);
            return y.Mul(0.1f).Add_(x);
        }
    }
}
