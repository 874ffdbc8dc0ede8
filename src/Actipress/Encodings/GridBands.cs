using System.Numerics;
using System.Runtime.InteropServices;

namespace Actipress;

/// <summary>
/// The coefficients of one large map, read in their order without holding them: a row of a band is computed when it is read,
/// by the arithmetic of <see cref="GridUnit{TFace}"/>, out of as many lines of the low band before it as the taps reach.
/// </summary>
/// <remarks>
/// A line is a slice of a volume, else a row. So a band of level n reads the map again, in at most the operations of one filter an
/// axis and level; a low band of few elements is kept whole, for all that read it.
/// </remarks>
sealed unsafe class GridBands<TFace, TCells> : ICoefficients, IDisposable where TFace : struct, IGridFace where TCells : struct, IGridCells
{
    // Of a low band that has at most so many elements all lines are kept.
    const int KeptWhole = 1 << 17;

    const int AtOnce = 2048;

    readonly GridWavelet wavelet;
    readonly void* maps;
    readonly int taps;
    readonly bool volume;
    readonly Stage[] stages;
    readonly float* memory, line, row, some;
    readonly GridRow halves;

    // The map, and where in its coefficients the next one is: of a band, the row and the element.
    long first = -1;
    int band, y, x;
    long next = -1;

    /// <summary>A level, and what is kept of what it divides.</summary>
    sealed class Stage
    {
        public Wavelet.Extents Whole, Half;

        // Lines by their index modulo the room, or all; the index of each, or int.MinValue where there is none yet.
        public float* Lines;
        public int LineElements;
        public int[] Line = [];
        public bool All;

        // Rows that went through the filter across slices.
        public float* Rows;
        public (int HighAxes, int Z, int Y)[] Row = [];
        public float** Slices, Columns;
    }

    /// <param name="wavelet">How maps divide.</param>
    /// <param name="maps">The first element of all.</param>
    public GridBands(GridWavelet wavelet, void* maps)
    {
        (this.wavelet, taps, volume) = (wavelet, wavelet.Taps, wavelet.Shape.Depth > 1);
        this.maps = maps;
        stages = [.. wavelet.Levels.Select(level => new Stage { Whole = level.Whole, Half = level.Half })];
        var width = wavelet.Shape.Width;
        long floats = 0;
        Lay(null);
        memory = (float*)NativeMemory.AlignedAlloc(checked((nuint)floats * sizeof(float)), 64);
        floats = 0;
        Lay(memory);
        line = Take(memory, width + 1L);
        row = Take(memory, width);
        some = Take(memory, AtOnce);
        halves = new(Take(memory, GridRow.Floats(width, taps)), width, taps);

        // Twice: to learn how much it is, and then in memory.
        void Lay(float* from)
        {
            var reached = (int)BitOperations.RoundUpToPowerOf2((uint)taps);
            for (var i = 0; i < stages.Length; i++)
            {
                var stage = stages[i];
                stage.Slices = (float**)Take(from, 2 * taps);
                stage.Columns = (float**)Take(from, 2 * taps);
                if (i > 0 || !TCells.AreFloats)
                {
                    stage.LineElements = (volume ? stage.Whole.Height : 1) * stage.Whole.Width;
                    stage.All = stage.Whole.Elements <= KeptWhole;
                    stage.Line = new int[stage.All ? stage.Whole.Elements / stage.LineElements : reached];
                    stage.Lines = Take(from, (long)stage.Line.Length * stage.LineElements);
                }
                if (!volume) continue;
                stage.Row = new (int, int, int)[reached];
                stage.Rows = Take(from, (long)reached * stage.Whole.Width);
            }
            if (from != null) return;
            foreach (var size in (long[])[width + 1L, width, AtOnce, GridRow.Floats(width, taps)]) Take(null, size);
        }

        float* Take(float* from, long size)
        {
            var at = from + floats;
            floats += (size + 15) / 16 * 16;
            return at;
        }
    }

    public void Dispose()
    {
        AllocatorMeter.LookIn();
        NativeMemory.AlignedFree(memory);
    }

    /// <summary>Turns to a map.</summary>
    public void Open(long map)
    {
        if (map * wavelet.Elements == first) return;
        (first, next) = (map * wavelet.Elements, -1);
        foreach (var stage in stages)
        {
            Array.Fill(stage.Line, int.MinValue);
            Array.Fill(stage.Row, (-1, 0, 0));
        }
    }

    /// <inheritdoc/>
    public ReadOnlySpan<float> From(long start)
    {
        var count = (int)Math.Min(AtOnce, wavelet.Coefficients - start);
        Read(start, some, count);
        return new(some, count);
    }

