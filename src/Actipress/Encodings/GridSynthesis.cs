using System.Numerics;

namespace Actipress;

/// <summary>
/// The inverse of <see cref="GridAnalysis{TFace, TCells}"/>: a large map out of its bands without holding either, two lines at a time,
/// by the arithmetic of <see cref="GridUnit{TFace}"/>. Of what a level puts together only as many lines are kept as the taps reach.
/// </summary>
sealed unsafe class GridSynthesis<TFace> : IDisposable where TFace : struct, IGridFace
{
    readonly GridWavelet wavelet;
    readonly int taps, reach, shift;
    readonly bool volume;
    readonly Level[] levels;
    readonly GridMemory memory;
    readonly float* scratch;
    readonly float** from;
    readonly GridCombiner<TFace> combiner;
    readonly GridBandReader<TFace> coefficients;

    sealed class Level
    {
        public GridWavelet.Level Extents;

        /// <summary>Lines of the low and the high half, by their index modulo the room, and that index.</summary>
        public float* Low, High;
        public int[] Line = [];

        /// <summary>Lines of the bands that one of them is made of.</summary>
        public float* Parts;

        /// <summary>Of what comes out: a pair of lines and its number, or all.</summary>
        public float* Lines;
        public int Pair;
        public bool All, Filled;

        public int LineElements, PartElements;
    }

    // No line or pair has this number.
    const int None = int.MinValue;

    /// <param name="wavelet">How maps divide.</param>
    /// <param name="coefficients">What is put together; disposed by the caller.</param>
    public GridSynthesis(GridWavelet wavelet, GridBandReader<TFace> coefficients)
    {
        (this.wavelet, this.coefficients, taps, volume) = (wavelet, coefficients, wavelet.Taps, wavelet.Shape.Depth > 1);
        (reach, shift) = (wavelet.Reach, wavelet.Shift);
        var room = (int)BitOperations.RoundUpToPowerOf2((uint)(taps / 2));
        levels = [.. wavelet.Levels.Select((extents, i) => new Level
        {
            Extents = extents,
            LineElements = (volume ? extents.Whole.Height : 1) * extents.Whole.Width,
            PartElements = (volume ? extents.Half.Height : 1) * extents.Half.Width,
            Line = new int[room],
            All = i > 0 && wavelet.KeptWhole(extents.Whole),
        })];
        var scratchFloats = volume ? GridCombiner<TFace>.PlaneScratch(levels[0].Extents.Whole) : wavelet.Shape.Width + 1L;
        memory = new([.. levels.SelectMany(Sizes), 2L * taps, scratchFloats]);
        var piece = 0;
        foreach (var level in levels)
        {
            level.Low = memory[piece++];
            level.High = memory[piece++];
            level.Parts = memory[piece++];
            level.Lines = memory[piece++];
        }
        from = (float**)memory[piece];
        scratch = memory[piece + 1];
        combiner = new(wavelet);

        // The finest level's lines are the map's own.
        IEnumerable<long> Sizes(Level level, int i)
        {
            var half = (long)room * level.LineElements;
            return [half, half, 4L * level.PartElements, i == 0 ? 0 : (level.All ? wavelet.Lines(level.Extents.Whole) : 2L) * level.LineElements];
        }
    }

    public void Dispose()
    {
        memory.Dispose();
        combiner.Dispose();
    }

    /// <summary>Lines of a map.</summary>
    public int Lines => wavelet.Lines(levels[0].Extents.Whole);

    /// <summary>Pairs of these.</summary>
    public int Pairs => wavelet.Lines(levels[0].Extents.Half);

    /// <summary>Elements of a line.</summary>
    public int LineElements => levels[0].LineElements;

    /// <summary>Turns to the map that the reader has.</summary>
    public void Begin()
    {
        foreach (var level in levels)
        {
            Array.Fill(level.Line, None);
            (level.Pair, level.Filled) = (None, false);
        }
    }

    /// <summary>The numbers of the lines of a pair, of which one may be the one that an odd map was filled up with.</summary>
    public (int First, int Second) Numbers(int pair) => Numbers(levels[0], pair);

