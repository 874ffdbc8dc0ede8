using System.Runtime.Intrinsics;

namespace Actipress;

/// <summary>
/// The wavelet transform of a unit's maps, one or <see cref="GridWavelet.Together"/> at once, in one thread's memory. Along every
/// axis a pass is <see cref="IGridFace.Filter"/> over lines of neighbours: slices of a volume, rows of a plane, and for the rows
/// themselves their even and odd elements, or, where maps lie side by side, the same element of each.
/// </summary>
/// <remarks>
/// On an axis of n points, even or made even by its last one, with F taps:
/// <code>
/// a[o] = sum_j low[j] x[(F/2 + 2 o - j) mod n], d[o] likewise with high                               j = 0 ... F - 1
/// x[2 q - s]     = sum_t low[2 t + 1] a[q + t - r] + sum_t high[2 t + 1] d[q + t - r]                 t = 0 ... F/2 - 1
/// x[2 q - s + 1] = sum_t low[2 t]     a[q + t - r] + sum_t high[2 t]     d[q + t - r]                 r = floor(F / 4), s = 1 - F/2 mod 2
/// </code>
/// </remarks>
sealed unsafe class GridUnit<TFace> : IDisposable where TFace : struct, IGridFace
{
    readonly GridWavelet wavelet;
    readonly int together, taps;
    readonly GridMemory memory;

    // Some maps: before their division or while they are put together, and in parts.
    readonly float* whole, parts;
    readonly float* slices, rows, block, turned;
    // Every second element of a row.
    readonly GridRow halves;
    readonly float** from, bands;
    readonly GridCombiner<TFace> combiner;

    /// <param name="wavelet">How maps divide into units.</param>
    /// <param name="readsMap">Only packs, and reads maps where they lie, not from <see cref="Before"/>.</param>
    public GridUnit(GridWavelet wavelet, bool readsMap = false)
    {
        this.wavelet = wavelet;
        (together, taps) = (wavelet.Together, wavelet.Taps);
        var (height, width) = (wavelet.Shape.Height + 1L, wavelet.Shape.Width + 1L);
        var batch = ((long)wavelet.Coefficients * together + 511) / 256 * 256;
        var before = readsMap ? wavelet.Levels[0].Half.Elements : batch;
        var unit = ((long)wavelet.Coefficients * wavelet.MapsPerUnit + 271) / 256 * 256;
        memory = new(
            unit, before, wavelet.MapsPerUnit == 1 ? 0 : batch, wavelet.Shape.Depth == 1 ? 0 : 2 * height * width * together, 2 * width * together, 512,
            GridRow.Floats(wavelet.Shape.Width, taps), 2 * taps, 2 * 8);
        Coefficients = memory[0];
        whole = memory[1];
        parts = wavelet.MapsPerUnit == 1 ? Coefficients : memory[2];
        slices = memory[3];
        rows = memory[4];
        block = memory[5];
        turned = block + 256;
        halves = new(memory[6], wavelet.Shape.Width, taps);
        from = (float**)memory[7];
        bands = (float**)memory[8];
        combiner = new(wavelet);
    }

    public void Dispose()
    {
        memory.Dispose();
        combiner.Dispose();
    }

    /// <summary>The unit's coefficients, in whole tiles.</summary>
    public float* Coefficients { get; }

    /// <summary>Room for the values of some maps, one after the other, and for a tile beyond them.</summary>
    public float* Before => together == 1 ? whole : parts;

    /// <summary>Where <see cref="Inverse"/> leaves them.</summary>
    public float* After => together == 1 ? parts : whole;

    /// <summary>Transforms maps <paramref name="start"/> to <paramref name="start"/> + <paramref name="count"/> of a unit of <paramref name="maps"/>.</summary>
    /// <remarks><c>values</c>: of these maps, one after the other.</remarks>
    public void Forward(float* values, int start, int count, int maps)
    {
        if (together > 1) Interleave(values, whole, wavelet.Elements, together);
        for (var level = 0; level < wavelet.Levels.Length; level++)
        {
            if (level > 0) Copy(parts, whole, (long)wavelet.Levels[level].Whole.Elements * together);
            Find(wavelet.Levels[level], start, maps);
            Divide(wavelet.Levels[level], level > 0 || together > 1 ? whole : values);
        }
        if (together > 1) foreach (var band in wavelet.Bands) Separate(parts + band.Start * together, Place(band, start, maps), (int)band.Elements, count);
        else if (parts != Coefficients) Copy(parts, Place(wavelet.Bands[0], start, maps), wavelet.Bands[0].Elements);
    }

