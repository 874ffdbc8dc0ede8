namespace Actipress;

/// <summary>
/// The bands of maps of one long row: some coefficients of the coarsest level at a time, with what they come from. The values that the taps
/// reach beyond those are divided once more, their low band alone.
/// </summary>
sealed unsafe class GridLineAnalysis<TFace, TCells> : GridAnalysis where TFace : struct, IGridFace where TCells : struct, IGridCells
{
    readonly GridWavelet wavelet;
    readonly void* maps;
    readonly int taps, most;
    readonly GridMemory memory;
    // Of the level that is divided.
    readonly float* even, odd;
    readonly float** from;
    long first;
    GridBandRows rows = null!;

    /// <param name="wavelet">How maps divide.</param>
    /// <param name="maps">The first element of all.</param>
    public GridLineAnalysis(GridWavelet wavelet, void* maps)
    {
        (this.wavelet, taps) = (wavelet, wavelet.Taps);
        this.maps = maps;
        most = Math.Max(1, GridWavelet.Segment >> wavelet.Levels.Length);
        var values = new long[wavelet.Levels.Length];
        for (int level = values.Length - 1, outputs = most; level >= 0; outputs = (int)values[level--]) values[level] = Values(outputs);
        memory = new([.. values, values[0] / 2, values[0] / 2, 2L * taps]);
        even = memory[values.Length];
        odd = memory[values.Length + 1];
        from = (float**)memory[values.Length + 2];
    }

    // What so many outputs side by side come from.
    int Values(int outputs) => 2 * outputs + taps - 2;

    public override void Dispose() => memory.Dispose();

    public override void Divide(long map, int part, int parts, GridBandRows to)
    {
        (first, rows) = (map * wavelet.Elements, to);
        var (coarsest, last) = (wavelet.Levels[^1].Half.Width, wavelet.Levels.Length - 1);
        var (start, end) = GridWavelet.PartOf(coarsest, part, parts);
        to.Begin(0, start);
        for (var level = last; level >= 0; level--)
        {
            var band = wavelet.Levels[level].Numbers[GridWavelet.WidthAxis];
            to.Begin(band, wavelet.Bands[band].Start + ((long)start << last - level));
        }
        for (int at = start, some; at < end; at += some)
        {
            some = Math.Min(most, end - at);
            Divide(last, at, at + some, at, at + some, rows.Next(0));
            rows.Wrote(0, some);
        }
    }

    // Outputs of a level: their low band, and of those between the last two numbers, which are the part's own, also the high one.
    void Divide(int level, int start, int end, int own, int ownEnd, float* low)
    {
        var values = memory[level];
        var (n, high, count) = (wavelet.Levels[level].Whole.Width, wavelet.Levels[level].Numbers[GridWavelet.WidthAxis], end - start);
        Find(level, 2 * start - taps / 2 + 1, Values(count), 2 * own, Math.Min(2 * ownEnd, n), values);
        TFace.Split(values, even, odd, Values(count) / 2);
        Meet(0);
        if (own >= ownEnd)
        {
            TFace.OneFilter(from, wavelet.Low, taps, low, count);
            return;
        }
        TFace.OneFilter(from, wavelet.Low, taps, low, own - start);
        Meet(own - start);
        TFace.Filter(from, wavelet.Low, wavelet.High, taps, low + (own - start), rows.Next(high), ownEnd - own);
        rows.Wrote(high, ownEnd - own);
        Meet(ownEnd - start);
        TFace.OneFilter(from, wavelet.Low, taps, low + (ownEnd - start), end - ownEnd);
    }

    // What each tap meets for one output, and right of it for the next ones.
    void Meet(int output)
    {
        for (var j = 0; j < taps; j++)
        {
            var i = taps - 1 - j;
            from[j] = (i % 2 == 0 ? even : odd) + i / 2 + output;
        }
    }

    // Values that a level divides, whose indices may lie beyond it.
    void Find(int level, int start, int count, int own, int ownEnd, float* to)
    {
        var n = wavelet.Levels[level].Whole.Width;
        for (int i = start, end = start + count, some; i < end; i += some, to += some)
        {
            // The last one comes twice where their number is odd.
            var inside = GridUnit<TFace>.Wrapped(i, n);
            some = Math.Min(end - i, GridUnit<TFace>.Modulo(i, n + n % 2) == n ? 1 : n - inside);
            var isOwn = inside == i;
            if (level > 0) Divide(level - 1, inside, inside + some, isOwn ? own : 0, isOwn ? ownEnd : 0, to);
            else GridMover<TCells>.Read(maps, first + inside, to, some);
        }
    }
}
