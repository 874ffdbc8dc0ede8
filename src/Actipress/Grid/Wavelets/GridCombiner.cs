using Actipress.Transforms;

namespace Actipress.Grid.Wavelets;

/// <summary>The inverse of a wavelet along rows, and across lines of neighbours: see <see cref="GridUnit{TFace}"/>.</summary>
sealed unsafe class GridCombiner<TFace> : IDisposable where TFace : struct, IWaveletFace
{
    readonly GridWavelet wavelet;
    readonly int taps, reach, shift;
    readonly GridMemory memory;

    // A low and a high row, and the elements of even and odd index that they give.
    readonly GridRow halves;
    readonly float* first, second;

    // Scratch memory for two rows.
    readonly float* rows;
    readonly float** from, fromHalves;

    /// <param name="wavelet">How maps divide.</param>
    public GridCombiner(GridWavelet wavelet)
    {
        (this.wavelet, taps) = (wavelet, wavelet.Taps);
        (reach, shift) = (wavelet.Reach, wavelet.Shift);
        var width = wavelet.Shape.Width + 1L;
        memory = new(GridRow.Floats(wavelet.Shape.Width, taps), width + taps, width + taps, 2 * width, 2 * taps, 2 * taps);
        halves = new(memory[0], wavelet.Shape.Width, taps);
        first = memory[1];
        second = memory[2];
        rows = memory[3];
        from = (float**)memory[4];
        fromHalves = (float**)memory[5];
        for (var t = 0; t < taps / 2; t++)
        {
            fromHalves[t] = halves.Even + t - reach;
            fromHalves[taps / 2 + t] = halves.Odd + t - reach;
        }
    }

    public void Dispose() => memory.Dispose();

    /// <summary>Joins <paramref name="half"/> low and as many high elements to a row of twice as many.</summary>
    public void Row(float* low, float* high, int half, float* to)
    {
        if (TFace.CombineRow(low, high, wavelet.InverseFirst, wavelet.InverseSecond, taps, to, half)) return;
        var sources = fromHalves;
        if (reach == 0)
        {
            sources = from;
            from[0] = low;
            from[1] = high;
        }
        else
        {
            GridUnit<TFace>.Copy(low, halves.Even, half);
            GridUnit<TFace>.Copy(high, halves.Odd, half);
            halves.Continue(half);
        }
        TFace.Filter(sources, wavelet.InverseFirst, wavelet.InverseSecond, taps, first, second, half);
        first[half] = first[0];
        if (shift == 0) TFace.Join(first, second, to, half);
        else TFace.Join(second, first + 1, to, half);
    }

    /// <summary>
    /// Joins low and high lines, which are <paramref name="space"/> apart, to n lines of <paramref name="count"/> neighbours.
    /// </summary>
    /// <remarks><c>spare</c> receives the line that was repeated to make an odd axis even.</remarks>
    public void Lines(float* low, float* high, long space, int n, float* to, int count, float* spare)
    {
        var half = (n + 1) / 2;
        for (var q = 0; q < half; q++)
        {
            for (int t = 0, o = q - reach; t < taps / 2; t++, o++)
            {
                var at = ((uint)o < (uint)half ? o : GridUnit<TFace>.Modulo(o, half)) * space;
                from[t] = low + at;
                from[taps / 2 + t] = high + at;
            }
            var i = q == 0 && shift == 1 ? 2 * half - 1 : 2 * q - shift;
            TFace.Filter(from, wavelet.InverseFirst, wavelet.InverseSecond, taps, Line(i), Line((i + 1) % (2 * half)), count);
        }

        float* Line(int i) => i < n ? to + (long)i * count : spare;
    }

    /// <summary>Joins the four bands of planes.</summary>
    /// <remarks><c>scratch</c> has room for <see cref="PlaneScratch"/> floats; <see cref="GridWavelet.InQuarters"/> needs none.</remarks>
    public void Planes(in GridWavelet.Level level, int planes, in FourBands bands, float* to, float* scratch)
    {
        var (whole, half) = (level.Whole.Height * level.Whole.Width, level.Half.Height * level.Half.Width);
        if (wavelet.InQuarters(level)) Quarters(level, planes, bands, to);
        else for (var plane = 0; plane < planes; plane++) Plane(level, bands.After((long)half * plane), to + (long)whole * plane, scratch);
    }

    void Plane(in GridWavelet.Level level, in FourBands bands, float* to, float* scratch)
    {
        int height = level.Whole.Height, width = level.Whole.Width, half = level.Half.Width;
        if (height == 1)
        {
            RowOf(bands.LowLow, bands.LowHigh, rows);
            GridUnit<TFace>.Copy(rows, to, width);
            return;
        }
        var space = width == 1 ? 1 : 2 * half;
        var high = scratch + (long)space * level.Half.Height;
        for (var y = 0; y < level.Half.Height; y++)
        {
            var part = bands.After((long)half * y);
            RowOf(part.LowLow, part.LowHigh, scratch + (long)space * y);
            RowOf(part.HighLow, part.HighHigh, high + (long)space * y);
        }
        Lines(scratch, high, space, height, to, width, rows);

        void RowOf(float* low, float* high, float* to)
        {
            if (width == 1) *to = *low;
            else Row(low, high, half, to);
        }
    }

    /// <summary>The floats of scratch memory that a plane needs.</summary>
    public static long PlaneScratch(in Wavelet.Extents whole) => (whole.Height + 1L) * (whole.Width + 1L);

    void Quarters(in GridWavelet.Level level, int planes, in FourBands bands, float* to)
    {
        var (n, half, height) = (level.Whole.Width, level.Half.Width, level.Whole.Height);
        if (n % 2 == 0 && height % 2 == 0) (height, planes) = (height * planes, 1);
        var (even, from) = (n % 2 == 0 ? height / 2 : 0, bands);
        for (; planes > 0; planes--, from = from.After((long)half * level.Half.Height), to += (long)n * height)
        {
            if (even > 0) TFace.Unite(from, wavelet.InverseFirst, wavelet.InverseSecond, to, to + n, 2L * n, even, half);
            for (var y = even; 2 * y < height; y++)
                Pair(level, from, y, to + 2L * y * n, 2 * y + 1 < height ? to + (2L * y + 1) * n : null);
        }
    }

    /// <summary>
    /// Joins two neighbouring rows of a plane that is <see cref="GridWavelet.InQuarters"/>. The second row is null where the plane ends.
    /// </summary>
    public void Pair(in GridWavelet.Level level, in FourBands bands, int pair, float* upper, float* lower)
    {
        var (n, half) = (level.Whole.Width, level.Half.Width);
        float* evenUpper = n % 2 == 0 ? upper : rows, evenLower = n % 2 == 0 && lower != null ? lower : rows + n + 1;
        TFace.Unite(bands.After((long)half * pair), wavelet.InverseFirst, wavelet.InverseSecond, evenUpper, evenLower, 0, 1, half);
        if (n % 2 == 0) return;
        GridUnit<TFace>.Copy(evenUpper, upper, n);
        if (lower != null) GridUnit<TFace>.Copy(evenLower, lower, n);
    }
}