    /// <summary>Two lines of the map.</summary>
    public void Combine(int pair, float* first, float* second) => Combine(0, pair, first, second);

    void Combine(int index, int pair, float* first, float* second)
    {
        var level = levels[index];
        if (wavelet.Lines(level.Extents.Whole) == 1)
        {
            Half(index, 0, 0, first);
            return;
        }
        var half = wavelet.Lines(level.Extents.Half);
        for (var k = pair - reach; k < pair - reach + taps / 2; k++)
        {
            var place = k & level.Line.Length - 1;
            if (level.Line[place] == k) continue;
            var inside = GridUnit<TFace>.Modulo(k, half);
            Half(index, inside, 0, level.Low + (long)place * level.LineElements);
            Half(index, inside, volume ? GridWavelet.DepthAxis : GridWavelet.HeightAxis, level.High + (long)place * level.LineElements);
            level.Line[place] = k;
        }
        for (var t = 0; t < taps / 2; t++)
        {
            var place = pair - reach + t & level.Line.Length - 1;
            from[t] = level.Low + (long)place * level.LineElements;
            from[taps / 2 + t] = level.High + (long)place * level.LineElements;
        }
        TFace.Filter(from, wavelet.InverseFirst, wavelet.InverseSecond, taps, first, second, level.LineElements);
    }

    // A line of the low or the high half along the axis of lines.
    void Half(int index, int k, int highAxis, float* to)
    {
        var level = levels[index];
        float* low = Part(index, highAxis, k, 0), lowHigh = Part(index, highAxis | GridWavelet.WidthAxis, k, 1);
        if (volume)
            combiner.Planes(
                level.Extents, 1, new(low, lowHigh, Part(index, highAxis | GridWavelet.HeightAxis, k, 2), Part(index, highAxis | GridWavelet.HeightAxis | GridWavelet.WidthAxis, k, 3)), to, scratch);
        else if (level.Extents.Whole.Width == 1) *to = *low;
        else if (level.Extents.Whole.Width % 2 == 0) combiner.Row(low, lowHigh, level.Extents.Half.Width, to);
        else
        {
            combiner.Row(low, lowHigh, level.Extents.Half.Width, scratch);
            GridUnit<TFace>.Copy(scratch, to, level.LineElements);
        }
    }

    // A line of a band; of a low one that was divided further, what its level puts together. Null where there is no such band.
    float* Part(int index, int highAxes, int k, int place)
    {
        var level = levels[index];
        if (highAxes == 0 && index < levels.Length - 1) return Line(index + 1, k);
        if (highAxes != 0 && level.Extents.Numbers[highAxes] == 0) return null;
        return coefficients.Read(level.Extents.Numbers[highAxes], (long)k * level.PartElements, level.PartElements, level.Parts + (long)place * level.PartElements);
    }

    // A line of what a level puts together.
    float* Line(int index, int i)
    {
        var level = levels[index];
        if (level.All)
        {
            if (!level.Filled) Fill(index);
            level.Filled = true;
            return level.Lines + (long)i * level.LineElements;
        }
        var alone = wavelet.Lines(level.Extents.Whole) == 1;
        var pair = alone ? 0 : (i + shift) / 2;
        if (level.Pair != pair) Combine(index, pair, level.Lines, level.Lines + level.LineElements);
        level.Pair = pair;
        return alone || i == 2 * pair - shift ? level.Lines : level.Lines + level.LineElements;
    }

    void Fill(int index)
    {
        var level = levels[index];
        for (var pair = 0; pair < wavelet.Lines(level.Extents.Half); pair++)
        {
            var (first, second) = Numbers(level, pair);
            Combine(index, pair, Place(first), Place(second));
        }

        float* Place(int i) => i < wavelet.Lines(level.Extents.Whole) ? level.Lines + (long)i * level.LineElements : scratch;
    }

    // The second one may be no line.
    (int First, int Second) Numbers(Level level, int pair)
    {
        var even = 2 * wavelet.Lines(level.Extents.Half);
        return wavelet.Lines(level.Extents.Whole) == 1 ? (0, 1) : ((2 * pair - shift + even) % even, 2 * pair - shift + 1);
    }
}