    /// <summary>The inverse.</summary>
    public void Inverse(int start, int count, int maps)
    {
        if (together > 1) foreach (var band in wavelet.Bands) Interleave(Place(band, start, maps), parts + band.Start * together, (int)band.Elements, count);
        else if (parts != Coefficients) Copy(Place(wavelet.Bands[0], start, maps), parts, wavelet.Bands[0].Elements);
        for (var level = wavelet.Levels.Length - 1; level >= 0; level--)
        {
            Find(wavelet.Levels[level], start, maps);
            Combine(wavelet.Levels[level]);
        }
        if (together > 1) Separate(parts, whole, wavelet.Elements, together);
    }

    /// <summary>Fills the last tile of a unit with zeros.</summary>
    public void Fill(int maps)
    {
        for (var i = (long)maps * wavelet.Coefficients; i % 256 != 0; i++) Coefficients[i] = 0;
    }

    // Where a band holds the first of some maps.
    float* Place(in Wavelet.Band band, int start, int maps) => Coefficients + band.Start * maps + start * band.Elements;

    // A level's low band is in parts, as are the others where maps lie side by side; else these are in their place.
    void Find(in GridWavelet.Level level, int start, int maps)
    {
        bands[0] = parts;
        // Planes have no band of the depth.
        var lowest = wavelet.Shape.Depth > 1 ? GridWavelet.DepthAxis : GridWavelet.HeightAxis;
        for (var highAxes = lowest; highAxes < 8; highAxes += lowest)
            bands[highAxes] = together > 1 ? parts + level.Starts[highAxes] * together : Coefficients + level.Starts[highAxes] * maps + (long)start * level.Half.Elements;
    }

    // Of some maps one after the other, an element of each in turn.
    void Interleave(float* from, float* to, int points, int maps)
    {
        if (points == 1)
        {
            Copy(from, to, maps);
            return;
        }
        for (var map = 0; map < maps; map += 16)
            for (var i = 0; i < points; i += 16)
            {
                for (var k = 0; k < Math.Min(16, maps - map); k++) Sixteen(from + (long)(map + k) * points + i, block + 16 * k);
                TFace.Transpose(block, turned);
                for (var k = 0; k < Math.Min(16, points - i); k++) Sixteen(turned + 16 * k, to + (long)(i + k) * together + map);
            }
    }

    // Back. What is written beyond the end of a map the next one covers: the last sixteen of each go first.
    void Separate(float* from, float* to, int points, int maps)
    {
        if (points == 1)
        {
            Copy(from, to, maps);
            return;
        }
        for (var map = 0; map < maps; map += 16)
            for (var i = (points - 1) / 16 * 16; i >= 0; i -= 16)
            {
                for (var k = 0; k < Math.Min(16, points - i); k++) Sixteen(from + (long)(i + k) * together + map, block + 16 * k);
                TFace.Transpose(block, turned);
                for (var k = 0; k < Math.Min(16, maps - map); k++)
                {
                    var at = (long)(map + k) * points + i;
                    var room = (long)maps * points - at;
                    if (room >= 16) Sixteen(turned + 16 * k, to + at);
                    else for (var left = 0; left < room; left++) to[at + left] = turned[16 * k + left];
                }
            }
    }

    static void Sixteen(float* from, float* to) => *(Vector512<float>*)to = *(Vector512<float>*)from;

    /// <summary>Copies some values, which do not overlap.</summary>
    internal static void Copy(float* from, float* to, long count)
    {
        if (count > 256)
        {
            Buffer.MemoryCopy(from, to, count * sizeof(float), count * sizeof(float));
            return;
        }
        // Rows are too short for the way there.
        var i = 0;
        for (; i <= count - 8; i += 8) Vector256.Load(from + i).Store(to + i);
        for (; i < count; i++) to[i] = from[i];
    }

    void Divide(in GridWavelet.Level level, float* x)
    {
        var (n, slice) = (level.Whole.Depth, level.Whole.Height * level.Whole.Width * together);
        if (n == 1)
        {
            DividePlane(level, x, 0, 0);
            return;
        }
        for (var z = 0; z < level.Half.Depth; z++)
        {
            Meet(x, slice, z, n);
            TFace.Filter(from, wavelet.Low, wavelet.High, taps, slices, slices + slice, slice);
            DividePlane(level, slices, 0, z);
            DividePlane(level, slices + slice, GridWavelet.DepthAxis, z);
        }
    }

    void DividePlane(in GridWavelet.Level level, float* x, int highAxes, int z)
    {
        var (n, row, space) = (level.Whole.Height, level.Whole.Width * together, (level.Whole.Width + 1) * together);
        if (n == 1)
        {
            Copy(x, rows, row);
            DivideRow(level, rows, highAxes, z, 0);
            return;
        }
        if (wavelet.InQuarters(level))
        {
            Quarter(level, x, highAxes, z);
            return;
        }
        for (var y = 0; y < level.Half.Height; y++)
        {
            Meet(x, row, y, n);
            TFace.Filter(from, wavelet.Low, wavelet.High, taps, rows, rows + space, row);
            DivideRow(level, rows, highAxes, z, y);
            DivideRow(level, rows + space, highAxes | GridWavelet.HeightAxis, z, y);
        }
    }

