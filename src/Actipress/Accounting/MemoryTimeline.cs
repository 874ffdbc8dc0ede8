using System.Globalization;
using System.Text;
using Actipress.Accounting;

namespace Actipress;

/// <summary>The allocator's level at one moment of a step.</summary>
public sealed class MemoryLevel(long bytes, string stage)
{
    /// <summary>The level, above that at which the timeline began.</summary>
    public long Bytes { get; init; } = bytes;

    /// <summary>
    /// The computation that ran, such as <c>forward of layer1.0.conv1 (Conv2d)</c>; in the backward pass the layer of the last map that was
    /// unpacked.
    /// </summary>
    public string Stage { get; init; } = stage;
}

/// <summary>One piece of memory that was alive at a moment.</summary>
public sealed class AliveBlock(long bytes, string what)
{
    /// <summary>Its size.</summary>
    public long Bytes { get; init; } = bytes;

    /// <summary>
    /// A description, such as <c>gradient of fc.weight</c> or <c>rebuilt map of layer1.0.conv1</c>, or the computation that made it.
    /// </summary>
    public string What { get; init; } = what;
}

/// <summary>
/// The allocator's level at each larger allocation of a step, and the blocks that were alive at these moments. Made by
/// <see cref="ActivationCompression.StartTimeline"/>.
/// </summary>
/// <remarks>
/// Blocks of 16 KiB or more of libtorch's CPU allocator are recorded one by one. A model that is compressed with
/// <see cref="ActivationCodec.None"/> gives the timeline of the plain step with its layers' names.
/// </remarks>
public sealed class MemoryTimeline : IDisposable
{
    const int SmallestListed = 64 << 10;

    readonly ITimedTraining training;
    readonly Lock gate = new();
    readonly List<Moment> moments = [];
    readonly List<Block> blocks = [];
    readonly List<MapSpan> maps = [];
    readonly Dictionary<nint, Block> alive = [];
    readonly Dictionary<ITimedMap, MapSpan> held = [];
    readonly bool followsAllocator;
    readonly long before;

    internal readonly record struct Moment(long Level, Activity Activity);

    /// <summary>A block, from the moment of its allocation until before the moment <see cref="End"/>.</summary>
    internal sealed class Block(long bytes, int start)
    {
        public long Bytes => bytes;
        public int Start => start;
        public int End { get; set; } = int.MaxValue;
        public string? Name { get; set; }
    }

    /// <summary>A saved map, and the blocks that held it raw.</summary>
    internal sealed class MapSpan(ITimedMap map, Block? original, int start)
    {
        public ITimedMap Map => map;
        public string Layer => map.LayerName;
        public string SavedAt => map.Site is { } site ? $", saved at {site}" : "";
        public long SavedBytes { get; } = map.SavedBytes;
        public Block? Original => original;
        public int Start => start;
        public int End { get; set; } = int.MaxValue;
        public List<Block> Rebuilt { get; } = [];

        /// <summary>How its values are held, for which layer and since which moment; null where no operation needs values.</summary>
        public (TimedValues Held, string Layer, int Start)? Values { get; set; }

        /// <summary>The bits of the map that are held beside or in place of its values.</summary>
        public List<(long Bytes, int Start, int End)> Bits { get; } = [];
    }

    /// <param name="training">The training whose maps are recorded.</param>
    /// <param name="followsAllocator">
    /// Whether the allocator's level is recorded too. Without it levels are 0, and the moments are the packed maps.
    /// </param>
    internal MemoryTimeline(ITimedTraining training, bool followsAllocator)
    {
        (this.training, this.followsAllocator) = (training, followsAllocator);
        before = Now;
        if (followsAllocator) AllocationWatch.Add(this);
    }

    long Now => followsAllocator ? AllocatorMeter.CurrentBytes : 0;

    internal IReadOnlyList<Moment> Moments => moments;
    internal IReadOnlyList<MapSpan> Maps => maps;

    /// <summary>The level at each moment, in order.</summary>
    public IReadOnlyList<MemoryLevel> Levels
    {
        get { lock (gate) return [.. moments.Select(Level)]; }
    }

    /// <summary>The highest level; null where nothing was allocated.</summary>
    public MemoryLevel? Peak
    {
        get { lock (gate) return moments.Count == 0 ? null : Level(moments[PeakMoment()]); }
    }

    /// <summary>
    /// The blocks that were alive at the peak, the largest first. The last line is the sum of blocks below 64 KiB and of memory that is not
    /// libtorch's.
    /// </summary>
    public IReadOnlyList<AliveBlock> AliveAtPeak
    {
        get { lock (gate) return moments.Count == 0 ? [] : AliveAt(PeakMoment()); }
    }

    /// <summary>Ends the recording. The recorded moments stay.</summary>
    public void Dispose()
    {
        if (followsAllocator) AllocationWatch.Remove(this);
        training.End(this);
        lock (gate)
            foreach (var (name, address) in training.GradientAddresses())
                if (alive.TryGetValue(address, out var block)) block.Name = $"gradient of {name}";
    }

