using System.Globalization;
using Actipress.Accounting;
using Actipress.Saving;

namespace Actipress;

/// <summary>
/// An upper bound in bytes for each training step. The first step is measured under the default codec. From then on each layer has the
/// finest codec that the budget allows: maps as they are, 8 bits a value, or a ratio of up to 100. Made by
/// <see cref="CompressionOptions.Budget"/>.
/// </summary>
/// <remarks>
/// Layers that a rule names keep the codec of the rule. After a step that exceeds the budget by over a hundredth, for example with a larger
/// batch, the next plan leaves as much more room. The process has one allocator, so that all its other allocations during a step count too.
/// So where no plan has that much room, the next step at the coarsest codecs decides whether the budget is refused. Where the budget lacks
/// little, the second step is measured too, because the first may allocate memory that the process keeps for good.
/// </remarks>
public sealed class MemoryBudget
{
    const int Tolerance = 100;

    // A budget that lacks less than a fourth of itself is refused only after a second measurement.
    const int NearlyEnough = 4;

    readonly CompressionOptions options;
    readonly Func<MemoryTimeline> startTimeline;
    readonly AllocatorMeter? meter;
    readonly ActivationCodec[] ladder;
    MemoryTimeline? timeline;
    StepPlan? plan;
    Dictionary<string, int> rungs = [];
    long before, correction;
    int place, misses;
    bool isMeasuredAgain;
    (long Bytes, int Moments)? ended;

    internal MemoryBudget(long bytes, BudgetOf of, CompressionOptions options, torch.nn.Module model, Func<MemoryTimeline> startTimeline)
    {
        if (options.DefaultCodec == ActivationCodec.None)
            throw new ArgumentException("A budget chooses among ratios of the default codec: found 'none', wanted one such as 'dct:10'.");
        (Bytes, Of, this.options, this.startTimeline) = (bytes, of, options, startTimeline);
        ladder = Ladder.Of(options.DefaultCodec);
        if (of == BudgetOf.Maps) return;
        if (model.parameters().FirstOrDefault(parameter => parameter.device_type != DeviceType.CPU) is { } elsewhere)
            throw new NotSupportedException("A budget of the whole step is measured by the C allocator: found parameters on "
                + $"{elsewhere.device}, wanted all on the CPU. Ask for {nameof(BudgetOf)}.{nameof(BudgetOf.Maps)}.");
        meter = AllocatorMeter.Start();
    }

    /// <summary>The number of bytes that each step keeps to.</summary>
    public long Bytes { get; }

    /// <summary>The quantity that the bytes limit.</summary>
    public BudgetOf Of { get; }

    /// <summary>
    /// The least bytes that a step can take, with every layer's maps at the coarsest codec where that lowers the peak; null before a step
    /// was measured.
    /// </summary>
    public long? LeastBytes { get; private set; }

    /// <summary>The predicted bytes of a step under the chosen codecs; null before codecs are chosen.</summary>
    public long? PlannedBytes { get; private set; }

    /// <summary>The bytes that the last step took; null before the first step.</summary>
    public long? MeasuredBytes { get; private set; }

    /// <summary>The codec of each layer whose maps the budget decides on; empty before a step was measured.</summary>
    public IReadOnlyDictionary<string, ActivationCodec> Codecs { get; private set; } = new Dictionary<string, ActivationCodec>();

    /// <summary>The budget in a sentence.</summary>
    public override string ToString()
    {
        var what = string.Create(CultureInfo.InvariantCulture, $"budget of {CompressionReport.Bytes(Bytes)} for {Noun}");
        return plan is null
            ? $"{what}: the first step is measured"
            : $"{what}: {CompressionReport.Bytes(PlannedBytes!.Value)} planned, {CompressionReport.Bytes(MeasuredBytes!.Value)} in the "
                + $"last step, at least {CompressionReport.Bytes(LeastBytes!.Value)}";
    }

    // The bytes that one step may take, with the inaccuracy of a measurement.
    long Room => Bytes + Bytes / Tolerance;

    string Noun => Of == BudgetOf.Step ? "the step's peak" : "saved maps";

    /// <summary>Called when a step begins and no map is held. Makes a new plan where the last step needs one.</summary>
    /// <exception cref="BudgetException">The budget is below what a step can take.</exception>
    internal void Begin()
    {
        if (ended is { } last) Judge(last.Bytes, last.Moments);
        ended = null;
        if (plan is null)
        {
            timeline?.Dispose();
            if (meter is not null) AllocatorMeter.Settle();    // a budget of held maps does not depend on it
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
            // The first step of a process, or of a module, allocates memory that it keeps for good, and that is no part of later steps.
            if (!isMeasuredAgain && plan.LeastBytes > Room && plan.LeastBytes <= Room + Room / NearlyEnough)
                (isMeasuredAgain, plan) = (true, null);
            else Choose();
        }
        else if (bytes > Room || misses > 0)
        {
            // A single excess that does not come again was memory of another part of the process.
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
        $"A budget of {Bytes:N0} bytes for {Noun} is below the least that a step of this model and batch can take: found "
            + $"{MeasuredBytes:N0} bytes in the last step, at least {LeastBytes:N0} with the coarsest codecs. Allow so many, or take a "
            + "smaller batch.", LeastBytes!.Value);

    /// <summary>Called when all maps are released: the step is over, unless more maps follow before the next step begins.</summary>
    internal void End(long mapsPeak)
    {
        if (plan is not null || timeline is not null)
            ended = (Of == BudgetOf.Step ? meter!.PeakBytes - before : mapsPeak, timeline?.Moments.Count ?? 0);
    }

    /// <summary>The codec of a layer's maps in this step, before it is adapted to one of them.</summary>
    internal ActivationCodec CodecFor(Layer layer, ActivationCodec codec) =>
        plan is null ? codec : ladder[rungs.GetValueOrDefault(layer.Name)];

    /// <summary>The bytes and harm of a map that was just packed under the other codecs; null once there is a plan.</summary>
    internal Rung[]? Measure(Tensor map, Need need, Zeros zeros, ActivationCodec used, long bytes) =>
        plan is null
            ? Ladder.Measure(
                map, need, [.. ladder.Select(codec => codec == ActivationCodec.None ? codec : options.Adapt(codec, map, need, zeros))],
                used, bytes)
            : null;

    /// <summary>
    /// The bytes of a map that was just derived: as it is, and under every other codec, none of which it needs; null once there is a plan.
    /// </summary>
    /// <param name="bytes">The bytes of the map as it is.</param>
    /// <param name="derived">The bytes of the derived map.</param>
    internal Rung[]? MeasureDerived(long bytes, long derived) =>
        plan is null ? [new(bytes, 0), .. Enumerable.Repeat(new Rung(derived, 0), ladder.Length - 1)] : null;

    /// <summary>The coarser of a codec of the ladder and the codec of a layer.</summary>
    internal ActivationCodec CoarserFor(Layer layer, ActivationCodec codec) =>
        plan is null ? codec : ladder[Math.Max(Array.IndexOf(ladder, codec), rungs.GetValueOrDefault(layer.Name))];

    internal void End() => meter?.Dispose();
}
