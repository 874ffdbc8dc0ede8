using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// DeepLabV3+ (Chen et al. 2018) on MobileNetV2, as in Table 3: (n, 3, h, w) to logits (n, classes, h, w). Output stride 8, pyramid pooling
/// with rates 12, 24 and 36, a decoder at a quarter of the resolution. n is at least 2 in training, because a pooled image has one value a
/// channel, which batch norm cannot normalise. Parameters are named as in the published DeepLabV3Plus-Pytorch.
/// </summary>
public sealed class DeepLabV3Plus : Module<Tensor, Tensor>
{
    const int Features = 256, LowLevelFeatures = 48;

    readonly MobileNetV2 backbone = new();
    readonly Decoder classifier;

    /// <summary>block0 is the backbone: Table 3 compresses nothing else.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = [["backbone"]];

    /// <param name="classes">The number of classes.</param>
    public DeepLabV3Plus(int classes = 21) : base(nameof(DeepLabV3Plus))
    {
        classifier = new Decoder(classes);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        var (low, high) = backbone.call(x);
        Tensor logits;
        using (low)
        using (high)
            logits = classifier.call(low, high);
        return logits.Resized(x);
    }

    static Sequential Convolution(int from, int to, int kernel, int dilation = 1) => Sequential(
        Conv2d(from, to, kernel, padding: kernel / 2 * dilation, dilation: dilation, bias: false), BatchNorm2d(to), ReLU(inplace: true));

    sealed class Decoder : Module<Tensor, Tensor, Tensor>
    {
        readonly Sequential project = Convolution(MobileNetV2.LowLevelChannels, LowLevelFeatures, 1);
        readonly PyramidPooling aspp = new([12, 24, 36]);
        readonly Sequential classifier;

        public Decoder(int classes) : base(nameof(Decoder))
        {
            classifier = Convolution(LowLevelFeatures + Features, Features, 3).append(Conv2d(Features, classes, 1));
            RegisterComponents();
        }

        public override Tensor forward(Tensor low, Tensor high)
        {
            Tensor both;
            using (var fine = project.call(low))
            using (var coarse = aspp.call(high).Resized(fine))
                both = cat([fine, coarse], 1);
            return both.ThenThrough(classifier);
        }
    }

    /// <summary>
    /// Atrous spatial pyramid pooling: a 1 x 1 convolution, a dilated convolution for each rate, and the mean over the map, joined and
    /// mixed.
    /// </summary>
    sealed class PyramidPooling : Module<Tensor, Tensor>
    {
        readonly ModuleList<Module<Tensor, Tensor>> convs;
        readonly Sequential project;

        public PyramidPooling(int[] rates) : base(nameof(PyramidPooling))
        {
            const int from = MobileNetV2.HighLevelChannels;
            convs = ModuleList<Module<Tensor, Tensor>>([
                Convolution(from, Features, 1),
                .. rates.Select(rate => Convolution(from, Features, 3, rate)),
                Sequential(AdaptiveAvgPool2d(1), Conv2d(from, Features, 1, bias: false), BatchNorm2d(Features), ReLU(inplace: true))]);
            project = Convolution(convs.Count * Features, Features, 1).append(Dropout(0.1));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var views = convs.Select(conv => conv.call(x)).ToArray();
            views[^1] = views[^1].Resized(x);
            var all = cat(views, 1);
            foreach (var view in views) view.Dispose();
            return all.ThenThrough(project);
        }
    }
}

static class Resizing
{
    /// <summary>Resizes to the height and width of <paramref name="like"/>, bilinearly. Disposes <paramref name="x"/>.</summary>
    public static Tensor Resized(this Tensor x, Tensor like)
    {
        using (x) return functional.interpolate(x, size: like.shape[2..], mode: InterpolationMode.Bilinear, align_corners: false);
    }
}
