using System.Runtime.CompilerServices;
using Actipress.Accounting;
using Actipress.Models;
using Actipress.Saving;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

[MeasuresMemory]
public sealed class MemoryBudgetTests : IDisposable
{
    // .NET allocates up to this much for itself within a step.
    const long Others = 500_000;

    readonly int threads = get_num_threads();
    public MemoryBudgetTests() => set_num_threads(1);
    public void Dispose() => set_num_threads(threads);

    static Module<Tensor, Tensor> Stack() => Sequential(
        ("conv1", Conv2d(3, 16, 3, padding: 1)), ("bn1", BatchNorm2d(16)), ("relu1", ReLU()),
        ("conv2", Conv2d(16, 16, 3, padding: 1)), ("bn2", BatchNorm2d(16)), ("relu2", ReLU()),
        ("conv3", Conv2d(16, 16, 3, padding: 1)), ("bn3", BatchNorm2d(16)), ("relu3", ReLU()), ("head", Conv2d(16, 1, 1)));

    static (Module<Tensor, Tensor> Model, Tensor Input) Create(string network) => network switch
    {
        "stack" => (Stack(), randn(16, 3, 64, 64)),
        "ResNet18" => (ResNet.ResNet18(), randn(8, 3, 32, 32)),
        "UNet3D" => (new UNet3D(features: 4), randn([1, 4, 48, 48, 48])),
        _ => throw new ArgumentException(network),
    };

    // Returns the peak of a step above the level before it.
    static long Step(Module<Tensor, Tensor> model, ActivationCompression compression, Tensor x, Action? midway = null)
    {
        foreach (var parameter in model.parameters()) parameter.grad = null;
        using var meter = AllocatorMeter.Start();
        var before = AllocatorMeter.CurrentBytes;
        using (var y = model.call(x))
        using (var loss = y.square().sum())
        {
            midway?.Invoke();
            compression.Backward(loss);
        }
        return meter.PeakBytes - before;
    }

    static (long Saved, long Peak) Plain(Module<Tensor, Tensor> model, Tensor x)
    {
        using var compression = model.CompressActivations(ActivationCodec.None);
        Step(model, compression, x);
        var peak = Step(model, compression, x);
        return (compression.Report().SavedBytes, peak);
    }

