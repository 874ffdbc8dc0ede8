namespace Actipress;

/// <summary>The inverse of <see cref="GridLineAnalysis{TFace, TCells}"/>: some values of a long row at a time.</summary>
sealed unsafe class GridLineSynthesis<TFace> : IDisposable where TFace : struct, IGridFace
{
    readonly GridWavelet wavelet;
    readonly int taps, reach, shift;
    readonly GridMemory memory;
    // Every second value of what is put together, and all.
    readonly float* first, second, joined;
    readonly float** from;
    readonly GridBandReader<TFace> coefficients;

    /// <param name="wavelet">How maps divide.</param>
    /// <param name="coefficients">What is put together; disposed by the caller.</param>
    public GridLineSynthesis(GridWavelet wavelet, GridBandReader<TFace> coefficients)
    {
        (this.wavelet, this.coefficients, taps) = (wavelet, coefficients, wavelet.Taps);
        (reach, shift) = (wavelet.Reach, wavelet.Shift);
        // Of the low and the high band of each level.
        var halves = new long[2 * wavelet.Levels.Length];
        for (int level = 0, values = GridWavelet.Segment; level < wavelet.Levels.Length; level++) halves[2 * level] = halves[2 * level + 1] = values = values / 2 + 1 + taps / 2;
        memory = new([.. halves, GridWavelet.Segment / 2 + 1, GridWavelet.Segment / 2 + 1, GridWavelet.Segment + 2, 2L * taps]);
        first = memory[halves.Length];
        second = memory[halves.Length + 1];
        joined = memory[halves.Length + 2];
        from = (float**)memory[halves.Length + 3];
    }

    public void Dispose() => memory.Dispose();

    /// <summary>Values of the map that the reader has, at most <see cref="GridWavelet.Segment"/>.</summary>
    public void Combine(int start, int end, float* to) => Combine(0, start, end, to);

    void Combine(int level, int start, int end, float* to)
    {
        // Pairs of neighbours, of which the first begins before the start or there.
        var pair = start + shift >> 1;
        var count = (end - 1 + shift >> 1) + 1 - pair;
        float* low = memory[2 * level], high = memory[2 * level + 1];
        Find(level, 0, pair - reach, count - 1 + taps / 2, low);
        Find(level, GridWavelet.WidthAxis, pair - reach, count - 1 + taps / 2, high);
        for (var t = 0; t < taps / 2; t++)
        {
            from[t] = low + t;
            from[taps / 2 + t] = high + t;
        }
        TFace.Filter(from, wavelet.InverseFirst, wavelet.InverseSecond, taps, first, second, count);
        TFace.Join(first, second, joined, count);
        GridUnit<TFace>.Copy(joined + (start - (2 * pair - shift)), to, end - start);
    }

    // Coefficients of a level's low or high band, whose indices may lie beyond it.
    void Find(int level, int highAxes, int start, int count, float* to)
    {
        var (extents, half) = (wavelet.Levels[level], wavelet.Levels[level].Half.Width);
        for (int i = start, end = start + count, some; i < end; i += some, to += some)
        {
            var inside = GridUnit<TFace>.Modulo(i, half);
            some = Math.Min(end - i, half - inside);
            if (highAxes == 0 && level < wavelet.Levels.Length - 1) Combine(level + 1, inside, inside + some, to);
            else if (coefficients.Read(extents.Numbers[highAxes], inside, some, to) is var read && read != to) GridUnit<TFace>.Copy(read, to, some);
        }
    }
}
