using System.Diagnostics;
using System.Runtime.Intrinsics;
using Actipress.Transforms;

namespace Actipress.Grid.Wavelets;

/// <summary>
/// The wavelet transform of a unit's maps, <see cref="GridWavelet.Together"/> at a time, in one thread's memory. Along every axis a pass is
/// <see cref="IWaveletFace.Filter"/> over lines of neighbours: slices of a volume, rows of a plane, the even and odd elements of a row, or
/// the same element of every map where maps are interleaved.
/// </summary>
/// <remarks>
/// For an axis of n points (an odd axis is made even by repeating its last point) and F taps:
/// <code>
/// a[o] = sum_j low[j] x[(F/2 + 2 o - j) mod n], d[o] likewise with high                               j = 0 ... F - 1
/// x[2 q - s]     = sum_t low[2 t + 1] a[q + t - r] + sum_t high[2 t + 1] d[q + t - r]                 t = 0 ... F/2 - 1
/// x[2 q - s + 1] = sum_t low[2 t]     a[q + t - r] + sum_t high[2 t]     d[q + t - r]                 r = floor(F / 4), s = 1 - F/2 mod 2
/// </code>
/// </remarks>
sealed unsafe partial class GridUnit<TFace> : IDisposable where TFace : struct, IWaveletFace
{
    // Elements of small slices that are divided or joined in one go.
    const int SliceElements = 1 << 12;

    readonly GridWavelet wavelet;
    readonly int taps;
    readonly GridMemory memory;

    // Interleaved maps before their division, and their bands. Volumes under more than two taps are joined in `whole`.
    readonly float* whole, parts;
    // The low bands of one level and of the next, alternately.
    readonly float* low, nextLow;
    readonly float* slices, spareSlice, plane, rows, block, turned;
    // The even and the odd elements of a row.
    readonly GridRow halves;
    readonly float** from, bands;
    // The lines of a large map that CombineLines holds.
    readonly float* lines;
    // This is null where the unit has no Inverse.
    readonly GridCombiner<TFace>? combiner;

    /// <param name="wavelet">How maps divide into units.</param>
    /// <param name="inPlace">Whether maps are read and written in place, so that there are no <see cref="Values"/>.</param>
    /// <param name="divides">Whether the unit only divides, without an <see cref="Inverse"/>.</param>
    /// <param name="shared">
    /// The unit of another thread that works on the same map, whose coefficients, values and low bands this unit uses; else null.
    /// </param>
    public GridUnit(GridWavelet wavelet, bool inPlace = false, bool divides = false, GridUnit<TFace>? shared = null)
    {
        (this.wavelet, taps) = (wavelet, wavelet.Taps);
        var own = shared is null ? 1 : 0;
        var (levels, beside) = (wavelet.Levels, wavelet.SideBySideFrom);
        var batch = ((long)wavelet.Coefficients * wavelet.Together + 511) / 256 * 256;
        var unit = ((long)wavelet.Coefficients * wavelet.MapsPerUnit + 271) / 256 * 256;
        var sideBySide = wavelet.Bands.Take(wavelet.BandsSideBySide).Sum(band => band.Elements) * wavelet.Together;
        var slice = wavelet.Shape.Depth == 1 ? 0 : levels.Max(level => (long)level.Whole.Height * level.Whole.Width * level.Beside);
        var planes = divides ? 0 : levels.Max(level => HasPlanes(level) ? GridCombiner<TFace>.PlaneScratch(level.Whole) * level.Beside : 0);
        var joinsWhole = !divides && slice > 0 && taps > 2 && !wavelet.IsLarge;
        memory = new(
            own * unit, inPlace ? 0 : own * batch, Math.Max(sideBySide, joinsWhole ? batch : 0), sideBySide,
            own * LowElements(0), own * LowElements(1), slice == 0 ? 0 : Math.Max(2 * slice, SliceElements), slice, planes,
            levels.Max(level => 2 * (level.Whole.Width + 1L) * level.Beside), 512, GridRow.Floats(wavelet.Shape.Width, taps),
            2 * taps, 2 * 8, divides ? 0 : LineFloats);
        Coefficients = shared is null ? memory[0] : shared.Coefficients;
        Values = shared is null ? memory[1] : shared.Values;
        whole = memory[2];
        parts = memory[3];
        low = shared is null ? memory[4] : shared.low;
        nextLow = shared is null ? memory[5] : shared.nextLow;
        slices = memory[6];
        spareSlice = memory[7];
        plane = memory[8];
        rows = memory[9];
        block = memory[10];
        turned = block + 256;
        halves = new(memory[11], wavelet.Shape.Width, taps);
        from = (float**)memory[12];
        bands = (float**)memory[13];
        lines = memory[14];
        if (!divides) combiner = new(wavelet);

        // A large plane is joined row by row.
        bool HasPlanes(GridWavelet.Level level) => wavelet.IsLarge ? level.Whole.Depth > 1 : level.Whole.Height > 1 || level.Beside > 1;

        long LowElements(int level) => level < Math.Min(beside, levels.Length - 1)
            ? (long)levels[level].Half.Elements * wavelet.Together
            : 0;
    }

