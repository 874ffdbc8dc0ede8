using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The densely connected network for small images, DenseNet-BC (Huang et al. 2017): (n, 3, h, w) to logits (n, classes), with h and w
/// multiples of 4. Every layer of a block reads all maps before it, joined, so that plain training keeps a number of maps that grows with
/// the square of the depth.
/// </summary>
public sealed class DenseNet : Module<Tensor, Tensor>
{
    readonly Sequential features;
    readonly Linear classifier;

    /// <summary>block0 is the first convolution; block1 to block3 are the dense blocks with the transitions behind them.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } =
    [
        ["features.conv0"], ["features.denseblock1", "features.transition1"], ["features.denseblock2", "features.transition2"],
        ["features.denseblock3", "features.norm_final", "features.relu_final"],
    ];

    /// <param name="depth">The number of layers: 4 more than a multiple of 6.</param>
    /// <param name="growth">The number of channels that each layer adds.</param>
    /// <param name="classes">The number of classes.</param>
    public DenseNet(int depth = 100, int growth = 12, int classes = 10) : base(nameof(DenseNet))
    {
        if (depth < 10 || depth % 6 != 4)
            throw new ArgumentOutOfRangeException(nameof(depth), $"Found a depth of {depth}, wanted 4 more than a multiple of 6.");
        ArgumentOutOfRangeException.ThrowIfLessThan(growth, 1);
        var channels = 2 * growth;
        var parts = new List<(string, Module<Tensor, Tensor>)> { ("conv0", Conv2d(3, channels, 3, padding: 1, bias: false)) };
        for (var block = 1; block <= 3; block++)
        {
            parts.Add(($"denseblock{block}", new Dense((depth - 4) / 6, channels, growth)));
            channels += (depth - 4) / 6 * growth;
            if (block == 3) break;
            parts.Add(($"transition{block}", Sequential(
                ("norm", BatchNorm2d(channels)), ("relu", ReLU(inplace: true)), ("conv", Conv2d(channels, channels / 2, 1, bias: false)),
                ("pool", AvgPool2d(2)))));
            channels /= 2;
        }
        parts.Add(("norm_final", BatchNorm2d(channels)));
        parts.Add(("relu_final", ReLU()));
        parts.Add(("pool_final", AdaptiveAvgPool2d(1)));
        features = Sequential(parts);
        classifier = Linear(channels, classes);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var pooled = x.Through([.. features.Parts()]);
        using var flat = pooled.flatten(1);
        return classifier.call(flat);
    }

    // A dense block: (n, from, h, w) to (n, from + layers * growth, h, w).
    sealed class Dense : Module<Tensor, Tensor>
    {
        readonly Sequential[] layers;

        public Dense(int layers, int from, int growth) : base(nameof(Dense))
        {
            this.layers = [.. Enumerable.Range(0, layers).Select(layer => Layer(from + layer * growth, growth))];
            for (var layer = 0; layer < layers; layer++) register_module($"denselayer{layer + 1}", this.layers[layer]);
        }

        public override Tensor forward(Tensor x)
        {
            var maps = new List<Tensor> { x };
            try
            {
                foreach (var layer in layers)
                {
                    using var joined = cat(maps, 1);
                    maps.Add(joined.Through([.. layer.Parts()]));
                }
                return cat(maps, 1);
            }
            finally
            {
                foreach (var map in maps.Skip(1)) map.Dispose();
            }
        }

        static Sequential Layer(int from, int growth) => Sequential(
            ("norm1", BatchNorm2d(from)), ("relu1", ReLU(inplace: true)), ("conv1", Conv2d(from, 4 * growth, 1, bias: false)),
            ("norm2", BatchNorm2d(4 * growth)), ("relu2", ReLU(inplace: true)),
            ("conv2", Conv2d(4 * growth, growth, 3, padding: 1, bias: false)));
    }
}
