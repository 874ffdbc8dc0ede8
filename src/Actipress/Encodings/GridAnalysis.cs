using System.Numerics;

namespace Actipress;

/// <summary>The bands of large maps without holding one, by the arithmetic of <see cref="GridUnit{TFace}"/>.</summary>
abstract unsafe class GridAnalysis : IDisposable
{
    /// <param name="wavelet">How maps divide.</param>
    /// <param name="maps">The first element of all.</param>
    public static GridAnalysis Of<TFace, TCells>(GridWavelet wavelet, void* maps) where TFace : struct, IGridFace where TCells : struct, IGridCells =>
        wavelet.IsLine ? new GridLineAnalysis<TFace, TCells>(wavelet, maps) : new GridAnalysis<TFace, TCells>(wavelet, maps);

    /// <summary>Divides one of some parts of a map, which has as many at most as its coarsest level has lines: every row of every band once.</summary>
    public abstract void Divide(long map, int part, int parts, GridBandRows to);

    public abstract void Dispose();
}

/// <summary>
/// The bands of one large map without holding it: line by line of the coarsest level, every row of every band once, by the arithmetic of
/// <see cref="GridUnit{TFace}"/>. Of what a level divides only as many lines are kept as the taps reach.
/// </summary>
/// <remarks>
/// A line is a slice of a volume, else a row. A level divides the low band before it, whose lines are divided when they are reached. A map
/// is periodic: the lines that the first output reaches before the first one, and the last one behind the last, are divided once more, their
/// low band alone; so are those beyond a part. A small low band is kept whole instead.
/// </remarks>
sealed unsafe class GridAnalysis<TFace, TCells> : GridAnalysis where TFace : struct, IGridFace where TCells : struct, IGridCells
{
    readonly GridWavelet wavelet;
    readonly void* maps;
    readonly int taps, space;
    readonly bool volume;
    readonly Level[] levels;
    readonly GridMemory memory;
    // Two rows.
    readonly float* pair;
    readonly float** reached;
    readonly GridRow halves;
    long first;
    GridBandRows rows = null!;

    sealed class Level(GridWavelet.Level extents)
    {
        public GridWavelet.Level Extents => extents;
        public Wavelet.Extents Whole => extents.Whole;
        public Wavelet.Extents Half => extents.Half;

        /// <summary>Output lines of the part, and the next of them.</summary>
        public int Start, End, Next;

        /// <summary>Lines of what is divided, by their index modulo the room, and that index, or all.</summary>
        public float* Lines;
        public int LineElements;
        public int[] Line = [];
        public bool All, Filled;

        /// <summary>The lines that one output reaches.</summary>
        public float** Reached;

        /// <summary>Rows of a slice after the filters across slices, by their index modulo the room, and that index.</summary>
        public float* Low, High;
        public int[] Row = [];
    }

    // No line or row has this index.
    const int None = int.MinValue;

    /// <param name="wavelet">How maps divide.</param>
    /// <param name="maps">The first element of all.</param>
    public GridAnalysis(GridWavelet wavelet, void* maps)
    {
        (this.wavelet, taps, volume) = (wavelet, wavelet.Taps, wavelet.Shape.Depth > 1);
        this.maps = maps;
        space = (wavelet.Shape.Width + 16) / 16 * 16;
        var room = (int)BitOperations.RoundUpToPowerOf2((uint)taps);
        levels = [.. wavelet.Levels.Select((extents, i) =>
        {
            var (whole, all) = (extents.Whole, i > 0 && wavelet.KeptWhole(extents.Whole));
            return new Level(extents)
            {
                LineElements = (volume ? whole.Height : 1) * whole.Width,
                All = all,
                Line = new int[all ? wavelet.Lines(whole) : i == 0 && TCells.AreFloats ? 0 : room],
                Row = new int[whole.Depth > 1 ? room : 0],
            };
        })];
        memory = new([.. levels.SelectMany(Sizes), 2L * space, 2L * taps, GridRow.Floats(wavelet.Shape.Width, taps)]);
        var piece = 0;
        foreach (var level in levels)
        {
            level.Reached = (float**)memory[piece++];
            level.Lines = memory[piece++];
            level.Low = memory[piece++];
            level.High = memory[piece++];
        }
        pair = memory[piece];
        reached = (float**)memory[piece + 1];
        halves = new(memory[piece + 2], wavelet.Shape.Width, taps);

        IEnumerable<long> Sizes(Level level)
        {
            var rows = (long)level.Row.Length * level.Whole.Width;
            return [2L * taps, (long)level.Line.Length * level.LineElements, rows, rows];
        }
    }

