using System.Diagnostics;
using Actipress.Models;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>A plan of a measurement of a network's memory.</summary>
/// <param name="Network">The network.</param>
/// <param name="Batch">The number of examples.</param>
/// <param name="Input">The shape of one example.</param>
/// <param name="Codecs">The codecs to measure.</param>
/// <param name="Layers">The layers whose maps are compressed; see <see cref="LayerSet"/>.</param>
/// <param name="ForwardOnly">Whether the backward pass, and with it the peak, is left out, which takes a third of the time.</param>
/// <param name="Budget">A budget of the compressed step in bytes, which chooses the codecs; null for the codec as it is.</param>
/// <param name="StepsInBackward">
/// Whether Adam steps within the compressed step's backward pass, which frees each gradient at once. Adam's own state is not measured.
/// </param>
/// <param name="Device">The device; by default the CPU. The blocks that were alive at a moment are known for the CPU only.</param>
public sealed record MemoryPlan(
    Network Network, int Batch, IReadOnlyList<long> Input, IReadOnlyList<ActivationCodec> Codecs, string Layers = "all",
    bool ForwardOnly = false, Device? Device = null, long? Budget = null, bool StepsInBackward = false);

/// <summary>
/// The memory of one network, plain and compressed, in bytes: the rise of the allocator's level over the step, and parameters, buffers,
/// input and target, which were allocated before. Memory that libraries keep for themselves (compiled kernels) does not count.
/// </summary>
/// <param name="Network">The paper's name.</param>
/// <param name="Batch">The number of examples.</param>
/// <param name="Input">The shape of one example.</param>
/// <param name="Codec">The codec of the maps.</param>
/// <param name="Blocks">The layers whose maps were compressed.</param>
/// <param name="OthersBytes">
/// The paper's M_O: the plain network after its forward pass, without the saves of the chosen layers.
/// </param>
/// <param name="FloorBytes">The lower bound of any compression: parameters, buffers, input, output and target.</param>
/// <param name="BaselineBytes">The paper's M_BL: the plain network after its forward pass.</param>
/// <param name="AfterForwardBytes">The paper's M: the compressed network after its forward pass.</param>
/// <param name="EtaPercent">
/// Equation 34: (M - M_BL) / (M_BL - M_O). It is below -100 where maps shrink that the paper's method does not compress.
/// </param>
/// <param name="EtaOfFloorPercent">Equation 34 with the floor in place of M_O.</param>
/// <param name="PaperStorageBytes">M in the paper's own storage at the codec's ratio; null where the codec has none.</param>
/// <param name="BaselinePeakBytes">
/// The plain step's highest level over forward pass, loss and backward pass; null where only the forward pass was run.
/// </param>
/// <param name="PeakBytes">The compressed step's highest level.</param>
/// <param name="BaselineMs">The time of a single plain step, or of its forward pass.</param>
/// <param name="StepMs">The time of the compressed step.</param>
/// <param name="Layers">The maps by layer.</param>
/// <param name="AliveAtPeak">The blocks that were alive at the compressed step's peak.</param>
/// <param name="Provenance">The machine and commit of the measurement.</param>
public sealed record MemoryResult(
    string Network, int Batch, IReadOnlyList<long> Input, string Codec, string Blocks,
    long OthersBytes, long FloorBytes, long BaselineBytes, long AfterForwardBytes, double EtaPercent, double EtaOfFloorPercent,
    long? PaperStorageBytes, long? BaselinePeakBytes, long? PeakBytes, double BaselineMs, double StepMs, IReadOnlyList<LayerReport> Layers,
    IReadOnlyList<AliveBlock> AliveAtPeak, Provenance Provenance);

/// <summary>Measures a network's memory: after the forward pass, as the paper does, and at the peak of the whole step.</summary>
public static class MemoryMeasure
{
    // A budget measures the first step; the second step may correct it.
    const int BudgetSteps = 2;

    // The smallest batch that a batch norm accepts.
    const int FewExamples = 2;