    [Theory, InlineData("stack"), InlineData("ResNet18"), InlineData("UNet3D")]
    public void Saved_maps_keep_to_a_quarter_a_half_and_three_quarters(string network)
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create(network);
        var saved = Plain(model, x).Saved;
        foreach (var share in (double[])[0.25, 0.5, 0.75])
        {
            var bytes = (long)(share * saved);
            using var compression = model.CompressActivations(options => options.Budget(bytes, BudgetOf.Maps));
            for (var step = 0; step < 3; step++) Step(model, compression, x);
            // The stack has three sources, and a whole step of the ladder may not fit.
            var least = (network == "stack" ? 0.5 : 0.7) * bytes;
            Assert.InRange(compression.Report().KeptBytes, least, bytes * 1.05);
            Step(model, compression, x);    // the beginning of this step judges the step before
            Assert.InRange(compression.Budget!.MeasuredBytes!.Value, least, bytes * 1.05);
            Assert.Contains("budget of", compression.Report().ToString(), StringComparison.Ordinal);
        }
    }

    [Theory, InlineData("stack"), InlineData("ResNet18"), InlineData("UNet3D")]
    public void The_whole_steps_peak_keeps_to_what_is_possible(string network)
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create(network);
        var plain = Plain(model, x).Peak;
        long least;
        using (var compression = model.CompressActivations(options => options.Budget(1)))
        {
            Step(model, compression, x);
            var failure = Assert.Throws<BudgetException>(() => Step(model, compression, x));
            Assert.Throws<BudgetException>(() => Step(model, compression, x));    // every later step throws too
            least = failure.LeastBytes;
            Assert.Contains($"{least:N0}", failure.Message, StringComparison.Ordinal);
            Assert.InRange(least, plain / 10, plain * 0.9);
        }
        foreach (var share in (double[])[0, 0.25, 0.5, 0.75])
        {
            var bytes = least + Others + (long)(share * (plain - least));
            using var compression = model.CompressActivations(options => options.Budget(bytes));
            for (var step = 0; step < 2; step++) Step(model, compression, x);
            // .NET may allocate within one of the steps
            Assert.InRange(Math.Min(Step(model, compression, x), Step(model, compression, x)), 0, bytes * 1.02 + Others);
            Assert.Equal(0, compression.LiveBytes);
        }
    }

    [Theory, InlineData(0.05), InlineData(0.2)]
    public void Within_one_budget_derived_maps_leave_a_truer_gradient(double share)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        var model = Stack();
        var bytes = (long)(share * Plain(model, Batch(0)).Saved);
        var (derived, held) = (Measure(derives: true), Measure(derives: false));
        Assert.True(derived.Noise < 0.7 * held.Noise && derived.Bias < 0.7 * held.Bias, $"{derived}{held}");

        Tensor Batch(int seed)
        {
            random.manual_seed(seed);
            return functional.avg_pool2d(randn(16, 3, 64, 64), 5, 1, 2).Mul(4);
        }

        Tensor Loss(int seed)
        {
            using var y = model.call(Batch(seed));
            return y.sub(y.sin()).square().mean();
        }

        GradientFidelity Measure(bool derives)
        {
            using var compression = model.CompressActivations(options => options.DeriveMaps(derives).Budget(bytes, BudgetOf.Maps));
            for (var step = 0; step < 3; step++)
                using (var loss = Loss(step)) compression.Backward(loss);
            Assert.InRange(compression.Report().KeptBytes, 0.5 * bytes, 1.05 * bytes);
            Assert.Equal(derives, compression.Report().ToString().Contains("derived from bn1", StringComparison.Ordinal));
            return compression.MeasureFidelity(Enumerable.Range(10, 6).Select(seed => (Func<Tensor>)(() => Loss(seed))));
        }
    }

    [Fact]
    public void A_map_that_cannot_be_derived_any_more_is_as_coarse_as_its_source()
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
        var bytes = Plain(model, x).Saved / 20;
        using var compression = model.CompressActivations(options => options.Budget(bytes, BudgetOf.Maps));
        for (var step = 0; step < 3; step++) Step(model, compression, x);
        var codec = compression.Budget!.Codecs["bn1"];
        Assert.StartsWith("dct:", $"{codec}", StringComparison.Ordinal);
        Assert.Equal("derived from bn1", KeptAs("relu1"));

        // Beside so large a mean the norm's coded input tells nothing of its result.
        using (no_grad()) model.get_parameter("conv1.bias")!.Add_(10_000);
        Step(model, compression, x);
        Assert.Equal($"{codec}", KeptAs("relu1"));

        string KeptAs(string layer) =>
            compression.Report().Layers.Single(one => one.Name == layer).KeptAs.Replace(", small", "", StringComparison.Ordinal);
    }

    [Fact]
    public void What_else_the_process_allocates_within_one_step_is_no_reason_to_refuse()
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
        Plain(model, x);    // libtorch and the compiler keep some memory from the process's first step on
        using var first = model.CompressActivations(options => options.Budget(1));
        Step(model, first, x);
        var bytes = Assert.Throws<BudgetException>(() => Step(model, first, x)).LeastBytes * 51 / 50;
        first.Dispose();

        using var compression = model.CompressActivations(options => options.Budget(bytes));
        Step(model, compression, x);
        StepBeside(4_000_000);
        for (var step = 0; step < 3; step++) Step(model, compression, x);
        Assert.InRange(compression.Budget!.LeastBytes!.Value, 0, bytes);

        StepBeside(4_000_000);
        StepBeside(4_000_000);
        Assert.InRange(Assert.Throws<BudgetException>(() => Step(model, compression, x)).LeastBytes, bytes + 3_000_000, bytes + 6_000_000);

        void StepBeside(int other)
        {
            Tensor? beside = null;
            Step(model, compression, x, () => beside = zeros(other / sizeof(float)));
            beside!.Dispose();
        }
    }

    [Theory, InlineData(10, true), InlineData(2, false)]
    public void What_the_first_step_keeps_for_good_is_no_reason_to_refuse(int share, bool isBorne)
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
        Plain(model, x);
        using var first = model.CompressActivations(options => options.Budget(1));
        Step(model, first, x);
        var bytes = Assert.Throws<BudgetException>(() => Step(model, first, x)).LeastBytes * 51 / 50;
        first.Dispose();

        using var compression = model.CompressActivations(options => options.Budget(bytes));
        Tensor? kept = null;
        Step(model, compression, x, () => kept = zeros(bytes / share / sizeof(float)));
        if (!isBorne)
        {
            Assert.Throws<BudgetException>(() => Step(model, compression, x));
            return;
        }
        for (var step = 0; step < 4; step++) Step(model, compression, x);
        Assert.InRange(compression.Budget!.MeasuredBytes!.Value, 0, bytes * 101 / 100);
        Assert.InRange(compression.Budget!.LeastBytes!.Value, 0, bytes);
        kept!.Dispose();
    }

    [Fact]
    public void What_finalizers_free_is_not_taken_for_part_of_the_first_step()
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
        var least = Least(() => { });
        LeaveToFinalizers(50);
        Assert.InRange(Least(AllocatorMeter.Settle), least - Others, least + Others);

        long Least(Action midway)
        {
            using var compression = model.CompressActivations(options => options.Budget(1));
            Step(model, compression, x, midway);
            return Assert.Throws<BudgetException>(() => Step(model, compression, x)).LeastBytes;
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void LeaveToFinalizers(int tensors)
        {
            for (var i = 0; i < tensors; i++) zeros(10_000).DetachFromDisposeScope();
        }
    }

    [Fact]
    public void A_larger_budget_never_gives_a_coarser_codec()
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
        using var compression = model.CompressActivations(options => options.Budget(1));
        using var timeline = compression.StartTimeline();
        Step(model, compression, x);
        timeline.Dispose();
        foreach (var of in Enum.GetValues<BudgetOf>())
        {
            var plan = new StepPlan(timeline, timeline.Moments.Count, of);
            var places = Enumerable.Range(1, 100)
                .Select(percent => plan.Within(plan.LeastBytes + (plan.Peak(0) - plan.LeastBytes) * percent / 100)).ToArray();
            Assert.Equal(0, places[^1]);
            Assert.True(places[0] > 3);
            foreach (var (smaller, larger) in places.Zip(places.Skip(1)))
            {
                var (coarse, fine) = (plan.Rungs(smaller!.Value), plan.Rungs(larger!.Value));
                Assert.All(fine, layer => Assert.True(layer.Value <= coarse[layer.Key]));
            }
        }
    }

    /// <summary>Layers that save maps of one size, of which a transform gathers much or little.</summary>
    sealed class Beside : Module<Tensor, Tensor, Tensor>
    {
        readonly Module<Tensor, Tensor> smooth, noisy;
        readonly bool smoothFirst;

        public Beside(Module<Tensor, Tensor> ofSmooth, Module<Tensor, Tensor> ofNoise, bool smoothFirst) : base(nameof(Beside))
        {
            (smooth, noisy, this.smoothFirst) = (ofSmooth, ofNoise, smoothFirst);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor noise)
        {
            var one = tensor(1f);
            using var scope = NewDisposeScope();
            Tensor Smooth() => smooth.call(x * one).sum();
            Tensor Noisy() => noisy.call(noise * one).sum();
            var (first, second) = smoothFirst ? (Smooth(), Noisy()) : (Noisy(), Smooth());
            return stack([first, second]).MoveToOuterDisposeScope();
        }
    }

    // Both orders are tested. Of two equal costs that of the first layer is chosen.
    static void WithBudget(
        Func<Module<Tensor, Tensor>> ofSmooth, Func<Module<Tensor, Tensor>> ofNoise, Tensor x, Tensor noise, double share,
        Action<int, int> rungs)
    {
        x.requires_grad_();
        noise.requires_grad_();
        foreach (var smoothFirst in (bool[])[true, false])
        {
            using var model = new Beside(ofSmooth(), ofNoise(), smoothFirst);
            var bytes = (long)(share * 2 * x.NumberOfElements * sizeof(float));
            using var compression = model.CompressActivations(options => options.Budget(bytes, BudgetOf.Maps));
            for (var step = 0; step < 3; step++)
            {
                using var y = model.call(x, noise);
                using var loss = y.sum();
                compression.Backward(loss);
            }
            Assert.InRange(compression.Budget!.MeasuredBytes!.Value, 0, compression.Budget.Bytes * 1.05);
            var ladder = Ladder.Of(ActivationCodec.Dct(10));
            rungs(Array.IndexOf(ladder, compression.Budget.Codecs["smooth"]), Array.IndexOf(ladder, compression.Budget.Codecs["noisy"]));
        }
    }

    static Tensor Waves() => (linspace(0, 4, 64).view(64, 1) + linspace(0, 3, 64) + arange(16).view(16, 1, 1)).sin().unsqueeze(0);

    [Theory, InlineData(0.8), InlineData(0.6)]
    public void Where_less_harm_is_done_a_budget_takes_the_coarser_codec(double share)
    {
        using var everything = NewDisposeScope();
        WithBudget(() => Conv2d(16, 4, 3), () => Conv2d(16, 4, 3), Waves(), randn(1, 16, 64, 64), share, (smooth, noisy) =>
            Assert.True(smooth > noisy, $"smooth maps at rung {smooth}, noise at {noisy}"));
    }

    [Fact]
    public void Harm_to_the_input_of_a_normalisation_counts_more()
    {
        using var everything = NewDisposeScope();
        // Both layers save the same map, whose mean is zero.
        var x = Waves() - Waves().mean() + tensor(0.1f) * randn(1, 16, 64, 64);
        var (same, unlike) = (x.clone(), 0);
        foreach (var share in (double[])[0.2, 0.17, 0.13, 0.1, 0.08, 0.06])
            WithBudget(() => Conv2d(16, 16, 1), () => BatchNorm2d(16), x, same, share, (ofConvolution, ofNorm) =>
            {
                Assert.True(ofConvolution >= ofNorm, $"a convolution's map at rung {ofConvolution}, a norm's at {ofNorm} within {share}");
                if (ofConvolution > ofNorm) unlike++;
            });
        Assert.True(unlike > 1, $"{unlike}");
    }

    [Fact]
    public void A_ladders_rungs_are_measured_as_they_pack_and_never_rise()
    {
        using var everything = NewDisposeScope();
        var ladder = Ladder.Of(ActivationCodec.Dct(10));
        Assert.Equal(["none", "quant:8", "dct:2", "dct:4", "dct:10", "dct:30", "dct:100"], ladder.Select(codec => $"{codec}"));
        var noise = tensor(0.2f) * randn(1, 16, 64, 64);
        // For waves alone a transform at ratio 2 does less harm than 8 bits.
        foreach (var map in (Tensor[])[Waves() + tensor(3f) + noise, Waves()])
            foreach (var (need, weight) in new (Need, double)[] { (Need.Linear, 1), (Need.Normalised, 4) })
                Check(map, need, weight);

        void Check(Tensor map, Need need, double weight)
        {
            var rungs = Ladder.Measure(map, need, ladder, used: null, usedBytes: 0);
            Assert.Equal(new Rung(map.NumberOfElements * sizeof(float), 0), rungs[0]);
            // The mean is subtracted from the input of a normalisation.
            var energy = need == Need.Linear ? map.square().mean().item<float>() : map.std(unbiased: false).square().item<float>();
            for (var i = 1; i < ladder.Length; i++)
            {
                using var packed = Pipeline.Pack(map, ladder[i], out _)!;
                Assert.Equal(Math.Min(packed.Bytes, rungs[i - 1].Bytes), rungs[i].Bytes);
                var harm = Quality.Mse(map, packed.Unpack()) / energy * weight;
                Assert.InRange(rungs[i].Harm, Math.Max(harm, rungs[i - 1].Harm) * 0.999, Math.Max(harm, rungs[i - 1].Harm) * 1.001);
            }
            // The bytes are scaled by those that the map took under one of the codecs.
            var scaled = Ladder.Measure(map, need, ladder, used: ladder[4], usedBytes: rungs[4].Bytes * 3);
            for (var i = 2; i < ladder.Length; i++)
                Assert.InRange(scaled[i].Bytes, Math.Min(3 * rungs[i].Bytes, scaled[i - 1].Bytes) - 3, 3 * rungs[i].Bytes);
        }
    }

    [Fact]
    public void Nothing_harms_a_map_of_one_value()
    {
        using var everything = NewDisposeScope();
        var (map, ladder) = (zeros(1, 16, 64, 64), Ladder.Of(ActivationCodec.Dct(10)));
        foreach (var need in (Need[])[Need.Linear, Need.Normalised])
            Assert.All(Ladder.Measure(map, need, ladder, used: null, usedBytes: 0), rung => Assert.Equal(0, rung.Harm));
    }

    [Theory, InlineData(64, 32, 32, 32), InlineData(2, 2, 512, 512)]
    public void A_large_maps_rungs_follow_from_a_sample(int examples, int channels, int height, int width)
    {
        using var everything = NewDisposeScope();
        var ladder = Ladder.Of(ActivationCodec.Dct(10));
        var map = randn(examples, channels, height, width);
        Assert.True(map.NumberOfElements > 1 << 17);
        var rungs = Ladder.Measure(map, Need.Linear, ladder, used: null, usedBytes: 0);
        for (var i = 1; i < ladder.Length; i++)
        {
            using var packed = Pipeline.Pack(map, ladder[i], out _)!;
            Assert.InRange(rungs[i].Bytes, 0.9 * Math.Min(packed.Bytes, rungs[i - 1].Bytes), 1.1 * packed.Bytes);
            Assert.InRange(Quality.Mse(map, packed.Unpack()), 0.9 * rungs[i].Harm, 1.1 * rungs[i].Harm + 1e-4);
        }
    }

    [Fact]
    public void With_room_for_everything_gradients_are_exact()
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
        using var compression = model.CompressActivations(options => options.Budget(1L << 40));
        Step(model, compression, x);
        Step(model, compression, x);
        Assert.All(compression.Budget!.Codecs.Values, codec => Assert.Equal(ActivationCodec.None, codec));
        var fidelity = compression.MeasureFidelity(() => model.call(x).square().sum());
        Assert.Equal((1, 1), (Math.Round(fidelity.Cosine, 6), Math.Round(fidelity.NormRatio, 6)));
    }

    [Fact]
    public void A_larger_batch_is_answered_by_a_new_plan()
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
        var bytes = Plain(model, x).Saved / 2;
        using var compression = model.CompressActivations(options => options.Budget(bytes, BudgetOf.Maps));
        Step(model, compression, x);
        Step(model, compression, x);
        var before = compression.Budget!.Codecs;
        var larger = cat([x, x], 0);
        for (var step = 0; step < 4; step++) Step(model, compression, larger);
        Assert.InRange(compression.Report().KeptBytes, 0, bytes * 1.05);
        Assert.NotEqual(before.Values, compression.Budget.Codecs.Values);
    }

    [Fact]
    public void Layers_that_a_rule_names_keep_their_codec()
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
        using var compression = model.CompressActivations(options => options.Where("conv2", ActivationCodec.Threshold(3)).Budget(1L << 40));
        Step(model, compression, x);
        Step(model, compression, x);
        Assert.DoesNotContain("conv2", compression.Budget!.Codecs.Keys);
        Assert.Contains(compression.Report().Layers, layer => layer.KeptAs.Contains("st:3", StringComparison.Ordinal));
    }

    [Fact]
    public void What_cannot_be_budgeted_is_refused()
    {
        using var model = Stack();
        Assert.Throws<ArgumentOutOfRangeException>(() => model.CompressActivations(options => options.Budget(0)));
        var below = Assert.Throws<ArgumentOutOfRangeException>(() => model.CompressActivations(options => options.SmallestBytes(-1)));
        Assert.StartsWith("SmallestBytes -1: wanted 0, which compresses every map, or more.", below.Message, StringComparison.Ordinal);
        Assert.Contains(
            "dct:10",
            Assert.Throws<ArgumentException>(() => model.CompressActivations(options => options.Default(ActivationCodec.None).Budget(1)))
                .Message);
    }
}