    public void Dispose()
    {
        memory.Dispose();
        combiner?.Dispose();
    }

    /// <summary>The unit's coefficients, in whole tiles.</summary>
    public float* Coefficients { get; }

    /// <summary>Room for the values of <see cref="GridWavelet.Together"/> maps, one after the other, and for a tile beyond them.</summary>
    public float* Values { get; }

    /// <summary>
    /// Transforms maps <paramref name="start"/> to <paramref name="start"/> + <paramref name="count"/> of a unit of
    /// <paramref name="maps"/>.
    /// </summary>
    /// <remarks><c>values</c> has the values of these maps, one map after the other.</remarks>
    public void Forward(float* values, int start, int count, int maps)
    {
        Debug.Assert(!wavelet.IsLarge);
        var x = values;
        for (var level = 0; level < wavelet.SideBySideFrom; level++)
        {
            FindBands(level, start, maps);
            Divide(wavelet.Levels[level], x, count);
            x = bands[0];
        }
        for (var level = wavelet.SideBySideFrom; level < wavelet.Levels.Length; level++)
        {
            if (level == wavelet.SideBySideFrom) Interleave(x, whole, wavelet.Levels[level].Whole.Elements, count);
            else Copy(parts, whole, (long)wavelet.Levels[level].Whole.Elements * wavelet.Together);
            FindParts(wavelet.Levels[level]);
            Divide(wavelet.Levels[level], whole, 1);
        }
        foreach (var band in SideBySide)
            Separate(parts + band.Start * wavelet.Together, Place(band, start, maps), (int)band.Elements, count);
    }

    /// <summary>The inverse.</summary>
    public void Inverse(float* values, int start, int count, int maps)
    {
        Debug.Assert(!wavelet.IsLarge);
        foreach (var band in SideBySide)
            Interleave(Place(band, start, maps), parts + band.Start * wavelet.Together, (int)band.Elements, count);
        for (var level = wavelet.Levels.Length - 1; level >= wavelet.SideBySideFrom; level--)
        {
            FindParts(wavelet.Levels[level]);
            Combine(wavelet.Levels[level], parts, 1);
            if (level == wavelet.SideBySideFrom) Separate(parts, Before(level), wavelet.Levels[level].Whole.Elements, count);
        }
        for (var level = wavelet.SideBySideFrom - 1; level >= 0; level--)
        {
            FindBands(level, start, maps);
            Combine(wavelet.Levels[level], Before(level), count);
        }

        float* Before(int level) => level == 0 ? values : Low(level - 1, start, maps);
    }

    // The bands of interleaved maps.
    ReadOnlySpan<Wavelet.Band> SideBySide => wavelet.Bands.AsSpan(0, wavelet.BandsSideBySide);

    /// <summary>Fills the last tile of a unit with zeros.</summary>
    public void Fill(int maps)
    {
        for (var i = (long)maps * wavelet.Coefficients; i % 256 != 0; i++) Coefficients[i] = 0;
    }

    // Where the coefficients of map `start` begin in a band.
    float* Place(in Wavelet.Band band, int start, int maps) => Coefficients + band.Start * maps + start * band.Elements;

