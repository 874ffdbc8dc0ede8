namespace Actipress.Accounting;

/// <summary>
/// Predicts the highest level of a step under any choice of rungs, from the timeline of one measured step. It steps down from maps as they
/// are until the budget is kept.
/// </summary>
/// <remarks>
/// At the moment of the highest level, the layer whose harm grows least for each byte that it frees there steps down by one rung. This is
/// repeated. The path does not depend on the budget, which only says where on the path to stop, so that a larger budget never gives any
/// layer a coarser rung.
/// </remarks>
sealed class StepPlan
{
    readonly List<(string Layer, int Rung)> path = [];
    readonly List<long> peaks = [];

    /// <summary>The layers whose maps a budget may change.</summary>
    public IReadOnlyList<string> Layers { get; }

    /// <summary>The lowest level on the path.</summary>
    public long LeastBytes => peaks.Min();

    /// <summary>The first position on the path whose level is at most <paramref name="bytes"/>; null where there is none.</summary>
    public int? Within(long bytes) => peaks.FindIndex(peak => peak <= bytes) is var at and >= 0 ? at : null;

    /// <summary>The predicted level at a position of the path.</summary>
    public long Peak(int place) => peaks[place];

    /// <summary>The rung of each layer at a position of the path. A layer without a rung keeps its maps as they are.</summary>
    public Dictionary<string, int> Rungs(int place)
    {
        var rungs = new Dictionary<string, int>();
        foreach (var (layer, rung) in path.Take(place)) rungs[layer] = rung;
        return rungs;
    }

    /// <param name="timeline">The timeline of a step in which the maps that a budget may change were packed.</param>
    /// <param name="moments">The number of its moments that belong to the step.</param>
    /// <param name="of">The quantity that the budget limits.</param>
    public StepPlan(MemoryTimeline timeline, int moments, BudgetOf of)
    {
        var level = new long[moments];
        var layers = new Dictionary<string, List<Choice>>();
        for (var moment = 0; moment < moments && of == BudgetOf.Step; moment++) level[moment] = timeline.Moments[moment].Level;
        foreach (var map in timeline.Maps)
        {
            var choice = map.Values is { Held: { IsRaw: false, Rungs: not null } } ? new Choice(map, moments, of) : null;
            if (of == BudgetOf.Maps)
            {
                foreach (var (bytes, start, end) in map.Bits) Add(level, bytes, start, end);
                if (choice is null && map.Values is { } values) Add(level, values.Held.Bytes, values.Start, map.End);
            }
            if (choice is null) continue;
            if (of == BudgetOf.Step) Add(level, -map.Values!.Value.Held.Bytes, map.Values.Value.Start, map.End);
            choice.AddTo(level, 0, 1);
            var name = map.Values!.Value.Layer;
            if (!layers.TryGetValue(name, out var choices)) layers.Add(name, choices = []);
            choices.Add(choice);
        }

        Layers = [.. layers.Keys];
        var rungs = layers.Keys.ToDictionary(layer => layer, _ => 0);
        var peak = Array.IndexOf(level, level.Length == 0 ? 0 : level.Max());
        peaks.Add(peak < 0 ? 0 : level[peak]);
        while (peak >= 0 && Cheapest(layers, rungs, peak) is var (layer, rung))
        {
            foreach (var choice in layers[layer])
            {
                choice.AddTo(level, rungs[layer], -1);
                choice.AddTo(level, rung, 1);
            }
            rungs[layer] = rung;
            path.Add((layer, rung));
            peak = Array.IndexOf(level, level.Max());
            peaks.Add(level[peak]);
        }
    }

    // The step down with the least harm for each byte that it frees at the peak.
    static (string Layer, int Rung)? Cheapest(Dictionary<string, List<Choice>> layers, Dictionary<string, int> rungs, int peak)
    {
        (string Layer, int Rung)? best = null;
        var least = double.PositiveInfinity;
        foreach (var (layer, choices) in layers)
        {
            var (bytes, harm) = At(choices, rungs[layer], peak);
            for (var rung = rungs[layer] + 1; rung < choices[0].Rungs.Count; rung++)
            {
                var (fewer, more) = At(choices, rung, peak);
                if (fewer >= bytes || (more - harm) / (bytes - fewer) >= least) continue;
                least = (more - harm) / (bytes - fewer);
                best = (layer, rung);
            }
        }
        return best;
    }

    static (long Bytes, double Harm) At(List<Choice> choices, int rung, int moment)
    {
        long bytes = 0;
        double harm = 0;
        foreach (var choice in choices)
        {
            bytes += choice.Bytes(rung, moment);
            harm += choice.Rungs[rung].Harm;
        }
        return (bytes, harm);
    }

    static void Add(long[] level, long bytes, int start, int end)
    {
        for (var moment = start; moment < Math.Min(end, level.Length); moment++) level[moment] += bytes;
    }

    /// <summary>The bytes that one map adds to the level at each moment, under each rung.</summary>
    sealed class Choice
    {
        readonly MemoryTimeline.MapSpan map;
        readonly int start, end;

        // For a map that stays as it is, the first block stays alive until the backward pass has used it. No bits are held beside it, and
        // nothing is rebuilt.
        readonly List<(long Bytes, int Start, int End)> asItIs = [];

        public Choice(MemoryTimeline.MapSpan map, int moments, BudgetOf of)
        {
            this.map = map;
            (start, end) = (map.Values!.Value.Start, Math.Min(map.End, moments));
            foreach (var (bytes, from, to) in map.Bits) asItIs.Add((-bytes, Math.Max(start, from), Math.Min(to, end)));
            asItIs.Add((
                map.SavedBytes, of == BudgetOf.Step && map.Original is { } original ? Math.Max(start, Math.Min(original.End, end)) : start,
                end));
            if (of == BudgetOf.Step)
                foreach (var block in map.Rebuilt) asItIs.Add((-block.Bytes, block.Start, Math.Min(block.End, end)));
        }

        public IReadOnlyList<Rung> Rungs => map.Values!.Value.Held.Rungs!;

        public long Bytes(int rung, int moment)
        {
            if (rung > 0) return start <= moment && moment < end ? Rungs[rung].Bytes : 0;
            long bytes = 0;
            foreach (var (part, from, to) in asItIs) if (from <= moment && moment < to) bytes += part;
            return bytes;
        }

        public void AddTo(long[] level, int rung, int sign)
        {
            if (rung > 0) Add(level, sign * Rungs[rung].Bytes, start, end);
            else
                foreach (var (bytes, from, to) in asItIs) Add(level, sign * bytes, from, to);
        }
    }
}
