using Actipress.Autograd;
using Actipress.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Models;

public sealed class WaveletCompressedConvolutionTests : IDisposable
{
    readonly DisposeScope everything = NewDisposeScope();

    public WaveletCompressedConvolutionTests() => manual_seed(3);

    public void Dispose() => everything.Dispose();

    // The definition in plain loops and double precision is y = H^T T^T K T H x.
    static double[,,,] Definition(Tensor x, WaveletCompressedConvolution layer, double rate, int levels, int weightBits, int activationBits)
    {
        var parameters = layer.named_parameters().ToDictionary(named => named.name, named => named.parameter);
        var weight = parameters["weight"];
        var (n, inputs, h, w, outputs) = ((int)x.shape[0], (int)x.shape[1], (int)x.shape[2], (int)x.shape[3], (int)weight.shape[0]);
        var kernel = Weights(weight, parameters.GetValueOrDefault("w_alpha"), weightBits);
        var bias = parameters.GetValueOrDefault("bias")?.data<float>().ToArray();
        var step = 1 << levels;
        var (height, width) = ((h + step - 1) / step * step, (w + step - 1) / step * step);
        var y = new double[n, outputs, h, w];
        for (var image = 0; image < n; image++)
        {
            var maps = new double[inputs][,];
            for (var c = 0; c < inputs; c++)
            {
                maps[c] = new double[height, width];
                for (var i = 0; i < h; i++)
                    for (var j = 0; j < w; j++) maps[c][i, j] = x[image, c, i, j].item<float>();
                Haar(maps[c], levels, back: false);
            }
            var kept = (from i in Enumerable.Range(0, height)
                        from j in Enumerable.Range(0, width)
                        orderby maps.Sum(map => map[i, j] * map[i, j]) descending
                        select (i, j)).Take(Math.Max(1, (int)(height * width * rate))).ToHashSet();
            for (var o = 0; o < outputs; o++)
            {
                var map = new double[height, width];
                foreach (var (i, j) in kept)
                    map[i, j] = (bias?[o] ?? 0) + Enumerable.Range(0, inputs)
                        .Sum(c => kernel[o, c] * Rounded(maps[c][i, j], parameters.GetValueOrDefault("a_alpha"), activationBits));
                Haar(map, levels, back: true);
                for (var i = 0; i < h; i++)
                    for (var j = 0; j < w; j++) y[image, o, i, j] = map[i, j];
            }
        }
        return y;
    }

