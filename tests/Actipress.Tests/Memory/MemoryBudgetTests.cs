using System.Runtime.CompilerServices;
using Actipress.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Memory;

[MeasuresMemory]
public sealed class MemoryBudgetTests : IDisposable
{
    // What .NET allocates for itself within a step.
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
        "ResNet18" => (ResNet.ResNet18(), randn(16, 3, 32, 32)),
        "UNet3D" => (new UNet3D(features: 8), randn([1, 4, 48, 48, 48])),
        _ => throw new ArgumentException(network),
    };

    // The peak of a step above the level before it.
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
            Assert.InRange(compression.Report().KeptBytes, share * 0.7 * saved, bytes * 1.05);
            Step(model, compression, x);    // judges the one before
            Assert.InRange(compression.Budget!.MeasuredBytes!.Value, share * 0.7 * saved, bytes * 1.05);
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
            Assert.Throws<BudgetException>(() => Step(model, compression, x));    // and stays so
            least = failure.LeastBytes;
            Assert.Contains($"{least:N0}", failure.Message, StringComparison.Ordinal);
            Assert.InRange(least, plain / 10, plain * 0.9);
        }
        foreach (var share in (double[])[0, 0.25, 0.5, 0.75])
        {
            var bytes = least + Others + (long)(share * (plain - least));
            using var compression = model.CompressActivations(options => options.Budget(bytes));
            for (var step = 0; step < 2; step++) Step(model, compression, x);
            Assert.InRange(Math.Min(Step(model, compression, x), Step(model, compression, x)), 0, bytes * 1.02 + Others);    // .NET itself may allocate within one
            Assert.Equal(0, compression.LiveBytes);
        }
    }

    [Fact]
    public void What_else_the_process_allocates_within_one_step_is_no_reason_to_refuse()
    {
        using var everything = NewDisposeScope();
        var (model, x) = Create("stack");
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
            var places = Enumerable.Range(1, 100).Select(percent => plan.Within(plan.LeastBytes + (plan.Peak(0) - plan.LeastBytes) * percent / 100)).ToArray();
            Assert.Equal(0, places[^1]);
            Assert.True(places[0] > 3);
            foreach (var (smaller, larger) in places.Zip(places.Skip(1)))
            {
                var (coarse, fine) = (plan.Rungs(smaller!.Value), plan.Rungs(larger!.Value));
                Assert.All(fine, layer => Assert.True(layer.Value <= coarse[layer.Key]));
            }
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
        Assert.Contains("dct:10", Assert.Throws<ArgumentException>(() => model.CompressActivations(options => options.Default(ActivationCodec.None).Budget(1))).Message);
    }
}
