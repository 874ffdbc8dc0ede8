using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The features of MobileNetV2 (Sandler et al. 2018) with output stride 8, as the published DeepLabV3+ uses them: (n, 3, h, w) to 24
/// channels at h / 4 and 320 channels at h / 8, without its last convolution and its classifier. Each inverted residual pads its input, so
/// that no convolution pads. Where the stride would exceed 8 it is 1, and later convolutions are dilated. Parameters are named as in the
/// published code.
/// </summary>
sealed class MobileNetV2 : Module<Tensor, (Tensor LowLevel, Tensor HighLevel)>
{
    public const int LowLevelChannels = 24, HighLevelChannels = 320;

    const int Stem = 32, LowLevelLayers = 4, OutputStride = 8;

    // The expansion, channels, repeats and stride of each stage.
    static readonly (int Expansion, int Channels, int Repeats, int Stride)[] stages =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

    readonly Sequential low_level_features, high_level_features;

    public MobileNetV2() : base(nameof(MobileNetV2))
    {
        var layers = new List<(string Name, Module<Tensor, Tensor> Layer)> { ("0", Convolution(3, Stem, 3, stride: 2)) };
        var (channels, strideSoFar, dilation) = (Stem, 2, 1);
        foreach (var stage in stages)
        {
            var (stride, firstDilation) = (stage.Stride, dilation);
            if (strideSoFar == OutputStride) (stride, dilation) = (1, dilation * stage.Stride);
            else strideSoFar *= stride;
            for (var i = 0; i < stage.Repeats; i++)
            {
                var (ownStride, ownDilation) = i == 0 ? (stride, firstDilation) : (1, dilation);
                layers.Add(($"{layers.Count}", new InvertedResidual(channels, stage.Channels, ownStride, ownDilation, stage.Expansion)));
                channels = stage.Channels;
            }
        }
        low_level_features = Sequential(layers.Take(LowLevelLayers));
        high_level_features = Sequential(layers.Skip(LowLevelLayers));
        RegisterComponents();
    }

    /// <summary>The caller disposes both results.</summary>
    public override (Tensor LowLevel, Tensor HighLevel) forward(Tensor x)
    {
        var low = low_level_features.call(x);
        return (low, high_level_features.call(low));
    }

    static Sequential Convolution(int from, int to, int kernel, int stride = 1, int dilation = 1, int groups = 1) => Sequential(
        Conv2d(from, to, kernel, stride: stride, dilation: dilation, groups: groups, bias: false), BatchNorm2d(to), ReLU6(inplace: true));

    sealed class InvertedResidual : Module<Tensor, Tensor>
    {
        readonly Sequential conv;
        readonly int padding;
        readonly bool residual;

        public InvertedResidual(int from, int to, int stride, int dilation, int expansion) : base(nameof(InvertedResidual))
        {
            var inner = from * expansion;
            var layers = new List<Module<Tensor, Tensor>>();
            if (expansion > 1) layers.Add(Convolution(from, inner, 1));
            layers.Add(Convolution(inner, inner, 3, stride, dilation, groups: inner));
            layers.Add(Conv2d(inner, to, 1, bias: false));
            layers.Add(BatchNorm2d(to));
            conv = Sequential(layers);
            padding = dilation;
            residual = stride == 1 && from == to;
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var y = functional.pad(x, (padding, padding, padding, padding)).ThenThrough(conv);
            if (!residual) return y;
            using (y) return y.Add(x);
        }
    }
}