    /// <summary>
    /// Runs one plain step and one compressed step for each codec, after a forward pass that warms up and records the saved tensors.
    /// </summary>
    /// <param name="plan">The plan.</param>
    /// <param name="progress">Called with a description of the current work.</param>
    /// <param name="timelines">The timelines of the steps, the plain step first.</param>
    /// <param name="cancellation">Ends the measurement after the current step.</param>
    /// <returns>One measurement for each codec.</returns>
    /// <exception cref="ArgumentException">The network lacks a named layer, or does not accept the input.</exception>
    /// <exception cref="InsufficientMemoryException">The plain step does not fit in this machine; nothing large was started.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static IReadOnlyList<MemoryResult> Run(
        MemoryPlan plan, IProgress<string>? progress, out IReadOnlyList<TimelineFigure.Curve> timelines, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(plan);
        var layers = LayerSet.Parse(plan.Layers, plan.Network.Name, plan.Network.Blocks);
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        var device = plan.Device ?? CPU;
        _ = AllocatorMeter.BytesOn(device);    // refuses before anything runs
        using var model = plan.Network.Create().to(device);
        layers.EnsureIn(model);
        if (device.type == DeviceType.CPU) WhereItFits(plan, () => EnsureFits(model, plan));
        var x = WhereItFits(plan, () => randn([plan.Batch, .. plan.Input]).to(device));

        progress?.Report("a forward pass, to see what is saved");
        var trace = WhereItFits(plan, () => ForwardTrace.Record(model, x));
        using var meter = AllocatorMeter.Start(device);
        using var step = new Step(plan.Network, model, x, meter, trace.ParameterBytes + trace.InputBytes, plan.ForwardOnly);
        var curves = new List<TimelineFigure.Curve>();
        var (plain, _) = Measure(ActivationCodec.None, "plain", out _);
        var paper = new PaperStorage(trace, step.TargetBytes, layers.Contains);
        var floor = trace.ParameterBytes + trace.InputBytes + trace.OutputBytes + step.TargetBytes;
        var results = plan.Codecs.Select(codec =>
        {
            var (packed, report) = Measure(codec, $"{codec}", out var alive);
            return new MemoryResult(
                plan.Network.Name, plan.Batch, plan.Input, $"{codec}", plan.Layers,
                paper.OthersBytes, floor, plain.AfterForward, packed.AfterForward, Eta(packed, paper.OthersBytes), Eta(packed, floor),
                codec.Keep is Keep.TopK { Ratio: var ratio } ? paper.AfterForwardBytes(ratio) : null,
                plain.Peak, packed.Peak, plain.Milliseconds, packed.Milliseconds, report.Layers, alive, Provenance.Here(plan.Device));
        }).ToArray();
        timelines = curves;
        return results;

        (StepMeasured, CompressionReport) Measure(ActivationCodec codec, string name, out IReadOnlyList<AliveBlock> alive)
        {
            cancellation.ThrowIfCancellationRequested();
            progress?.Report($"{name}, {(plan.ForwardOnly ? "the forward pass" : "the whole step")}");
            var budget = codec == ActivationCodec.None ? null : plan.Budget;
            using var compression = model.CompressActivations(options =>
            {
                layers.Configure(options, codec);
                if (budget is { } bytes) options.Budget(bytes);
            });
            using var optimizer = plan.StepsInBackward && codec != ActivationCodec.None ? new Adam(model.parameters()) : null;
            using var steps = optimizer is null ? null : compression.StepInBackward(optimizer);
            LearnSources(compression, model, x);
            for (var before = budget is null ? 0 : BudgetSteps; before > 0; before--) step.Run(compression.Backward);
            using var recorded = device.type == DeviceType.CPU ? compression.StartTimeline() : null;
            var measured = step.Run(compression.Backward);
            recorded?.Dispose();
            if (recorded is not null) curves.Add(new(name, recorded.Levels) { Timeline = recorded });
            alive = recorded?.AliveAtPeak ?? [];
            return (measured, compression.Report());
        }