    static double[,] Weights(Tensor weight, Tensor? alpha, int bits)
    {
        var (values, columns) = (weight.data<float>().ToArray(), (int)weight.shape[1]);
        var mean = values.Average(value => (double)value);
        var deviation = Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Length - 1));
        var kernel = new double[weight.shape[0], columns];
        for (var i = 0; i < values.Length; i++)
            kernel[i / columns, i % columns] = alpha is null ? values[i] : Rounded((values[i] - mean) / deviation, alpha, bits);
        return kernel;
    }

    static double Rounded(double x, Tensor? alpha, int bits)
    {
        if (alpha is null) return x;
        var (clip, steps) = (alpha.item<float>(), (1 << bits - 1) - 1);
        return Math.Round(Math.Clamp(x / clip, -1, 1) * steps) / steps * clip;
    }

    // The transform is in place: the low band of a level lies in the upper left quarter.
    static void Haar(double[,] map, int levels, bool back)
    {
        foreach (var level in Enumerable.Range(0, levels).OrderBy(level => back ? -level : level))
        {
            var (rows, columns) = (map.GetLength(0) >> level, map.GetLength(1) >> level);
            var copy = (double[,])map.Clone();
            for (var i = 0; i < rows / 2; i++)
                for (var j = 0; j < columns / 2; j++)
                {
                    (int, int)[] places = [(2 * i, 2 * j), (2 * i, 2 * j + 1), (2 * i + 1, 2 * j), (2 * i + 1, 2 * j + 1)];
                    (int, int)[] bands = [(i, j), (i, j + columns / 2), (i + rows / 2, j), (i + rows / 2, j + columns / 2)];
                    var (from, to) = back ? (bands, places) : (places, bands);
                    var (a, b, c, d) = (At(from[0]), At(from[1]), At(from[2]), At(from[3]));
                    // the transform is its own inverse
                    double[] turned = [(a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2];
                    for (var k = 0; k < 4; k++) map[to[k].Item1, to[k].Item2] = turned[k];
                }

            double At((int Row, int Column) place) => copy[place.Row, place.Column];
        }
    }

    [Theory]
    [InlineData(16, 24, 0.25, 3, 32, 32, false), InlineData(16, 24, 0.25, 3, 4, 8, false), InlineData(13, 19, 0.5, 3, 4, 8, true)]
    [InlineData(6, 4, 1, 1, 2, 2, true), InlineData(5, 5, 0.01, 2, 32, 8, false), InlineData(1, 1, 0.25, 3, 4, 8, true)]
    public void It_is_the_definition(int height, int width, double rate, int levels, int weightBits, int activationBits, bool hasBias)
    {
        var layer = new WaveletCompressedConvolution(3, 5, rate, levels, weightBits, activationBits, hasBias);
        var x = randn(2, 3, height, width) * 3;
        var y = layer.call(x);
        var expected = Definition(x, layer, rate, levels, weightBits, activationBits);
        Assert.Equal([2, 5, height, width], y.shape);
        foreach (var (value, wanted) in y.data<float>().ToArray().Zip(expected.Cast<double>())) Assert.Equal(wanted, value, 1e-4);
    }

    [Fact]
    public void With_everything_kept_and_nothing_rounded_it_is_a_convolution()
    {
        var (layer, x) = (
            new WaveletCompressedConvolution(3, 5, rate: 1, weightBits: 32, activationBits: 32),
            randn([2, 3, 16, 24], requires_grad: true));
        var kernel = layer.parameters().Single();
        var (y, plain) = (layer.call(x), functional.conv2d(x, kernel.unsqueeze(-1)));
        Assert.True(y.allclose(plain, 1e-4, 1e-5));
        var gradients = autograd.grad([y.square().sum()], [x, kernel], retain_graph: true);
        var expected = autograd.grad([plain.square().sum()], [x, kernel]);
        Assert.True(gradients[0].allclose(expected[0], 1e-3, 1e-4));
        Assert.True(gradients[1].allclose(expected[1], 1e-3, 1e-3));
    }

    // The quantiser has a straight-through gradient: d/dx is 1 inside the clip and 0 outside, and d/dalpha is the rounding error divided by
    // alpha inside and the sign outside.
    [Fact]
    public void Gradients_pass_rounding_straight_through()
    {
        var layer = new WaveletCompressedConvolution(1, 1, rate: 1, levels: 1, weightBits: 32, activationBits: 4);
        var parameters = layer.named_parameters().ToDictionary(named => named.name, named => named.parameter);
        using (no_grad()) parameters["weight"].fill_(1);
        using (no_grad()) parameters["a_alpha"].fill_(1);
        // The four coefficients of a 2 x 2 map are 2, 0.1, -0.3 and 0: sums and differences by 2.
        var x = tensor(new[] { 0.9f, 0.8f, 1.2f, 1.1f }, [1, 1, 2, 2], requires_grad: true);
        layer.call(x).sum().backward();    // the sum of the outputs is twice the low coefficient, which is clipped
        Assert.All(x.grad!.data<float>().ToArray(), gradient => Assert.Equal(0, gradient, 6));
        Assert.Equal(2, parameters["a_alpha"].grad!.item<float>(), 5);

        x.grad.zero_();
        parameters["a_alpha"].grad!.zero_();
        (layer.call(x) * tensor(new[] { 1f, -1f, 1f, -1f }, [1, 1, 2, 2])).sum().backward();    // twice the coefficient of columns, 0.1
        Assert.Equal([1, -1, 1, -1], x.grad.data<float>().ToArray());
        Assert.Equal(2 * (MathF.Round(0.1f * 7) / 7 - 0.1f), parameters["a_alpha"].grad!.item<float>(), 5);
    }

    [Fact]
    public void It_leaves_nothing_behind_and_trains_with_compressed_maps_and_as_a_checkpoint()
    {
        var model = Sequential(
            ("first", Conv2d(3, 8, 3, padding: 1)), ("wavelet", new WaveletCompressedConvolution(8, 8, 0.25)), ("norm", BatchNorm2d(8)),
            ("relu", ReLU()));
        var x = randn(2, 3, 32, 32);
        float[][] Gradients(Action<Tensor> backward)
        {
            model.zero_grad();
            using var y = model.call(x);
            using var loss = y.square().mean();
            backward(loss);
            return [.. model.parameters().Select(parameter => parameter.grad!.reshape(-1).data<float>().ToArray())];
        }
        var plain = Gradients(loss => loss.backward());
        var (_, tensors) = Allocated.Level();
        model.call(x).Dispose();
        Assert.Equal(tensors, Tensor.TotalCount);
        using (Checkpoint.Blocks(model, "wavelet")) Assert.Equal(plain, Gradients(SavedTensors.Backward));
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        Gradients(compression.Backward);
        Assert.Equal(0, compression.LiveBytes);
        Assert.True(compression.Report().KeptBytes < compression.Report().SavedBytes);
    }

    // Table 3 has it above the baseline.
    [Fact]
    public void It_saves_more_than_a_plain_convolution()
    {
        var x = randn([2, 16, 32, 32], requires_grad: true);
        long Saved(Module<Tensor, Tensor> layer)
        {
            var storages = new Dictionary<nint, long>();
            using (SavedTensors.Hook(
                kept => { storages[StorageReference.AddressOf(kept)] = kept.NumberOfElements * kept.ElementSize; return kept; },
                kept => (Tensor)kept!))
                layer.call(x);
            return storages.Values.Sum();
        }
        Assert.True(
            Saved(new WaveletCompressedConvolution(16, 16, rate: 0.5)) > 1.5 * Saved(Conv2d(16, 16, 1)),
            $"{Saved(new WaveletCompressedConvolution(16, 16, rate: 0.5))}, {Saved(Conv2d(16, 16, 1))}");
    }

    [Fact]
    public void A_network_of_them_trains()
    {
        using var model = EfficientNet.B0(10, (from, to) => new WaveletCompressedConvolution(from, to, 0.25));
        // 16 inverted residuals, of which the first has no expansion
        Assert.Equal(31, model.modules().OfType<WaveletCompressedConvolution>().Count());
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        compression.Backward(model.call(randn(2, 3, 64, 64)).square().mean());
        Assert.All(model.named_parameters(), named => Assert.True(named.parameter.grad!.isfinite().all().item<bool>(), named.name));
        Assert.Equal(0, compression.LiveBytes);
    }

    [Theory, InlineData(0, 3, 4), InlineData(1.5, 3, 4), InlineData(0.5, 0, 4), InlineData(0.5, 3, 1)]
    public void What_cannot_be_is_refused(double rate, int levels, int bits) =>
        Assert.Contains(
            "wanted", Assert.Throws<ArgumentOutOfRangeException>(() => new WaveletCompressedConvolution(3, 3, rate, levels, bits)).Message,
            StringComparison.Ordinal);
}