    void Quarter(in GridWavelet.Level level, float* x, int highAxes, int z)
    {
        var (n, half, height) = (level.Whole.Width, level.Half.Width, level.Whole.Height);
        var to = Parts(level, highAxes, z);
        var even = n % 2 == 0 ? height / 2 : 0;
        if (even > 0) TFace.Quarter(x, x + n, 2L * n, even, wavelet.Low, wavelet.High, to, half);
        for (var y = even; y < level.Half.Height; y++)
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

    /// <summary>Copies a row of <paramref name="n"/> values and its last one once more.</summary>
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
        if (n == 1) Copy(x, low, together);
        else if (together > 1)
            for (var o = 0; o < half; o++)
            {
                Meet(x, together, o, n);
                TFace.Filter(from, wavelet.Low, wavelet.High, taps, low + o * together, high + o * together, together);
            }
        else
        {
            halves.Take<TFace>(x, n);
            TFace.Filter(halves.From, wavelet.Low, wavelet.High, taps, low, high, half);
        }
    }

    // The low band of the level before goes where this one's was.
    void Combine(in GridWavelet.Level level)
    {
        var (n, half, slice) = (level.Whole.Depth, level.Half.Depth, level.Whole.Height * level.Whole.Width * together);
        if (n == 1)
        {
            // What comes out covers the low band that goes in, or all bands.
            var inQuarters = wavelet.InQuarters(level);
            if (inQuarters && parts == Coefficients)
            {
                CombinePlane(level, parts, 0, 0, whole);
                Copy(whole, parts, level.Whole.Elements);
                return;
            }
            if (inQuarters)
            {
                Copy(parts, whole, level.Half.Elements);
                bands[0] = whole;
            }
            CombinePlane(level, whole, 0, 0, parts);
            return;
        }
        for (var z = 0; z < half; z++)
        {
            CombinePlane(level, slices, 0, z, whole + (long)slice * z);
            CombinePlane(level, slices, GridWavelet.DepthAxis, z, whole + (long)slice * (half + z));
        }
        combiner.Lines(whole, whole + (long)slice * half, slice, n, parts, slice, slices);
    }

    void CombinePlane(in GridWavelet.Level level, float* lines, int highAxes, int z, float* to)
    {
        if (together == 1)
        {
            combiner.Plane(level, Parts(level, highAxes, z), to, lines);
            return;
        }
        var (n, half, row) = (level.Whole.Height, level.Half.Height, level.Whole.Width * together);
        var space = (level.Whole.Width == 1 ? 1 : 2 * level.Half.Width) * together;
        if (n == 1)
        {
            CombineRow(level, highAxes, z, 0, lines);
            Copy(lines, to, row);
            return;
        }
        for (var y = 0; y < half; y++)
        {
            CombineRow(level, highAxes, z, y, lines + (long)space * y);
            CombineRow(level, highAxes | GridWavelet.HeightAxis, z, y, lines + (long)space * (half + y));
        }
        combiner.Lines(lines, lines + (long)space * half, space, n, to, row, rows);
    }

    // Of maps side by side.
    void CombineRow(in GridWavelet.Level level, int highAxes, int z, int y, float* to)
    {
        var (n, half) = (level.Whole.Width, level.Half.Width);
        var low = Part(level, highAxes, z, y);
        if (n == 1) Copy(low, to, together);
        else combiner.Lines(low, Part(level, highAxes | GridWavelet.WidthAxis, z, y), together, 2 * half, to, together, to);
    }

    // The lines that the taps of output o meet on an axis of n.
    void Meet(float* x, long space, int o, int n)
    {
        var i = taps / 2 + 2 * o;
        if (i >= taps - 1 && i < n) for (var j = 0; j < taps; j++) from[j] = x + (i - j) * space;
        else for (var j = 0; j < taps; j++) from[j] = x + Wrapped(i - j, n) * space;
    }

    /// <summary>Which of an axis's <paramref name="n"/> points, even or made even by the last one, the periodic index <paramref name="i"/> is.</summary>
    internal static int Wrapped(int i, int n) => (uint)i < (uint)n ? i : Math.Min(Modulo(i, n + n % 2), n - 1);

    internal static int Modulo(int i, int n) => (i % n + n) % n;

    // A row of a band.
    float* Part(in GridWavelet.Level level, int highAxes, int z, int y) =>
        bands[highAxes] + ((long)z * level.Half.Height + y) * level.Half.Width * together;

    // A plane of each band.
    FourBands Parts(in GridWavelet.Level level, int highAxes, int z)
    {
        const int Height = GridWavelet.HeightAxis, Width = GridWavelet.WidthAxis;
        return new FourBands(bands[highAxes], bands[highAxes | Width], bands[highAxes | Height], bands[highAxes | Height | Width]).After((long)z * level.Half.Height * level.Half.Width);
    }
}