    public override void Dispose() => memory.Dispose();

    public override void Divide(long map, int part, int parts, GridBandRows to)
    {
        (first, rows) = (map * wavelet.Elements, to);
        var coarsest = wavelet.Lines(levels[^1].Half);
        var (start, end) = GridWavelet.PartOf(coarsest, part, parts);
        var (top, topEnd) = (start, end);
        to.Begin(0, RowCoefficients(levels[^1], start));
        for (var i = levels.Length - 1; i >= 0; i--)
        {
            var level = levels[i];
            (level.Start, level.End, level.Next, level.Filled) = (start, end, start, false);
            Array.Fill(level.Line, None);
            foreach (var band in level.Extents.Numbers) if (band > 0) to.Begin(band, wavelet.Bands[band].Start + RowCoefficients(level, start));
            (start, end) = (2 * start, Math.Min(2 * end, wavelet.Lines(level.Whole)));
        }
        for (var z = top; z < topEnd; z++) DivideLines(levels.Length - 1, z, own: true, null);

        long RowCoefficients(Level level, int line) => (long)line * (volume ? level.Half.Height : 1) * level.Half.Width;
    }

    // One output line of a level: of a part's own all bands, else the low one alone, which goes to `low` or, the coarsest, to the rows.
    void DivideLines(int index, int z, bool own, float* low)
    {
        var level = levels[index];
        var lines = wavelet.Lines(level.Whole);
        if (lines == 1) level.Reached[0] = Line(index, 0, own);
        else for (var j = taps - 1; j >= 0; j--) level.Reached[j] = Line(index, taps / 2 + 2 * z - j, own);
        if (volume) DivideSlice(level, own, low);
        else DividePairs(level, level.Reached, lines, 0, 0, own, low);
    }

    // A line of what a level divides; its index may lie beyond it.
    float* Line(int index, int i, bool own)
    {
        var level = levels[index];
        var lines = wavelet.Lines(level.Whole);
        var inside = GridUnit<TFace>.Wrapped(i, lines);
        if (index == 0 && TCells.AreFloats) return (float*)maps + first + (long)inside * level.LineElements;
        if (level.All)
        {
            if (!level.Filled) for (var k = 0; k < lines; k++) Fill(index, k, levels[index - 1].Start <= k && k < levels[index - 1].End, level.Lines + (long)k * level.LineElements);
            level.Filled = true;
            return level.Lines + (long)inside * level.LineElements;
        }
        var place = i & level.Line.Length - 1;
        var line = level.Lines + (long)place * level.LineElements;
        own = own && index > 0 && i == levels[index - 1].Next && i < levels[index - 1].End;
        if (!own && level.Line[place] == i) return line;
        if (own) levels[index - 1].Next++;
        Fill(index, inside, own, line);
        level.Line[place] = i;
        return line;
    }

    void Fill(int index, int i, bool own, float* line)
    {
        if (index > 0) DivideLines(index - 1, i, own, line);
        else GridMover<TCells>.Read(maps, first + (long)i * levels[0].LineElements, line, levels[0].LineElements);
    }

    void DivideSlice(Level level, bool own, float* low)
    {
        var height = level.Whole.Height;
        var count = height == 1 ? 1 : taps;
        Array.Fill(level.Row, None);
        for (var y = 0; y < level.Half.Height; y++)
        {
            var firstRow = height == 1 ? 0 : 2 * y - taps / 2 + 1;
            if (level.Whole.Depth > 1) DivideRows(level, firstRow, count, own);
            for (var high = 0; high < (level.Whole.Depth > 1 && own ? 2 : 1); high++)
            {
                for (var j = 0; j < count; j++) reached[count - 1 - j] = SliceRow(level, firstRow + j, high);
                DividePairs(level, reached, height, high * GridWavelet.DepthAxis, y, own, low);
            }
        }
    }