    /// <summary>The peak and the blocks that were alive then, as a table of text.</summary>
    public override string ToString()
    {
        if (Peak is not { } peak) return "Nothing was allocated.";
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"{CompressionReport.Bytes(peak.Bytes),11}  the peak, in the {peak.Stage}");
        foreach (var block in AliveAtPeak)
            text.AppendLine(CultureInfo.InvariantCulture, $"{CompressionReport.Bytes(block.Bytes),11}  {block.What}");
        return text.ToString();
    }

    static MemoryLevel Level(Moment moment) => new(moment.Level, moment.Activity.ToString());

    internal int PeakMoment()
    {
        var peak = 0;
        for (var moment = 1; moment < moments.Count; moment++) if (moments[moment].Level > moments[peak].Level) peak = moment;
        return peak;
    }

    List<AliveBlock> AliveAt(int moment)
    {
        var alive = Spans().Where(span => span.Start <= moment && moment < span.End).ToList();
        var packed = alive.Where(span => span.Kind == MemoryKind.PackedMap).Sum(span => span.Bytes);
        var listed = new List<AliveBlock>();
        if (packed > 0) listed.Add(new(packed, "packed maps"));
        listed.AddRange(alive.Where(span => span.Kind != MemoryKind.PackedMap).Select(span => new AliveBlock(span.Bytes, span.What)));
        listed.Sort((a, b) => b.Bytes.CompareTo(a.Bytes));
        listed.Add(new(moments[moment].Level - listed.Sum(block => block.Bytes), "smaller blocks and others"));
        return listed;
    }

    // What was alive from a moment until before another: each packed map, and each block of 64 KiB or more.
    List<MemorySpan> Spans()
    {
        var (spans, names) = (new List<MemorySpan>(), new Dictionary<Block, (MemoryKind Kind, string What)>());
        foreach (var map in maps)
        {
            if (map.Original is { } original)
                names[original] =
                    (MemoryKind.Map, $"map of {map.Layer}" + (map.Values is { Held.IsRaw: true } ? $", kept as it is{map.SavedAt}" : ""));
            foreach (var block in map.Rebuilt) names[block] = (MemoryKind.RebuiltMap, $"rebuilt map of {map.Layer}");
            foreach (var (bytes, start, end) in map.Bits) spans.Add(new(bytes, start, end, MemoryKind.PackedMap, $"bits of {map.Layer}"));
            if (map.Values is { Held: { IsRaw: false, Bytes: var kept }, Start: var from })
                spans.Add(new(kept, from, map.End, MemoryKind.PackedMap, $"packed map of {map.Layer}"));
        }
        foreach (var block in blocks.Where(block => block.Bytes >= SmallestListed))
        {
            var activity = moments[block.Start].Activity;
            var (kind, what) = block.Name is { } name ? (MemoryKind.Gradient, name) : names.GetValueOrDefault(
                block, (activity.Backward ? MemoryKind.Backward : MemoryKind.Forward, $"made in the {activity}"));
            spans.Add(new(block.Bytes, block.Start, block.End, kind, what));
        }
        return spans;
    }

    /// <summary>The moments and what was alive then, for a page.</summary>
    internal (IReadOnlyList<Moment> Moments, int Peak, IReadOnlyList<MemorySpan> Spans) Story()
    {
        lock (gate) return ([.. moments], moments.Count == 0 ? 0 : PeakMoment(), Spans());
    }

    /// <summary>
    /// Writes the step to a file: a page that shows the level through the step, divided by what takes the memory, and lists what was alive
    /// at the moment under the pointer; or a snapshot for PyTorch's memory viewer (pytorch.org/memory_viz), with each block of 64 KiB or
    /// more.
    /// </summary>
    /// <param name="path">The file; its name ends in .html for the page, or in .json for the snapshot.</param>
    /// <exception cref="ArgumentException">The name ends otherwise.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (path.EndsWith(".json", StringComparison.OrdinalIgnoreCase)) MemorySnapshot.Save(path, [this]);
        else MemoryPage.Save(path, "A training step", [("", this)]);
    }

    internal void Allocated(nint address, long bytes, long level)
    {
        var activity = training.Activity;
        lock (gate)
        {
            var block = new Block(bytes, moments.Count);
            alive[address] = block;
            blocks.Add(block);
            moments.Add(new(level - before, activity));
        }
    }

    internal void Freed(nint address)
    {
        lock (gate)
            if (alive.Remove(address, out var block)) block.End = moments.Count;
    }

    internal void LookedIn(long level)
    {
        var activity = training.Activity;
        lock (gate) moments.Add(new(level - before, activity));
    }

    internal void Saved(ITimedMap map, nint data)
    {
        lock (gate)
        {
            var span = new MapSpan(map, alive.GetValueOrDefault(data), moments.Count);
            held[map] = span;
            maps.Add(span);
        }
    }

    internal void Holds(ITimedMap map, string layer)
    {
        LookedIn(Now);
        lock (gate)
        {
            if (!held.TryGetValue(map, out var span)) return;
            if (map.TimedValues is { } values && span.Values is null) span.Values = (values, layer, moments.Count - 1);
            if (span.Bits is [.., { End: int.MaxValue } last]) span.Bits[^1] = last with { End = moments.Count - 1 };
            if (map.BitsBytes is { } bits) span.Bits.Add((bits, moments.Count - 1, int.MaxValue));
        }
    }

    internal void Rebuilt(ITimedMap map, nint data)
    {
        lock (gate)
            if (held.TryGetValue(map, out var span) && alive.TryGetValue(data, out var block) && block != span.Original
                && !span.Rebuilt.Contains(block))
                span.Rebuilt.Add(block);
    }

    internal void Released(ITimedMap map)
    {
        lock (gate)
        {
            if (!held.Remove(map, out var span)) return;
            span.End = moments.Count;
            if (span.Bits is [.., { End: int.MaxValue } last]) span.Bits[^1] = last with { End = moments.Count };
        }
    }
}
