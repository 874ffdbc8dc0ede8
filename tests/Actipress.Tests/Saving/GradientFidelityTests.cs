using Actipress.Accounting;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Saving;

[MeasuresMemory]
public class GradientFidelityTests
{
    // The runtime, above all its compiler, allocates up to this much meanwhile.
    const long MiB = 1 << 20, Others = 4 * MiB;

    static readonly string[] names = ["a.weight", "a.bias", "b", "unused"];

    [Fact]
    public void The_figures_are_those_of_plain_loops_over_pairs_of_batches()
    {
        const int Batches = 5;
        int[] lengths = [7, 2, 270_000, 0];    // one is longer than a piece
        var random = new Random(1);
        var mean = Numbers(() => random.NextDouble() - 0.5);
        var shift = Numbers(() => (random.NextDouble() - 0.5) / 5);
        var exact = Enumerable.Range(0, Batches).Select(_ => Plus(mean, Numbers(() => (random.NextDouble() - 0.5) / 3))).ToArray();
        var errors = exact.Select(_ => Plus(shift, Numbers(() => (random.NextDouble() - 0.5) / 4))).ToArray();
        var compressed = exact.Zip(errors, Plus).ToArray();

        using var comparison = new GradientComparison(names);
        foreach (var (g, c) in exact.Zip(compressed)) Add(comparison, g, c);
        var fidelity = comparison.Fidelity();

        // The estimates are defined as means over pairs of different batches.
        var (systematic, gradient) = (OverPairs(errors), OverPairs(exact));
        double Mean(float[][][] vectors) => vectors.Average(one => Dot(one, one));
        Assert.Equal(Math.Sqrt(systematic / gradient), fidelity.Bias!.Value, 5);
        Assert.Equal(Math.Sqrt((Mean(errors) - systematic) / (Mean(exact) - gradient)), fidelity.Noise!.Value, 5);
        Assert.Equal(Batches, fidelity.Batches.Count);
        foreach (var (g, c, batch) in exact.Zip(compressed, fidelity.Batches))
        {
            Assert.Equal(Dot(g, c) / Math.Sqrt(Dot(g, g) * Dot(c, c)), batch.Cosine, 6);
            Assert.Equal(Math.Sqrt(Dot(c, c) / Dot(g, g)), batch.NormRatio, 6);
        }
        Assert.Equal(fidelity.Batches.Average(batch => batch.Cosine), fidelity.Cosine, 12);
        Assert.Equal(fidelity.Batches.Average(batch => batch.NormRatio), fidelity.NormRatio, 12);
        Assert.Equal(names[..3], fidelity.Parameters.Select(parameter => parameter.Name));
        for (var p = 0; p < 3; p++)
        {
            double dot = 0, gg = 0, cc = 0, ee = 0;
            for (var b = 0; b < Batches; b++)
                for (var i = 0; i < lengths[p]; i++)
                {
                    var (g, c) = ((double)exact[b][p][i], (double)compressed[b][p][i]);
                    (dot, gg, cc, ee) = (dot + g * c, gg + g * g, cc + c * c, ee + (c - g) * (c - g));
                }
            Assert.Equal(dot / Math.Sqrt(gg * cc), fidelity.Parameters[p].Cosine, 6);
            Assert.Equal(Math.Sqrt(cc / gg), fidelity.Parameters[p].NormRatio, 6);
            Assert.Equal(Math.Sqrt(ee / gg), fidelity.Parameters[p].RelativeError, 6);
        }
        Assert.Equal(fidelity.Parameters.OrderByDescending(parameter => parameter.RelativeError).Take(2), fidelity.Worst(2));

        float[][] Numbers(Func<double> next) =>
            [.. lengths.Select(length => Enumerable.Range(0, length).Select(_ => (float)next()).ToArray())];
        static float[][] Plus(float[][] a, float[][] b) => [.. a.Zip(b, (one, other) => one.Zip(other, (x, y) => x + y).ToArray())];
        static double Dot(float[][] a, float[][] b) => a.Zip(b, (one, other) => one.Zip(other, (x, y) => (double)x * y).Sum()).Sum();
        static double OverPairs(float[][][] vectors)
        {
            double sum = 0;
            for (var b = 0; b < Batches; b++)
                for (var other = 0; other < Batches; other++)
                    if (other != b) sum += Dot(vectors[b], vectors[other]);
            return sum / (Batches * (Batches - 1));
        }
    }

