using Actipress.Backward;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Saving;

/// <summary>
/// A batch norm's gradient by its input adds up to zero in each channel. The layer before multiplies this sum by the mean of its own input.
/// </summary>
public sealed class BatchNormInputTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    public void Dispose() => scope.Dispose();

    static Module<Tensor, Tensor> Network(Module<Tensor, Tensor> normalisation, long axes = 2, long padding = 1)
    {
        Module<Tensor, Tensor> Convolution(long from) => axes switch
        {
            1 => Conv1d(from, 16L, 3L, padding: padding),
            2 => Conv2d(from, 16L, 3L, padding: padding),
            _ => Conv3d(from, 16L, 3L, padding: padding),
        };
        return Sequential(("first", Convolution(4)), ("norm", normalisation), ("relu", ReLU()), ("second", Convolution(16)));
    }

    // Smooth maps with the given mean and a deviation of about 1.
    static Tensor Input(double mean, params long[] shape)
    {
        using var noise = randn(shape);
        using var smooth = shape.Length switch
        {
            3 => functional.avg_pool1d(noise, 3, 1, 1),
            4 => functional.avg_pool2d(noise, 3, 1, 1),
            _ => functional.avg_pool3d(noise, [3, 3, 3], [1, 1, 1], [1, 1, 1]),
        };
        using var wide = smooth.mul(3);
        return wide.add(mean);
    }

    static Tensor[] Gradients(Module<Tensor, Tensor> model, Tensor x, Action<CompressionOptions>? configure, string of = "first")
    {
        model.zero_grad();
        using var compression = configure is null ? null : model.CompressActivations(configure);
        using (var y = model.call(x))
        using (var loss = y.mul(y).mul(y).mean()) loss.backward();
        return [.. model.named_parameters().Where(p => p.name.StartsWith(of)).Select(p => p.parameter.grad!.detach().to(float64))];
    }

    static void AssertNear(Module<Tensor, Tensor> model, Tensor x, Action<CompressionOptions> configure)
    {
        var (exact, found) = (Gradients(model, x, null), Gradients(model, x, configure));
        Assert.NotEqual(exact[0], found[0]);
        var cosine = functional.cosine_similarity(exact[0].flatten(), found[0].flatten(), 0, 1e-12).item<double>();
        var length = (found[0].norm() / exact[0].norm()).item<double>();
        Assert.True(cosine > 0.85 && length is > 0.7 and < 1.4, $"cosine {cosine}, length {length}");
    }

    public static TheoryData<double, int, bool> Ways => new(
        from mean in (double[])[0, 30, 1000]
        from examples in (int[])[8, 160]
        from inPieces in (bool[])[false, true]
        select (mean, examples, inPieces));

    [Theory]
    [MemberData(nameof(Ways))]
    public void The_first_layers_gradient_bears_an_input_far_from_zero(double mean, int examples, bool inPieces) =>
        AssertNear(
            Network(BatchNorm2d(16)), Input(mean, examples, 4, 32, 32),
            options => options.Default(ActivationCodec.Parse("dct:10")).ReadInPieces(inPieces));

    // The batch norm of one process among several, whose part is the whole batch.
    sealed class Shared() : Module<Tensor, Tensor>("shared")
    {
        public override Tensor forward(Tensor input)
        {
            long[] others = [0, .. Enumerable.Range(2, (int)input.dim() - 2)];
            using var values = input.detach();
            using Tensor mean = values.mean(others), variance = values.var(others, unbiased: false);
            var batch = new SharedBatchNorm(input.numel() / input.shape[1], _ => { });
            return batch.Normalise(input, mean, variance, null, null, 1e-5);
        }
    }

    // The steps of a transform, or of 16 bits, would be larger than the contrast.
    [Theory]
    [InlineData("dct:10", 100, "dct:10", 0.9)]
    [InlineData("dct:10", 1000, "quant:8", 0.99)]
    [InlineData("dct:10", 10_000, "quant:8", 0.95)]
    [InlineData("bf16", 30, "bf16", 0.99)]
    [InlineData("bf16", 1000, "quant:8", 0.99)]
    [InlineData("half", 1000, "quant:8", 0.99)]
    public void A_map_of_little_contrast_is_held_in_eight_bits(string codec, double mean, string kept, double least)
    {
        var (model, x) = (Network(BatchNorm2d(16), padding: 0), Input(mean, 8, 4, 34, 34));
        var (exact, found) = (Gradients(model, x, null, "norm.weight")[0], Gradients(model, x, Configure, "norm.weight")[0]);
        Assert.InRange(functional.cosine_similarity(exact, found, 0, 1e-12).item<double>(), least, 1.0001);
        using var compression = model.CompressActivations(Configure);
        model.call(x);
        Assert.StartsWith(kept, compression.Report().Layers.Single(layer => layer.Name == "norm").KeptAs, StringComparison.Ordinal);

        void Configure(CompressionOptions options) => options.Default(ActivationCodec.Parse(codec));
    }

    // A variance needs its input in 16 bits.
    [Theory, InlineData("dct:10"), InlineData("bf16"), InlineData("half")]
    public void The_gradient_of_a_variance_bears_a_large_mean(string codec)
    {
        using var x = Input(1000, 8, 16, 32, 32);
        var (exact, found) = (Gradient(false), Gradient(true));
        Assert.InRange(functional.cosine_similarity(exact, found, 0, 1e-12).item<double>(), 0.999, 1.0001);

        Tensor Gradient(bool compressed)
        {
            using var leaf = x.clone().requires_grad_();
            Tensor loss;
            using (compressed ? SavedTensors.Compress(ActivationCodec.Parse(codec)) : null)
            using (var input = leaf.Mul(1))    // no leaf, and nothing else keeps it
            using (var variances = input.var([2, 3]))
                loss = variances.mul(arange(128f).view(8, 16)).sum();
            using (loss) loss.backward();
            return leaf.grad!.to(float64).flatten();
        }
    }

    public static TheoryData<string, string> Norms => new(
        from norm in (string[])["1d", "3d", "instance", "without weight", "float64", "shared", "shared, large", "shared, float64"]
        from codec in (string[])["dct:10", "quant:4"]
        select (norm, codec));

    [Theory]
    [MemberData(nameof(Norms))]
    public void Every_batch_norm_bears_it(string norm, string codec)
    {
        var (model, x) = norm switch
        {
            "1d" => (Network(BatchNorm1d(16), axes: 1), Input(1000, 8, 4, 4096)),
            "3d" => (Network(BatchNorm3d(16), axes: 3), Input(1000, 2, 4, 16, 32, 32)),
            "instance" => (Network(InstanceNorm2d(16)), Input(1000, 8, 4, 32, 32)),
            "shared" => (Network(new Shared()), Input(1000, 8, 4, 32, 32)),
            "shared, large" => (Network(new Shared()), Input(1000, 160, 4, 32, 32)),
            "shared, float64" => (Network(new Shared()).to(float64), Input(1000, 8, 4, 32, 32).to(float64)),
            "without weight" => (Network(BatchNorm2d(16, affine: false)), Input(1000, 8, 4, 32, 32)),
            _ => (Network(BatchNorm2d(16)).to(float64), Input(1000, 8, 4, 32, 32).to(float64)),
        };
        AssertNear(model, x, options => options.Default(ActivationCodec.Parse(codec)));
    }

    // The maps are rebuilt whole where a second derivative may follow.
    [Fact]
    public void A_pass_with_a_graph_of_its_own_bears_it()
    {
        var (model, x) = (Network(BatchNorm2d(16)), Input(1000, 160, 4, 32, 32));
        Tensor Gradient(bool compressed)
        {
            using var compression = compressed ? model.CompressActivations(ActivationCodec.Parse("dct:10")) : null;
            var y = model.call(x);
            return autograd.grad([y.mul(y).mul(y).mean()], [model.get_parameter("first.weight")!], create_graph: true)[0].detach();
        }
        var (exact, found) = (Gradient(false), Gradient(true));
        Assert.InRange(functional.cosine_similarity(exact.flatten(), found.flatten(), 0, 1e-12).item<float>(), 0.85f, 0.99999f);
    }

    // The running statistics are those of other maps, so that the exact gradient has a sum too.
    [Fact]
    public void Evaluation_is_as_before()
    {
        var (model, x) = (Network(BatchNorm2d(16)), Input(0, 8, 4, 32, 32));
        model.call(x);
        model.eval();
        var (exact, found) = (Gradients(model, x, null), Gradients(model, x, options => options.Default(ActivationCodec.Parse("dct:10"))));
        foreach (var (wanted, close) in exact.Zip(found))
            Assert.InRange((wanted - close).norm().item<double>(), 0, 0.3 * wanted.norm().item<double>());
    }

    [Fact]
    public void Signs_that_the_user_asks_for_are_no_values()
    {
        var (model, x) = (Network(BatchNorm2d(16)), Input(0, 8, 4, 32, 32));
        var found = Gradients(model, x, options => options.Operation("aten::native_batch_norm", SavedNeed.Sign));
        Assert.True(found.All(gradient => gradient.isfinite().all().ToBoolean()));
    }

    [Fact]
    public void What_is_held_exactly_stays_as_it_is()
    {
        var (model, x) = (Network(BatchNorm2d(16)), Input(1000, 8, 4, 32, 32));
        var (exact, found) = (Gradients(model, x, null), Gradients(model, x, options => options.Default(ActivationCodec.None)));
        foreach (var (wanted, same) in exact.Zip(found)) Assert.Equal(wanted, same);
    }
}