        double Eta(StepMeasured packed, long others) => 100.0 * (packed.AfterForward - plain.AfterForward) / (plain.AfterForward - others);
    }

    /// <summary>Predicts the plain step and the step of the first codec on all layers, from small steps.</summary>
    public static MemoryPrediction Predict(MemoryPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        random.manual_seed(1);
        using var model = plan.Network.Create();
        return WhereItFits(plan, () => MemoryPrediction.Of(model, [plan.Batch, .. plan.Input], plan.Codecs[0]));
    }

    /// <summary>Runs one step of one codec on all layers, and returns the bytes of network, input, target and step.</summary>
    internal static long StepBytes(MemoryPlan plan, ActivationCodec codec)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        using var model = plan.Network.Create();
        using var x = randn([plan.Batch, .. plan.Input]);
        using var meter = AllocatorMeter.Start();
        using var step = new Step(
            plan.Network, model, x, meter, model.parameters().Concat(model.buffers()).Append(x).Sum(tensor => tensor.Bytes()), false);
        using var compression = model.CompressActivations(codec);
        LearnSources(compression, model, x);
        return step.Run(compression.Backward).Peak!.Value;
    }

    static void LearnSources(ActivationCompression compression, nn.Module<Tensor, Tensor> model, Tensor x)
    {
        using var few = x.narrow(0, 0, Math.Min(FewExamples, x.shape[0]));
        compression.LearnSources(() => model.call(few));
    }

    internal static T WhereItFits<T>(MemoryPlan plan, Func<T> first) =>
        TorchErrors.WhereItFits(
            $"{plan.Network.Name} does not take a batch of {plan.Batch} of {Extents(plan.Input)}",
            $"The paper's is {plan.Network.Batch} of {Extents(plan.Network.Input)}.", first);

    static string Extents(IEnumerable<long> extents) => string.Join(" x ", extents);

    // Small steps are run only where a forward pass of a part of the input indicates that the step may not fit.
    static bool EnsureFits(nn.Module<Tensor, Tensor> model, MemoryPlan plan)
    {
        long[] whole = [plan.Batch, .. plan.Input];
        if (MemoryPrediction.MapBytes(model, whole) > MemoryPrediction.AvailableBytes / 2)
            MemoryPrediction.Of(model, whole, plan.Codecs[0]).EnsureFits(compressed: false);
        return true;
    }

    sealed record StepMeasured(long AfterForward, long? Peak, double Milliseconds);

    sealed class Step(
        Network network, nn.Module<Tensor, Tensor> model, Tensor x, AllocatorMeter meter, long modelAndInputBytes, bool forwardOnly)
        : IDisposable
    {
        readonly Tensor target = Target(network, model, x);

        public long TargetBytes => target.Bytes();

        static Tensor Target(Network network, nn.Module<Tensor, Tensor> model, Tensor x)
        {
            using var inference = no_grad();
            using var example = x.narrow(0, 0, 1);
            model.eval();
            using var one = model.call(example);
            model.train();
            return network.Scores
                ? randint(one.shape[1], [x.shape[0], .. one.shape[2..]], device: x.device)
                : rand([x.shape[0], .. one.shape[1..]], device: x.device);
        }

        public StepMeasured Run(Action<Tensor> backward)
        {
            random.manual_seed(2);
            model.zero_grad();    // a timeline names the last step's gradients, so they stay until the next step
            AllocatorMeter.Settle();
            var without = meter.LevelBytes - modelAndInputBytes - TargetBytes;
            meter.ResetPeak();
            Devices.Synchronize(x.device);
            var watch = Stopwatch.StartNew();
            using var output = model.call(x);
            var afterForward = meter.LevelBytes - without;
            Devices.Synchronize(x.device);
            if (forwardOnly) return new(afterForward, null, watch.Elapsed.TotalMilliseconds);
            using (var loss = target.dtype == ScalarType.Int64
                ? nn.functional.cross_entropy(output, target) : nn.functional.mse_loss(output, target))
                backward(loss);
            Devices.Synchronize(x.device);
            var (peak, milliseconds) = (meter.PeakBytes - without, watch.Elapsed.TotalMilliseconds);
            return new(afterForward, peak, milliseconds);
        }

        public void Dispose() => target.Dispose();
    }
}