    [Theory]
    [InlineData("one batch", new[] { 1f }, new[] { 0.5f }, null, null)]
    [InlineData("the same batch twice", new[] { 1f, 1f }, new[] { 0.5f, 0.5f }, 0.5, null)]
    // sqrt(0.25 / 2), where 2 = 5 - 3: the mean of squares is 5, the product 3
    [InlineData("errors that cancel: an estimate below zero is zero", new[] { 1f, 3f }, new[] { 0.5f, -0.5f }, 0.0, 0.35355339)]
    [InlineData("gradients that cancel: the mean gradient cannot be told", new[] { 1f, -1f }, new[] { 0.5f, 0.5f }, null, 0.0)]
    [InlineData("no error", new[] { 1f, 3f }, new[] { 0f, 0f }, 0.0, 0.0)]
    public void What_cannot_be_estimated_is_left_open(string what, float[] exact, float[] errors, double? bias, double? noise)
    {
        using var comparison = new GradientComparison(["weight"]);
        foreach (var (gradient, error) in exact.Zip(errors)) Add(comparison, [[gradient]], [[gradient + error]]);
        var fidelity = comparison.Fidelity();
        Assert.True(bias is null == fidelity.Bias is null && Math.Abs((bias ?? 0) - (fidelity.Bias ?? 0)) < 1e-6, $"{what}: {fidelity}");
        Assert.True(
            noise is null == fidelity.Noise is null && Math.Abs((noise ?? 0) - (fidelity.Noise ?? 0)) < 1e-6, $"{what}: {fidelity}");
    }

    [Theory]
    [InlineData(1e-4f, false)]    // small beside the gradients of other modules, but no rounding
    [InlineData(1e-6f, true)]
    public void A_parameter_alone_in_its_module_vanishes_where_it_is_rounding_beside_all_others(float gradient, bool vanishes)
    {
        using var comparison = new GradientComparison(names);
        for (var batch = 0; batch < 2; batch++) Add(comparison, [[1], [2], [gradient]], [[1.1f], [2.1f], [-gradient]]);
        Assert.Equal([false, false, vanishes], comparison.Fidelity().Parameters.Select(parameter => parameter.Vanishes));
    }

    [Fact]
    public void A_gradient_that_is_not_a_number_is_the_worst_and_hides_nowhere()
    {
        using var comparison = new GradientComparison(names);
        for (var batch = 0; batch < 2; batch++) Add(comparison, [[1], [2], [1 + batch]], [[1], [float.NaN], [1]]);
        var fidelity = comparison.Fidelity();
        Assert.Equal("a.bias", fidelity.Worst(1).Single().Name);
        Assert.True(
            double.IsNaN(fidelity.Cosine) && double.IsNaN(fidelity.Bias!.Value) && double.IsNaN(fidelity.Noise!.Value), $"{fidelity}");
    }

