using System.Globalization;
using Actipress.Accounting;
using Actipress.Saving;

namespace Actipress;

/// <summary>
/// A number of bytes that each training step is to keep to. The first step is measured, under the default codec; from then on each
/// layer has the finest codec that the budget has room for, from maps as they are over 8 bits a value to a ratio of 100. Made by
/// <see cref="CompressionOptions.Budget"/>.
/// </summary>
/// <remarks>
/// Layers that an own rule names keep their codec. A step that takes more than the budget by over a hundredth, say for a larger batch,
/// is answered by a plan with as much more room. The process has one allocator: whatever else it allocates during a step counts too.
/// So where no plan has that much room, the next step at the coarsest codecs decides whether the budget is refused.
/// </remarks>
public sealed class MemoryBudget
{
    const int Tolerance = 100;

    readonly CompressionOptions options;
    readonly Func<MemoryTimeline> startTimeline;
    readonly AllocatorMeter? meter;
    readonly ActivationCodec[] ladder;
    MemoryTimeline? timeline;
    StepPlan? plan;
    Dictionary<string, int> rungs = [];
    long before, correction;
    int place, misses;
    (long Bytes, int Moments)? ended;

    internal MemoryBudget(long bytes, BudgetOf of, CompressionOptions options, torch.nn.Module model, Func<MemoryTimeline> startTimeline)
    {
        if (options.DefaultCodec == ActivationCodec.None) throw new ArgumentException("A budget chooses among ratios of the default codec: found 'none', wanted one such as 'dct:10'.");
        (Bytes, Of, this.options, this.startTimeline) = (bytes, of, options, startTimeline);
        ladder = Ladder.Of(options.DefaultCodec);
        if (of == BudgetOf.Maps) return;
        if (model.parameters().FirstOrDefault(parameter => parameter.device_type != DeviceType.CPU) is { } elsewhere)
            throw new NotSupportedException($"A budget of the whole step is measured by the C allocator: found parameters on {elsewhere.device}, wanted all on the CPU. Ask for {nameof(BudgetOf)}.{nameof(BudgetOf.Maps)}.");
        meter = AllocatorMeter.Start();
    }

    /// <summary>What each step is to keep to.</summary>
    public long Bytes { get; }

    /// <summary>What these bytes count.</summary>
    public BudgetOf Of { get; }

    /// <summary>The least that a step can take, with every layer's maps at the coarsest codec where that helps; null before a step was measured.</summary>
    public long? LeastBytes { get; private set; }

    /// <summary>What a step should take under the codecs that were chosen; null before.</summary>
    public long? PlannedBytes { get; private set; }

    /// <summary>What the last step took; null before.</summary>
    public long? MeasuredBytes { get; private set; }

    /// <summary>The codec of each layer whose maps the budget decides on; empty before a step was measured.</summary>
    public IReadOnlyDictionary<string, ActivationCodec> Codecs { get; private set; } = new Dictionary<string, ActivationCodec>();

    /// <summary>The budget in a sentence.</summary>
    public override string ToString()
    {
        var what = string.Create(CultureInfo.InvariantCulture, $"budget of {CompressionReport.Bytes(Bytes)} for {Noun}");
        return plan is null ? $"{what}: the first step is measured" : $"{what}: {CompressionReport.Bytes(PlannedBytes!.Value)} planned, {CompressionReport.Bytes(MeasuredBytes!.Value)} in the last step, at least {CompressionReport.Bytes(LeastBytes!.Value)}";
    }

    // What one step may take: a measurement is no more exact than this.
    long Room => Bytes + Bytes / Tolerance;

    string Noun => Of == BudgetOf.Step ? "the step's peak" : "saved maps";

    /// <summary>A step begins: nothing is held. Plans where the last one gave cause to.</summary>
    /// <exception cref="BudgetException">The budget is below what a step can take.</exception>
    internal void Begin()
    {
        if (ended is { } last) Judge(last.Bytes, last.Moments);
        ended = null;
        if (plan is null)
        {
            timeline?.Dispose();
            if (meter is not null) AllocatorMeter.Settle();    // a count of held maps does not depend on it
            timeline = startTimeline();
        }
        else if (plan.LeastBytes > Room || misses > 1) throw TooSmall();
        if (meter is null) return;
        before = meter.LevelBytes;
        meter.ResetPeak();
    }

    void Judge(long bytes, int moments)
    {
        MeasuredBytes = bytes;
        if (timeline is not null)
        {
            timeline.Dispose();
            plan = new StepPlan(timeline, moments, Of);
            timeline = null;
            Choose();
        }
        else if (bytes > Room || misses > 0)
        {
            // What was over once and is not again came from elsewhere.
            correction = Math.Max(bytes > Room ? correction : 0, bytes - plan!.Peak(place));
            Choose();
        }
    }

    void Choose()
    {
        LeastBytes = plan!.LeastBytes + correction;
        misses = LeastBytes > Room ? misses + 1 : 0;
        place = plan.Within(Math.Max(Bytes - correction, plan.LeastBytes))!.Value;
        PlannedBytes = plan.Peak(place) + correction;
        rungs = plan.Rungs(place);
        Codecs = plan.Layers.ToDictionary(layer => layer, layer => ladder[rungs.GetValueOrDefault(layer)]);
    }

    BudgetException TooSmall() => new(
        $"A budget of {Bytes:N0} bytes for {Noun} is below the least that a step of this model and batch can take: found {MeasuredBytes:N0} bytes in the last step, " +
        $"at least {LeastBytes:N0} with the coarsest codecs. Allow so many, or take a smaller batch.", LeastBytes!.Value);

    /// <summary>All maps are released: the step is over, unless more follows before the next one begins.</summary>
    internal void End(long mapsPeak)
    {
        if (plan is not null || timeline is not null) ended = (Of == BudgetOf.Step ? meter!.PeakBytes - before : mapsPeak, timeline?.Moments.Count ?? 0);
    }

    /// <summary>The codec of a layer's maps in this step, before it is adapted to one of them.</summary>
    internal ActivationCodec CodecFor(Layer layer, ActivationCodec codec) => plan is null ? codec : ladder[rungs.GetValueOrDefault(layer.Name)];

    /// <summary>What a map that was just packed would take under the other codecs; null once there is a plan.</summary>
    internal Rung[]? Measure(Tensor map, Need need, Zeros zeros, ActivationCodec used, long bytes) =>
        plan is null ? Ladder.Measure(map, need, [.. ladder.Select(codec => codec == ActivationCodec.None ? codec : options.Adapt(codec, map, need, zeros))], used, bytes) : null;

    internal void End() => meter?.Dispose();
}

/// <summary>A budget is below what a step can take.</summary>
public sealed class BudgetException(string message, long leastBytes) : Exception(message)
{
    /// <summary>The least that a step of this model and batch can take.</summary>
    public long LeastBytes { get; } = leastBytes;
}
