using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// Residual networks (He et al. 2016; the paper's Tables 2 and 3): (n, 3, h, w) to logits (n, classes). The network is a stem, stages of
/// stride 1, 2, 2, 2, an average pool and a linear layer. For small images, with h and w multiples of 8, the stem is a 3 x 3 convolution;
/// for photographs, with multiples of 32, it is a 7 x 7 convolution of stride 2 and a max pooling of stride 2. Parameters are named as in
/// torchvision.
/// </summary>
public sealed class ResNet : Module<Tensor, Tensor>
{
    readonly Conv2d conv1;
    readonly BatchNorm2d bn1;
    readonly ReLU relu = ReLU();
    readonly MaxPool2d? maxpool;
    readonly Sequential layer1, layer2, layer3;
    readonly Sequential? layer4;
    readonly AdaptiveAvgPool2d avgpool = AdaptiveAvgPool2d([1, 1]);
    readonly Linear fc;

    /// <summary>block0 is the stem; block1 to block4 are layer1 to layer4.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = [["conv1", "bn1", "relu"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]];

    /// <summary>The same with the pooling of a stem for photographs.</summary>
    public static IReadOnlyList<string[]> BlocksOfPhotographs { get; } = [[.. Blocks[0], "maxpool"], .. Blocks.Skip(1)];

    /// <param name="name">The name in reports.</param>
    /// <param name="depths">The number of residual blocks of each of the three or four stages.</param>
    /// <param name="bottleneck">Whether a block has three convolutions (1 x 1, 3 x 3, 1 x 1) in place of two.</param>
    /// <param name="classes">The number of classes.</param>
    /// <param name="planes">The number of channels of the first stage; each further stage has twice as many.</param>
    /// <param name="widthPerGroup">The number of channels inside a bottleneck, relative to 64.</param>
    /// <param name="ofPhotographs">Whether the stem divides height and width by 4.</param>
    public ResNet(
        string name, int[] depths, bool bottleneck, int classes = 100, int planes = 64, int widthPerGroup = 64, bool ofPhotographs = false)
        : base(name)
    {
        ArgumentNullException.ThrowIfNull(depths);
        conv1 = ofPhotographs ? Conv2d(3, planes, 7, stride: 2, padding: 3, bias: false) : Conv2d(3, planes, 3, padding: 1, bias: false);
        maxpool = ofPhotographs ? MaxPool2d(3, stride: 2, padding: 1) : null;
        bn1 = BatchNorm2d(planes);
        var channels = planes;
        layer1 = Stage(0, 1);
        layer2 = Stage(1, 2);
        layer3 = Stage(2, 2);
        layer4 = depths.Length > 3 ? Stage(3, 2) : null;
        fc = Linear(channels, classes);
        RegisterComponents();

        Sequential Stage(int stage, int stride)
        {
            var blocks = new List<(string, Module<Tensor, Tensor>)>();
            for (var i = 0; i < depths[stage]; i++)
            {
                var inner = planes << stage;
                blocks.Add(($"{i}", bottleneck
                    ? new Bottleneck(channels, inner, inner * widthPerGroup / 64, i == 0 ? stride : 1)
                    : new Basic(channels, inner, i == 0 ? stride : 1)));
                channels = bottleneck ? 4 * inner : inner;
            }
            return Sequential(blocks);
        }
    }

    /// <summary>11 220 132 parameters with 100 classes.</summary>
    public static ResNet ResNet18(int classes = 100) => new("ResNet18", [2, 2, 2, 2], bottleneck: false, classes);

    /// <summary>torchvision's network for photographs: 25 557 032 parameters with 1000 classes.</summary>
    public static ResNet ResNet50(int classes = 1000) => new("ResNet50", [3, 4, 6, 3], bottleneck: true, classes, ofPhotographs: true);

    /// <summary>ResNet152* of the paper: basic blocks.</summary>
    public static ResNet ResNet152Basic(int classes = 100) => new("ResNet152*", [3, 8, 36, 3], bottleneck: false, classes);

    /// <summary>ResNet152 of the paper: bottlenecks.</summary>
    public static ResNet ResNet152(int classes = 100) => new("ResNet152", [3, 8, 36, 3], bottleneck: true, classes);

    /// <summary>WideResNet101 of the paper.</summary>
    public static ResNet WideResNet101(int classes = 100) =>
        new("WideResNet101", [3, 4, 23, 3], bottleneck: true, classes, widthPerGroup: 128);

    /// <summary>The small network for CIFAR-10: three stages of 16, 32 and 64 channels.</summary>
    public static ResNet ResNet20(int classes = 10) => new("ResNet20", [3, 3, 3], bottleneck: false, classes, planes: 16);

    public override Tensor forward(Tensor x)
    {
        // A stage that is run as one module would hold its input until its last block is done.
        Sequential[] stages = layer4 is null ? [layer1, layer2, layer3] : [layer1, layer2, layer3, layer4];
        Module<Tensor, Tensor>[] stem = maxpool is null ? [conv1, bn1, relu] : [conv1, bn1, relu, maxpool];
        using var pooled = x.Through([.. stem, .. stages.SelectMany(stage => stage.Parts()), avgpool]);
        using var flat = pooled.flatten(1);
        return fc.call(flat);
    }

    static Sequential? Shortcut(int from, int to, int stride) =>
        from == to && stride == 1 ? null : Sequential(Conv2d(from, to, 1, stride: stride, bias: false), BatchNorm2d(to));

    // The sum is written into the main path's result, which batch norm does not save.
    static Tensor AddAndClip(Tensor main, Tensor x, Sequential? downsample, ReLU relu)
    {
        using (main)
        {
            if (downsample is null) main.Add_(x);
            else
                using (var shortcut = downsample.call(x)) main.Add_(shortcut);
            return relu.call(main);
        }
    }

    sealed class Basic : Module<Tensor, Tensor>
    {
        readonly Conv2d conv1, conv2;
        readonly BatchNorm2d bn1, bn2;
        readonly ReLU relu1 = ReLU(), relu2 = ReLU();
        readonly Sequential? downsample;

        public Basic(int from, int to, int stride) : base(nameof(Basic))
        {
            conv1 = Conv2d(from, to, 3, stride: stride, padding: 1, bias: false);
            bn1 = BatchNorm2d(to);
            conv2 = Conv2d(to, to, 3, padding: 1, bias: false);
            bn2 = BatchNorm2d(to);
            downsample = Shortcut(from, to, stride);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => AddAndClip(x.Through(conv1, bn1, relu1, conv2, bn2), x, downsample, relu2);
    }

    sealed class Bottleneck : Module<Tensor, Tensor>
    {
        readonly Conv2d conv1, conv2, conv3;
        readonly BatchNorm2d bn1, bn2, bn3;
        readonly ReLU relu1 = ReLU(), relu2 = ReLU(), relu3 = ReLU();
        readonly Sequential? downsample;

        public Bottleneck(int from, int planes, int width, int stride) : base(nameof(Bottleneck))
        {
            conv1 = Conv2d(from, width, 1, bias: false);
            bn1 = BatchNorm2d(width);
            conv2 = Conv2d(width, width, 3, stride: stride, padding: 1, bias: false);
            bn2 = BatchNorm2d(width);
            conv3 = Conv2d(width, 4 * planes, 1, bias: false);
            bn3 = BatchNorm2d(4 * planes);
            downsample = Shortcut(from, 4 * planes, stride);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) =>
            AddAndClip(x.Through(conv1, bn1, relu1, conv2, bn2, relu2, conv3, bn3), x, downsample, relu3);
    }
}