    [Theory]
    [InlineData(0.01), InlineData(1), InlineData(100)]
    public void A_bias_before_a_batch_norm_is_not_judged(double size)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        using var model = Classifier();
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var fidelity = compression.MeasureFidelity(Losses(model, 4, size));
        var vanish = fidelity.Parameters.Where(parameter => parameter.Vanishes).Select(parameter => parameter.Name).ToArray();
        Assert.Equal(["0.bias", "3.bias", "6.bias"], vanish);
        Assert.Equal(fidelity.Parameters.Count - 3, fidelity.Worst(100).Count);
        Assert.Contains("left out, whose exact gradient is zero but for rounding: 3", $"{fidelity}", StringComparison.Ordinal);
        Assert.DoesNotContain("6.bias", $"{fidelity}", StringComparison.Ordinal);
    }

    [Fact]
    public void Two_bits_are_noisy_and_a_cosine_transform_is_biased()
    {
        using var everything = NewDisposeScope();
        var (bits, transformed, exact) = (Of("quant:2"), Of("dct:10"), Of("quant:8"));
        Assert.True(bits.Bias < transformed.Bias / 3, $"{bits}{transformed}");
        Assert.True(bits.Noise > 2 * bits.Bias && transformed.Noise > transformed.Bias / 4, $"{bits}{transformed}");
        Assert.True(exact.Bias < 0.005 && exact.Noise < 0.005, $"{exact}");

        GradientFidelity Of(string codec)
        {
            random.manual_seed(1);
            using var model = Classifier();
            using (var adam = optim.Adam(model.parameters(), 3e-3))
                foreach (var loss in Losses(model, 20))
                {
                    adam.zero_grad();
                    using var scope = NewDisposeScope();
                    loss().backward();
                    adam.step();
                }
            using var compression = model.CompressActivations(ActivationCodec.Parse(codec));
            return compression.MeasureFidelity(Losses(model, 12));
        }
    }

    [Fact]
    public void Batches_are_made_when_it_comes_to_them_and_everything_is_left_as_it_was()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), BatchNorm2d(8), ReLU(), Dropout(0.5), Flatten(), Linear(8 * 32 * 32, 3));
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        model.call(randn(2, 1, 32, 32)).sum().backward();
        var (gradient, buffer, state) = (model.parameters().First().grad!.clone(), model.buffers().First().clone(), random.get_rng_state());
        var inputs = new List<Tensor>();
        var calls = 0;
        var fidelity = compression.MeasureFidelity(Batches());
        Assert.Equal(7, calls);
        Assert.True(fidelity is { Noise: > 0, Batches.Count: 3 }, $"{fidelity}");
        Assert.False(inputs[0].Equals(inputs[1]), "the batches' random numbers are the same");
        Assert.True(gradient.Equals(model.parameters().First().grad!), "gradient");
        Assert.True(buffer.Equals(model.buffers().First()), "buffer");
        Assert.True(state.Equals(random.get_rng_state()), "random state");

        IEnumerable<Func<Tensor>> Batches()
        {
            for (var batch = 0; batch < 3; batch++)
            {
                Assert.Equal(batch == 0 ? 0 : 2 * batch + 1, calls);
                var x = randn(2, 1, 32, 32);
                inputs.Add(x);
                yield return () =>
                {
                    calls++;
                    return model.call(x).square().mean();
                };
            }
        }
    }

    [Fact]
    public void A_failing_batch_leaves_everything_as_it_was()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), BatchNorm2d(8), ReLU());
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var x = randn(2, 1, 32, 32);
        model.call(x).sum().backward();
        var (gradient, buffer) = (model.parameters().First().grad!.clone(), model.buffers().First().clone());
        Assert.Throws<InvalidTimeZoneException>(() => compression.MeasureFidelity(
            [() => model.call(x).square().sum(), () => { model.call(x); throw new InvalidTimeZoneException(); }]));
        Assert.Contains(
            "found none", Assert.Throws<ArgumentException>(() => compression.MeasureFidelity([])).Message, StringComparison.Ordinal);
        Assert.Contains(
            "batch 2", Assert.Throws<ArgumentException>(() => compression.MeasureFidelity([() => model.call(x).sum(), null!])).Message,
            StringComparison.Ordinal);
        Assert.True(gradient.Equals(model.parameters().First().grad!), "gradient");
        Assert.True(buffer.Equals(model.buffers().First()), "buffer");
        // with a batch norm such a loss has hardly any gradient
        Assert.InRange(compression.MeasureFidelity(() => model.call(x).square().sum()).Cosine, -1, 1);
    }

    [Fact]
    public void More_batches_take_no_more_memory()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Linear(1024, 1024, hasBias: false), Tanh(), Linear(1024, 1024, hasBias: false));
        using var compression = model.CompressActivations(ActivationCodec.Quantized(8));
        var x = randn(16, 1024);
        var (parameters, held) = (8 * MiB, 0L);
        Peak(2);
        AllocatorMeter.Settle();
        var (few, many) = (Peak(2), Peak(9));
        Assert.InRange(many, few - Others, few + Others);
        // The memory is two sums and two gradients, the error of one parameter, and products in pieces.
        Assert.InRange(many, 3 * parameters, 5 * parameters + Others);
        Assert.InRange(held, -Others, Others);

        long Peak(int batches)
        {
            using var meter = AllocatorMeter.Start();
            var before = AllocatorMeter.CurrentBytes;
            compression.MeasureFidelity(Enumerable.Repeat(() => model.call(x).square().sum(), batches));
            held = AllocatorMeter.CurrentBytes - before;
            return meter.PeakBytes - before;
        }
    }

    static void Add(GradientComparison comparison, float[][] exact, float[][] compressed)
    {
        using var scope = NewDisposeScope();
        comparison.Add(Tensors(exact), Tensors(compressed));

        static Tensor?[] Tensors(float[][] vectors) =>
            [.. names.Select((_, i) => i < vectors.Length && vectors[i].Length > 0 ? tensor(vectors[i]) : null)];
    }

    static Sequential Classifier() => Sequential(
        Conv2d(1, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), Conv2d(16, 16, 3, padding: 1), BatchNorm2d(16), ReLU(),
        Conv2d(16, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), AdaptiveAvgPool2d(1), Flatten(), Linear(16, 4));

    // The images are waves in four directions.
    static IEnumerable<Func<Tensor>> Losses(Module<Tensor, Tensor> model, int batches, double size = 1)
    {
        for (var batch = 0; batch < batches; batch++)
        {
            var y = randint(4, 16);
            var place = arange(32, dtype: float32);
            var angle = y * (Math.PI / 4) + randn(16) * 0.2;
            var phase = (angle.cos().view(16, 1, 1) * place.view(1, 32, 1) + angle.sin().view(16, 1, 1) * place.view(1, 1, 32)) * 0.8
                + rand(16, 1, 1) * 6;
            var x = (phase.sin().view(16, 1, 32, 32) + randn(16, 1, 32, 32) * 0.3) * size;
            yield return () => functional.cross_entropy(model.call(x), y);
        }
    }

    // The exact gradients are those without compression, also for a checkpoint's input.
    [Fact]
    public void A_checkpoints_input_is_exact_where_the_exact_gradient_is_measured()
    {
        using var scope = NewDisposeScope();
        var model = Sequential(("first", Conv2d(1, 4, 3, padding: 1)), ("block", Sequential(SiLU(), Conv2d(4, 4, 3, padding: 1), SiLU())));
        using var checkpoints = Checkpoint.Blocks(model, "block");
        using var compression = model.CompressActivations(options => options.Default(ActivationCodec.Quantized(2)));
        var x = randn(2, 1, 32, 32);
        var fidelity = compression.MeasureFidelity(() => model.call(x).square().sum());
        Assert.True(compression.Report().KeptBytes < compression.Report().SavedBytes / 4, compression.Report().ToString());
        Assert.InRange(fidelity.Cosine, 0.5, 0.9999);
    }
}