    float* SliceRow(Level level, int y, int high) => level.Whole.Depth == 1
        ? level.Reached[0] + (long)GridUnit<TFace>.Wrapped(y, level.Whole.Height) * level.Whole.Width
        : (high == 0 ? level.Low : level.High) + (long)(y & level.Row.Length - 1) * level.Whole.Width;

    // Some rows of a slice, whose index may lie beyond it, through the filters across slices; neighbours at once.
    void DivideRows(Level level, int y, int count, bool own)
    {
        var width = level.Whole.Width;
        for (var end = y + count; y < end;)
        {
            var place = y & level.Row.Length - 1;
            if (level.Row[place] == y)
            {
                y++;
                continue;
            }
            var (inside, together) = (GridUnit<TFace>.Wrapped(y, level.Whole.Height), 1);
            while (y + together < end && place + together < level.Row.Length && inside + together < level.Whole.Height && level.Row[place + together] != y + together) together++;
            for (var j = 0; j < taps; j++) reached[j] = level.Reached[j] + (long)inside * width;
            float* low = level.Low + (long)place * width, high = level.High + (long)place * width;
            if (own) TFace.Filter(reached, wavelet.Low, wavelet.High, taps, low, high, together * width);
            else TFace.OneFilter(reached, wavelet.Low, taps, low, together * width);
            for (; together > 0; together--, y++, place++) level.Row[place] = y;
        }
    }

    // The rows that one output row reaches, of so many in all, through the filters across rows and along them.
    void DividePairs(Level level, float** from, int height, int highAxes, int y, bool own, float* low)
    {
        var (width, half) = (level.Whole.Width, level.Half.Width);
        if (height == 1)
        {
            GridUnit<TFace>.Copy(from[0], pair, width);
            DivideRow(level, pair, highAxes, y, own, low);
        }
        else if (own && wavelet.InQuarters(level.Extents))
        {
            float* upper = from[1], lower = from[0];
            if (width % 2 != 0)
            {
                upper = GridUnit<TFace>.Evened(upper, pair, width);
                lower = GridUnit<TFace>.Evened(lower, pair + space, width);
            }
            var highHeight = highAxes | GridWavelet.HeightAxis;
            var to = new FourBands(
                To(level, highAxes, y, low), To(level, highAxes | GridWavelet.WidthAxis, y, low), To(level, highHeight, y, low), To(level, highHeight | GridWavelet.WidthAxis, y, low));
            TFace.Quarter(upper, lower, 0, 1, wavelet.Low, wavelet.High, to, half);
            Wrote(level, highAxes, low);
            Wrote(level, highAxes | GridWavelet.WidthAxis, low);
            Wrote(level, highHeight, low);
            Wrote(level, highHeight | GridWavelet.WidthAxis, low);
        }
        else if (own)
        {
            TFace.Filter(from, wavelet.Low, wavelet.High, taps, pair, pair + space, width);
            DivideRow(level, pair, highAxes, y, own, low);
            DivideRow(level, pair + space, highAxes | GridWavelet.HeightAxis, y, own, low);
        }
        else
        {
            TFace.OneFilter(from, wavelet.Low, taps, pair, width);
            DivideRow(level, pair, highAxes, y, own, low);
        }
    }

    void DivideRow(Level level, float* x, int highAxes, int y, bool own, float* low)
    {
        var width = level.Whole.Width;
        var to = To(level, highAxes, y, low);
        if (width == 1) *to = *x;
        else if (own)
        {
            halves.Divide<TFace>(wavelet, x, width, to, To(level, highAxes | GridWavelet.WidthAxis, y, low));
            Wrote(level, highAxes | GridWavelet.WidthAxis, low);
        }
        else halves.DivideLow<TFace>(wavelet, x, width, to);
        Wrote(level, highAxes, low);
    }

    float* To(Level level, int highAxes, int y, float* low) => highAxes == 0 && low != null ? low + (long)y * level.Half.Width : rows.Next(level.Extents.Numbers[highAxes]);

    void Wrote(Level level, int highAxes, float* low)
    {
        if (highAxes != 0 || low == null) rows.Wrote(level.Extents.Numbers[highAxes], level.Half.Width);
    }
}