    // Finds the bands of interleaved maps.
    void FindParts(in GridWavelet.Level level)
    {
        bands[0] = parts;
        for (var highAxes = LowestAxis; highAxes < 8; highAxes += LowestAxis)
            bands[highAxes] = parts + level.Starts[highAxes] * level.Beside;
    }

    // Finds the bands of other maps. All bands are in their place among the coefficients, but the low bands that are divided further.
    void FindBands(int index, int start, int maps)
    {
        var level = wavelet.Levels[index];
        bands[0] = Low(index, start, maps);
        for (var highAxes = LowestAxis; highAxes < 8; highAxes += LowestAxis)
            bands[highAxes] = Coefficients + level.Starts[highAxes] * maps + (long)start * level.Half.Elements;
    }

    float* Low(int level, int start, int maps) =>
        level == wavelet.Levels.Length - 1 ? Place(wavelet.Bands[0], start, maps) : level % 2 == 0 ? low : nextLow;

    // Planes have no bands along the depth.
    int LowestAxis => wavelet.Shape.Depth > 1 ? GridWavelet.DepthAxis : GridWavelet.HeightAxis;

    // Interleaves maps that lie one after the other: an element of each map in turn.
    void Interleave(float* from, float* to, int points, int maps) => Turn(from, points, to, wavelet.Together, maps, points);

    // The inverse of Interleave.
    void Separate(float* from, float* to, int points, int maps) => Turn(from, wavelet.Together, to, points, points, maps);

    // Transposes 16 x 16 elements at a time. The last 16 rows or columns overlap the ones before where the number is not a multiple of 16.
    void Turn(float* from, long fromStride, float* to, long toStride, int rows, int columns)
    {
        for (var row = 0; row < rows; row += 16)
            for (var column = 0; column < columns; column += 16)
            {
                var (r, c) = (Math.Max(0, Math.Min(row, rows - 16)), Math.Max(0, Math.Min(column, columns - 16)));
                float* source = from + fromStride * r + c, target = to + toStride * c + r;
                if (rows >= 16 && columns >= 16)
                {
                    TFace.Transpose(source, fromStride, target, toStride);
                    continue;
                }
                for (var k = 0; k < Math.Min(16, rows); k++) Copy(source + fromStride * k, block + 16 * k, Math.Min(16, columns));
                TFace.Transpose(block, 16, turned, 16);
                for (var k = 0; k < Math.Min(16, columns); k++) Copy(turned + 16 * k, target + toStride * k, Math.Min(16, rows));
            }
    }

    /// <summary>Copies values to memory that does not overlap them.</summary>
    internal static void Copy(float* from, float* to, long count)
    {
        if (count > 256)
        {
            Buffer.MemoryCopy(from, to, count * sizeof(float), count * sizeof(float));
            return;
        }
        // Short rows do not repay the call.
        var i = 0;
        for (; i <= count - 8; i += 8) Vector256.Load(from + i).Store(to + i);
        for (; i < count; i++) to[i] = from[i];
    }

    void Divide(in GridWavelet.Level level, float* x, int maps)
    {
        var (n, half, slice) = (level.Whole.Depth, level.Half.Depth, level.Whole.Height * level.Whole.Width * level.Beside);
        if (n == 1)
        {
            DividePlanes(level, x, 0, 0, maps);
            return;
        }
        if (n % 2 == 0 && wavelet.InPairs(level)) (n, half, maps) = (n * maps, half * maps, 1);
        for (var map = 0; map < maps; map++, x += (long)slice * n) DivideSlices(level, x, n, map * half, 0, half);
    }

    // Divides n slices, for the output slices from `start` to `end`; `before` output slices of other maps precede them.
    void DivideSlices(in GridWavelet.Level level, float* x, int n, int before, int start, int end)
    {
        var slice = level.Whole.Height * level.Whole.Width * level.Beside;
        var most = SlicesAtOnce(slice);
        for (var z = start; z < end; z += most)
        {
            var some = Math.Min(most, end - z);
            var high = slices + (long)slice * some;
            for (var k = 0; k < some; k++)
            {
                Meet(x, slice, z + k, n);
                TFace.Filter(from, wavelet.Low, wavelet.High, taps, slices + (long)slice * k, high + (long)slice * k, slice);
            }
            DividePlanes(level, slices, 0, before + z, some);
            DividePlanes(level, high, GridWavelet.DepthAxis, before + z, some);
        }
    }

