using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// EfficientNet as in Table 3 (Tan and Le 2019): (n, 3, h, w) to logits (n, classes). It has a stem of stride 2, seven stages of inverted
/// residuals with squeeze and excitation, and a head of 1280 channels. The widths are those of B0, and only the depths are scaled. The
/// activation is ReLU in place; there is neither dropout nor stochastic depth. Parameters are named as in torchvision.
/// </summary>
public sealed class EfficientNet : Module<Tensor, Tensor>
{
    const int Stem = 32, Head = 1280;

    // The channels, stride, kernel and expansion of each stage.
    static readonly (int Channels, int Stride, int Kernel, int Expansion)[] stages =
        [(16, 1, 3, 1), (24, 2, 3, 6), (40, 2, 5, 6), (80, 2, 3, 6), (112, 1, 5, 6), (192, 2, 5, 6), (320, 1, 3, 6)];

    readonly Sequential features;
    readonly AdaptiveAvgPool2d avgpool = AdaptiveAvgPool2d(1);
    readonly Sequential classifier;

    /// <summary>block0 is the whole network, which Table 3 compresses.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = [["features", "avgpool", "classifier"]];

    /// <param name="name">The name in reports.</param>
    /// <param name="repeats">The number of inverted residuals of each of the seven stages.</param>
    /// <param name="classes">The number of classes.</param>
    /// <param name="pointwise">
    /// Makes the inverted residuals' 1 x 1 convolutions from their channels in and out, such as
    /// <see cref="WaveletCompressedConvolution"/>s; by default plain convolutions.
    /// </param>
    public EfficientNet(string name, int[] repeats, int classes = 1000, Func<int, int, Module<Tensor, Tensor>>? pointwise = null)
        : base(name)
    {
        ArgumentNullException.ThrowIfNull(repeats);
        if (repeats.Length != stages.Length)
            throw new ArgumentException($"An EfficientNet has {stages.Length} stages, found {repeats.Length} repeats.", nameof(repeats));
        pointwise ??= (from, to) => Conv2d(from, to, 1, bias: false);
        var channels = Stem;
        features = Sequential([
            ("0", Convolution(3, Stem, 3, stride: 2)),
            .. stages.Select((stage, i) => ($"{i + 1}", (Module<Tensor, Tensor>)Stage(stage, repeats[i]))),
            ($"{stages.Length + 1}", Convolution(channels, Head, 1)),
        ]);
        classifier = Sequential(("1", Linear(Head, classes)));    // 0 is the dropout of torchvision
        RegisterComponents();

        Sequential Stage((int Channels, int Stride, int Kernel, int Expansion) stage, int depth)
        {
            var blocks = new List<(string, Module<Tensor, Tensor>)>();
            for (var i = 0; i < depth; i++)
            {
                blocks.Add((
                    $"{i}",
                    new InvertedResidual(channels, stage.Channels, i == 0 ? stage.Stride : 1, stage.Kernel, stage.Expansion, pointwise)));
                channels = stage.Channels;
            }
            return Sequential(blocks);
        }
    }

    /// <summary>5.29 million parameters with 1000 classes.</summary>
    public static EfficientNet B0(int classes = 1000, Func<int, int, Module<Tensor, Tensor>>? pointwise = null) =>
        new("EfficientNetB0", [1, 2, 2, 3, 3, 4, 1], classes, pointwise);

    /// <summary>10.22 million parameters with 1000 classes.</summary>
    public static EfficientNet B4(int classes = 1000) => new("EfficientNetB4", [2, 4, 4, 6, 6, 8, 2], classes);

    /// <summary>19.19 million parameters with 1000 classes.</summary>
    public static EfficientNet B8(int classes = 1000) => new("EfficientNetB8", [4, 8, 8, 11, 11, 15, 4], classes);

    public override Tensor forward(Tensor x)
    {
        using var pooled = x.Through(features, avgpool);
        using var flat = pooled.flatten(1);
        return classifier.call(flat);
    }

    static Sequential Convolution(int from, int to, int kernel, int stride = 1, int groups = 1) => Sequential(
        Conv2d(from, to, kernel, stride: stride, padding: kernel / 2, groups: groups, bias: false), BatchNorm2d(to), ReLU(inplace: true));

    sealed class InvertedResidual : Module<Tensor, Tensor>
    {
        readonly Sequential block;
        readonly bool residual;

        public InvertedResidual(int from, int to, int stride, int kernel, int expansion, Func<int, int, Module<Tensor, Tensor>> pointwise)
            : base(nameof(InvertedResidual))
        {
            var inner = from * expansion;
            var layers = new List<Module<Tensor, Tensor>>();
            if (expansion > 1) layers.Add(Sequential(pointwise(from, inner), BatchNorm2d(inner), ReLU(inplace: true)));
            layers.Add(Convolution(inner, inner, kernel, stride, groups: inner));
            layers.Add(new SqueezeExcitation(inner, from / 4));
            layers.Add(Sequential(pointwise(inner, to), BatchNorm2d(to)));
            block = Sequential(layers);
            residual = stride == 1 && from == to;
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var y = block.call(x);
            return residual ? y.Add_(x) : y;
        }
    }

    /// <summary>Squeeze and excitation: scales each channel by a function of the means of all channels.</summary>
    sealed class SqueezeExcitation : Module<Tensor, Tensor>
    {
        readonly AdaptiveAvgPool2d avgpool = AdaptiveAvgPool2d(1);
        readonly Conv2d fc1, fc2;
        readonly ReLU activation = ReLU(inplace: true);
        readonly Sigmoid scale_activation = Sigmoid();

        public SqueezeExcitation(int channels, int squeezed) : base(nameof(SqueezeExcitation))
        {
            fc1 = Conv2d(channels, squeezed, 1);
            fc2 = Conv2d(squeezed, channels, 1);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            using var scale = x.Through(avgpool, fc1, activation, fc2, scale_activation);
            return scale.mul(x);
        }
    }
}
