using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

public class KeptFidelityTests
{
    static readonly ActivationCodec Coarse = ActivationCodec.Dct(100);

    static Sequential Model() => Sequential(
        ("conv1", Conv2d(3, 16, 3, padding: 1)), ("silu1", SiLU()), ("conv2", Conv2d(16, 16, 3, padding: 1)), ("bn2", BatchNorm2d(16)),
        ("silu2", SiLU()), ("conv3", Conv2d(16, 16, 3, padding: 1, stride: 2)), ("silu3", SiLU()), ("flatten", Flatten()),
        ("fc", Linear(16 * 12 * 12, 5)));

    // Makes smooth pictures of random waves.
    static Tensor Batch(int seed)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(seed);
        var (y, x) = (linspace(0, 6, 24).view(1, 1, 24, 1), linspace(0, 6, 24).view(1, 1, 1, 24));
        return ((rand(16, 3, 1, 1) * 2 * x + rand(16, 3, 1, 1) * 2 * y + 6 * rand(16, 3, 1, 1)).sin() + 0.1 * randn(16, 3, 24, 24))
            .MoveToOuterDisposeScope();
    }

    static Tensor Loss(Sequential model, Tensor x)
    {
        using var scope = NewDisposeScope();
        return functional.cross_entropy(model.call(x), arange(16).remainder(5)).MoveToOuterDisposeScope();
    }

    [Theory]
    [InlineData(0.98)]
    [InlineData(0.999)]
    public void A_fresh_network_keeps_the_cosine_on_other_batches_than_those_it_was_measured_on(double target)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        using var model = Model();
        using var compression = model.CompressActivations(options => options.Default(Coarse).KeepFidelity(target, batches: 2));
        for (var step = 0; step < 2; step++)
        {
            Assert.True(compression.Fidelity!.IsMeasuring);
            using var loss = Loss(model, Batch(step));
            compression.Backward(loss);
            model.zero_grad();
        }
        Assert.False(compression.Fidelity!.IsMeasuring);
        Assert.True(compression.Fidelity.Cosine >= target, $"{compression.Fidelity}");
        var fidelity = compression.MeasureFidelity(Enumerable.Range(100, 6).Select(seed => (Func<Tensor>)(() => Loss(model, Batch(seed)))));
        Assert.All(fidelity.Batches, batch => Assert.True(batch.Cosine >= target, $"{compression.Fidelity}\n{fidelity}"));
        using (var loss = Loss(model, Batch(200))) loss.backward();
        var report = compression.Report();
        Assert.True(report.KeptBytes < report.SavedBytes / 2, $"{report}");
        Assert.Contains(report.Notes, note => note.Contains("is kept", StringComparison.Ordinal));
        Assert.Equal(0, report.LiveBytes);
    }

    // The error of 16 bits is that of these maps under every codec. A measured cosine counts it, and the measured step is without it.
    [Fact]
    public void Maps_of_sixteen_bits_are_measured_too()
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        using var convolution = Conv2d(3, 8, 3);
        using var model = Sequential(("conv", convolution), ("root", new Root()));
        Tensor Of(Tensor x)
        {
            using var scope = NewDisposeScope();
            return model.call(x).sum().MoveToOuterDisposeScope();
        }
        using (var loss = Of(Batch(0))) loss.backward();
        var plain = convolution.weight.grad!.clone();
        model.zero_grad();
        using var compression = model.CompressActivations(options => options.Default(Coarse).KeepFidelity(0.9, batches: 1));
        using (var loss = Of(Batch(0))) compression.Backward(loss);
        Assert.True(plain.allclose(convolution.weight.grad!, 1e-4, 1e-6));
        Assert.InRange(compression.Fidelity!.Cosine!.Value, 0.9, 1 - 1e-10);
    }

    sealed class Root() : Module<Tensor, Tensor>(nameof(Root))
    {
        public override Tensor forward(Tensor x) => (x.abs() + 1e-3).sqrt();
    }

    [Fact]
    public void A_step_that_is_measured_leaves_the_exact_gradient_and_a_lower_target_takes_fewer_bytes()
    {
        using var everything = NewDisposeScope();
        var bytes = new List<long>();
        foreach (var target in (double[])[0.999, 0.98, 0.8])
        {
            random.manual_seed(1);
            using var model = Model();
            using (var loss = Loss(model, Batch(0))) loss.backward();
            var plain = model.parameters().Select(p => p.grad!.clone()).ToArray();
            model.zero_grad();
            using var compression = model.CompressActivations(options => options.Default(Coarse).KeepFidelity(target, batches: 1));
            using (var loss = Loss(model, Batch(0))) compression.Backward(loss);
            Assert.All(plain.Zip(model.parameters()), pair => Assert.True(pair.First.allclose(pair.Second.grad!, 1e-4, 1e-7)));
            using (var loss = Loss(model, Batch(0))) bytes.Add(compression.Report().KeptBytes);
        }
        Assert.True(bytes[0] > bytes[1] && bytes[1] > bytes[2], string.Join(", ", bytes));
    }

    // Of a smooth batch and a noisy one the noisy one is the worse, whichever comes first.
    [Theory, InlineData(true), InlineData(false)]
    public void The_worst_of_the_measured_batches_decides(bool smoothFirst)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        using var model = Model();
        using var compression = model.CompressActivations(options => options.Default(Coarse).KeepFidelity(0.9, batches: 2));
        Tensor[] batches = [Batch(0), Batch(0) + randn(16, 3, 24, 24)];
        foreach (var x in smoothFirst ? batches : [.. batches.Reverse()])
            using (var loss = Loss(model, x)) compression.Backward(loss);

        using (var loss = Loss(model, batches[1])) compression.Backward(loss);
        var most = compression.Fidelity!.RelativeError!.Value;
        var report = compression.Report();
        Assert.All(report.Layers, layer => Assert.True(!(layer.RelativeError > 1.1 * most), $"{most}\n{report}"));
        var fidelity = compression.MeasureFidelity(batches.Select(x => (Func<Tensor>)(() => Loss(model, x))));
        Assert.Equal(fidelity.Batches.Min(batch => batch.Cosine), compression.Fidelity.Cosine!.Value, 0.004);
    }

    [Fact]
    public void One_cosine_takes_fewer_bytes_where_maps_are_derived()
    {
        using var everything = NewDisposeScope();
        var (derived, held) = (Kept(derives: true), Kept(derives: false));
        Assert.True(derived < 0.9 * held, $"{derived} bytes with derived maps, {held} without");

        long Kept(bool derives)
        {
            random.manual_seed(1);
            using var model = Sequential(
                ("conv1", Conv2d(3, 16, 3, padding: 1)), ("bn1", BatchNorm2d(16)), ("relu1", ReLU()),
                ("conv2", Conv2d(16, 16, 3, padding: 1)), ("bn2", BatchNorm2d(16)), ("silu2", SiLU()), ("flatten", Flatten()),
                ("fc", Linear(16 * 24 * 24, 5)));
            using var compression =
                model.CompressActivations(options => options.Default(Coarse).DeriveMaps(derives).KeepFidelity(0.98, batches: 2));
            for (var step = 0; step < 2; step++)
                using (var loss = Loss(model, Batch(step))) compression.Backward(loss);
            var fidelity =
                compression.MeasureFidelity(Enumerable.Range(100, 4).Select(seed => (Func<Tensor>)(() => Loss(model, Batch(seed)))));
            Assert.All(fidelity.Batches, batch => Assert.True(batch.Cosine >= 0.98, $"{compression.Fidelity}\n{fidelity}"));
            using (var loss = Loss(model, Batch(200))) compression.Backward(loss);
            return compression.Report().KeptBytes;
        }
    }

    [Fact]
    public void Under_a_plain_backward_nothing_is_lost_and_the_report_says_that_nothing_was_measured()
    {
        using var everything = NewDisposeScope();
        using var model = Model();
        using var compression = model.CompressActivations(options => options.Default(Coarse).KeepFidelity(0.98));
        for (var step = 0; step < 6; step++)
        {
            using var loss = Loss(model, Batch(step));
            loss.backward();
        }
        Assert.True(compression.Fidelity!.IsMeasuring);
        Assert.Contains(compression.Report().Notes, note => note.Contains("0 of 4 steps", StringComparison.Ordinal));
        Assert.True(compression.MeasureFidelity(() => Loss(model, Batch(9))).Cosine > 0.999999);
    }

    [Fact]
    public void Layers_with_a_rule_keep_their_codec_and_what_contradicts_is_refused()
    {
        using var everything = NewDisposeScope();
        using var model = Model();
        Assert.Throws<ArgumentException>(() => model.CompressActivations(options => options.KeepFidelity(0.98).Budget(1 << 30)));
        Assert.Throws<ArgumentException>(() =>
            model.CompressActivations(options => options.Default(ActivationCodec.None).KeepFidelity(0.98)));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.CompressActivations(options => options.KeepFidelity(1)));
        using (var other = model.CompressActivations(Coarse)) Assert.Throws<InvalidOperationException>(other.MeasureAgain);
        using var compression = model.CompressActivations(options => options.Default(Coarse).Where("conv2", ActivationCodec.Dct(7))
            .Where("silu1", ActivationCodec.Dct(7)).KeepFidelity(0.9, batches: 1));
        for (var again = 0; again < 2; again++)
        {
            using (var loss = Loss(model, Batch(0))) compression.Backward(loss);
            using (var loss = Loss(model, Batch(1)))
            {
                Assert.Equal("dct:7", Assert.Single(compression.Report().Layers, layer => layer.Name == "silu1").KeptAs);
                compression.Backward(loss);
            }
            compression.MeasureAgain();
        }
    }
}