    static int SlicesAtOnce(int slice) => Math.Max(1, SliceElements / 2 / slice);

    void DividePlanes(in GridWavelet.Level level, float* x, int highAxes, int z, int planes)
    {
        var elements = level.Whole.Height * level.Whole.Width * level.Beside;
        if (wavelet.InQuarters(level)) Quarter(level, x, highAxes, z, planes);
        else
            for (var plane = 0; plane < planes; plane++)
                DivideRows(level, x + (long)elements * plane, highAxes, z + plane, 0, level.Half.Height);
    }

    // Divides a plane, for the output rows from `start` to `end`.
    void DivideRows(in GridWavelet.Level level, float* x, int highAxes, int z, int start, int end)
    {
        var (n, row, space) = (level.Whole.Height, level.Whole.Width * level.Beside, (level.Whole.Width + 1) * level.Beside);
        if (n == 1)
        {
            Copy(x, rows, row);
            DivideRow(level, rows, highAxes, z, 0);
            return;
        }
        for (var y = start; y < end; y++)
        {
            Meet(x, row, y, n);
            TFace.Filter(from, wavelet.Low, wavelet.High, taps, rows, rows + space, row);
            DivideRow(level, rows, highAxes, z, y);
            DivideRow(level, rows + space, highAxes | GridWavelet.HeightAxis, z, y);
        }
    }

    void Quarter(in GridWavelet.Level level, float* x, int highAxes, int z, int planes)
    {
        var (n, half, height) = (level.Whole.Width, level.Half.Width, level.Whole.Height);
        if (n % 2 == 0 && height % 2 == 0) (height, planes) = (height * planes, 1);
        var to = Parts(level, highAxes, z);
        for (; planes > 0; planes--, x += (long)n * height, to = to.After((long)half * level.Half.Height))
            QuarterRows(x, n, height, to, 0, (height + 1) / 2);
    }

    // Divides the pairs of rows of a plane from `start` to `end`.
    void QuarterRows(float* x, int n, int height, in FourBands to, int start, int end)
    {
        var (half, even) = ((n + 1) / 2, n % 2 == 0 ? Math.Min(end, height / 2) : start);
        if (even > start)
            TFace.Quarter(
                x + 2L * start * n, x + (2L * start + 1) * n, 2L * n, even - start, wavelet.Low, wavelet.High, to.After((long)start * half),
                half);
        for (var y = even; y < end; y++)
        {
            float* upper = x + 2L * y * n, lower = 2 * y + 1 < height ? upper + n : upper;
            if (n % 2 != 0)
            {
                upper = Evened(upper, rows, n);
                lower = Evened(lower, rows + n + 1, n);
            }
            TFace.Quarter(upper, lower, 0, 1, wavelet.Low, wavelet.High, to.After((long)y * half), half);
        }
    }

    /// <summary>Copies a row of <paramref name="n"/> values and repeats the last one.</summary>
    internal static float* Evened(float* row, float* to, int n)
    {
        Copy(row, to, n);
        to[n] = to[n - 1];
        return to;
    }

    void DivideRow(in GridWavelet.Level level, float* x, int highAxes, int z, int y)
    {
        var (n, half) = (level.Whole.Width, level.Half.Width);
        float* low = Part(level, highAxes, z, y), high = Part(level, highAxes | GridWavelet.WidthAxis, z, y);
        if (n == 1) Copy(x, low, level.Beside);
        else if (level.Beside > 1)
            for (var o = 0; o < half; o++)
            {
                Meet(x, level.Beside, o, n);
                TFace.Filter(from, wavelet.Low, wavelet.High, taps, low + o * level.Beside, high + o * level.Beside, level.Beside);
            }
        else halves.Divide<TFace>(wavelet, x, n, low, high);
    }