    /// <summary>Some coefficients from the <paramref name="start"/>-th on; beyond the last one zeros.</summary>
    public void Read(long start, float* to, int count)
    {
        if (start != next) Seek(start);
        next = start + count;
        while (count > 0)
        {
            if (band == wavelet.Bands.Length)
            {
                new Span<float>(to, count).Clear();
                return;
            }
            var extents = wavelet.Bands[band].Extents;
            var taken = Math.Min(count, extents.Width - x);
            var whole = taken == extents.Width;
            if (whole) Divide(wavelet.Bands[band], y, to);
            else
            {
                if (x == 0) Divide(wavelet.Bands[band], y, row);
                Buffer.MemoryCopy(row + x, to, taken * sizeof(float), taken * sizeof(float));
            }
            to += taken;
            count -= taken;
            x += taken;
            if (x < extents.Width) continue;
            x = 0;
            if (++y < extents.Depth * extents.Height) continue;
            y = 0;
            band++;
        }
    }

    void Seek(long start)
    {
        for (band = 0; band < wavelet.Bands.Length && start >= wavelet.Bands[band].Start + wavelet.Bands[band].Elements;) band++;
        if (band == wavelet.Bands.Length) return;
        (y, x) = Math.DivRem((int)(start - wavelet.Bands[band].Start), wavelet.Bands[band].Extents.Width);
        if (x > 0) Divide(wavelet.Bands[band], y, row);
    }

    void Divide(in Wavelet.Band band, int row, float* to)
    {
        var (z, y) = Math.DivRem(row, band.Extents.Height);
        Divide(band.Level - 1, band.HighAxes, z, y, to);
    }

    // One row of a band.
    void Divide(int level, int highAxes, int z, int y, float* to)
    {
        var stage = stages[level];
        var n = stage.Whole.Width;
        var x = Columns(level, highAxes, z, y);
        if (n == 1)
        {
            *to = *x;
            return;
        }
        halves.Take<TFace>(x, n);
        TFace.OneFilter(halves.From, Filter(highAxes & GridWavelet.WidthAxis), taps, to, stage.Half.Width);
    }

    float* Filter(int high) => high != 0 ? wavelet.High : wavelet.Low;

    // A row after the filters across slices and rows, with room for one more element.
    float* Columns(int level, int highAxes, int z, int y)
    {
        var stage = stages[level];
        if (stage.Whole.Height == 1) Buffer.MemoryCopy(Slices(level, highAxes, z, 0), line, stage.Whole.Width * sizeof(float), stage.Whole.Width * sizeof(float));
        else
        {
            for (var j = 0; j < taps; j++) stage.Columns[j] = Slices(level, highAxes, z, taps / 2 + 2 * y - j);
            TFace.OneFilter(stage.Columns, Filter(highAxes & GridWavelet.HeightAxis), taps, line, stage.Whole.Width);
        }
        return line;
    }

    // A row after the filter across slices; y may lie beyond the map, which is periodic.
    float* Slices(int level, int highAxes, int z, int y)
    {
        var stage = stages[level];
        if (stage.Whole.Depth == 1) return Row(level, 0, y);
        var place = y & stage.Row.Length - 1;
        var row = stage.Rows + (long)place * stage.Whole.Width;
        var wanted = (highAxes & GridWavelet.DepthAxis, z, y);
        if (stage.Row[place] == wanted) return row;
        for (var j = 0; j < taps; j++) stage.Slices[j] = Row(level, taps / 2 + 2 * z - j, y);
        TFace.OneFilter(stage.Slices, Filter(highAxes & GridWavelet.DepthAxis), taps, row, stage.Whole.Width);
        stage.Row[place] = wanted;
        return row;
    }

    // A row of what a level divides; both indices may lie beyond it.
    float* Row(int level, int z, int y)
    {
        var stage = stages[level];
        int slice = GridUnit<TFace>.Wrapped(z, stage.Whole.Depth), column = GridUnit<TFace>.Wrapped(y, stage.Whole.Height);
        if (level == 0 && TCells.AreFloats) return (float*)maps + first + ((long)slice * stage.Whole.Height + column) * stage.Whole.Width;
        var (index, inside) = volume ? (z, slice) : (y, column);
        var place = stage.All ? inside : index & stage.Line.Length - 1;
        var line = stage.Lines + (long)place * stage.LineElements;
        if (stage.All) index = inside;
        if (stage.Line[place] != index)
        {
            if (level == 0) Load(inside, line, stage.LineElements);
            else for (var i = 0; i < stage.LineElements / stage.Whole.Width; i++) Divide(level - 1, 0, volume ? inside : 0, volume ? i : inside, line + (long)i * stage.Whole.Width);
            stage.Line[place] = index;
        }
        return volume ? line + (long)column * stage.Whole.Width : line;
    }

    // A line of the map, in float32.
    void Load(int index, float* to, int elements)
    {
        for (var i = 0; i < elements; i += 16) TCells.Load(maps, first + (long)index * elements + i, to + i, Math.Min(16, elements - i));
    }
}