    void Combine(in GridWavelet.Level level, float* to, int maps)
    {
        var (n, half, slice) = (level.Whole.Depth, level.Half.Depth, level.Whole.Height * level.Whole.Width * level.Beside);
        if (n == 1)
        {
            CombinePlanes(level, 0, 0, to, maps);
            return;
        }
        if (n % 2 == 0 && wavelet.InPairs(level)) (n, half, maps) = (n * maps, half * maps, 1);
        // Under more than two taps all low and high slices are needed before the first output.
        var lows = wavelet.InPairs(level) ? slices : whole;
        var most = wavelet.InPairs(level) ? SlicesAtOnce(slice) : half;
        for (var map = 0; map < maps; map++, to += (long)slice * n)
            for (var z = 0; z < half; z += most)
            {
                var some = Math.Min(most, half - z);
                var highs = lows + (long)slice * some;
                CombinePlanes(level, 0, map * half + z, lows, some);
                CombinePlanes(level, GridWavelet.DepthAxis, map * half + z, highs, some);
                combiner!.Lines(lows, highs, slice, Math.Min(2 * some, n - 2 * z), to + 2L * slice * z, slice, spareSlice);
            }
    }

    void CombinePlanes(in GridWavelet.Level level, int highAxes, int z, float* to, int planes)
    {
        var elements = level.Whole.Height * level.Whole.Width * level.Beside;
        if (level.Beside == 1) combiner!.Planes(level, planes, Parts(level, highAxes, z), to, plane);
        else for (var plane = 0; plane < planes; plane++) CombinePlane(level, highAxes, z + plane, to + (long)elements * plane);
    }

    // Joins a plane of interleaved maps.
    void CombinePlane(in GridWavelet.Level level, int highAxes, int z, float* to)
    {
        var (n, half, row) = (level.Whole.Height, level.Half.Height, level.Whole.Width * level.Beside);
        var space = (level.Whole.Width == 1 ? 1 : 2 * level.Half.Width) * level.Beside;
        if (n == 1)
        {
            CombineRow(level, highAxes, z, 0, plane);
            Copy(plane, to, row);
            return;
        }
        for (var y = 0; y < half; y++)
        {
            CombineRow(level, highAxes, z, y, plane + (long)space * y);
            CombineRow(level, highAxes | GridWavelet.HeightAxis, z, y, plane + (long)space * (half + y));
        }
        combiner!.Lines(plane, plane + (long)space * half, space, n, to, row, rows);
    }

    void CombineRow(in GridWavelet.Level level, int highAxes, int z, int y, float* to)
    {
        var (n, half) = (level.Whole.Width, level.Half.Width);
        var low = Part(level, highAxes, z, y);
        if (n == 1) Copy(low, to, level.Beside);
        else combiner!.Lines(low, Part(level, highAxes | GridWavelet.WidthAxis, z, y), level.Beside, 2 * half, to, level.Beside, to);
    }

    // Finds the input lines of output o on an axis of n points, in the order of the taps.
    void Meet(float* x, long space, int o, int n)
    {
        var i = taps / 2 + 2 * o;
        if (i >= taps - 1 && i < n) for (var j = 0; j < taps; j++) from[j] = x + (i - j) * space;
        else for (var j = 0; j < taps; j++) from[j] = x + Wrapped(i - j, n) * space;
    }

    /// <summary>
    /// The point at the periodic index <paramref name="i"/> of an axis of <paramref name="n"/> points, which is made even by repeating the
    /// last one.
    /// </summary>
    internal static int Wrapped(int i, int n) => (uint)i < (uint)n ? i : Math.Min(Modulo(i, n + n % 2), n - 1);

    internal static int Modulo(int i, int n) => (i % n + n) % n;

    // The address of a row of a band.
    float* Part(in GridWavelet.Level level, int highAxes, int z, int y) =>
        bands[highAxes] + ((long)z * level.Half.Height + y) * level.Half.Width * level.Beside;

    // The addresses of a plane in each band.
    FourBands Parts(in GridWavelet.Level level, int highAxes, int z)
    {
        const int Height = GridWavelet.HeightAxis, Width = GridWavelet.WidthAxis;
        var first = new FourBands(bands[highAxes], bands[highAxes | Width], bands[highAxes | Height], bands[highAxes | Height | Width]);
        return first.After((long)z * level.Half.Height * level.Half.Width);
    }
}
