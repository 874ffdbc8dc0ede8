using System.Numerics;

namespace Actipress.Grid.Wavelets;

// One large map: each level in parts of some lines, so that several threads can work on it. A line is a slice of a volume, a row of a
// plane, or all of a row.
unsafe partial class GridUnit<TFace>
{
    // No line has this number.
    const int None = int.MinValue;

    // Lines of either half that one pair of lines comes from, as a power of two.
    int Room => (int)BitOperations.RoundUpToPowerOf2((uint)(taps / 2));

    // Those lines, and two that are not to be kept; of a single line only itself. A row is put together with one element more where it is odd.
    long LineFloats => !wavelet.IsLarge ? 0
        : (Lines(wavelet.Levels[0].Whole) == 1 ? 1 : 2L * Room + 2) * LineSpace(wavelet.Levels[0].Whole);

    /// <summary>Elements of a line.</summary>
    public static int LineElements(in Wavelet.Extents extents) => extents.Depth > 1 ? extents.Height * extents.Width : extents.Width;

    static long LineSpace(in Wavelet.Extents extents) => (LineElements(extents) + 16) / 16 * 16;

    /// <summary>Lines of a map.</summary>
    public static int Lines(in Wavelet.Extents extents) => extents.Depth > 1 ? extents.Depth : extents.Height;

    /// <summary>Lines of each half that a level is divided into.</summary>
    public int HalfLines(int level) => Lines(wavelet.Levels[level].Whole) == 1 ? 1 : wavelet.Levels[level].Whole.Depth > 1 ? wavelet.Levels[level].Half.Depth : wavelet.Levels[level].Half.Height;

    /// <summary>What a level divides: the low band of the level before, or the map itself.</summary>
    public float* Whole(int level, float* values) => level == 0 ? values : Low(level - 1, 0, 1);

    /// <summary>Divides a level of a large map into its bands, of which some lines.</summary>
    public void DivideLines(int index, float* x, int start, int end)
    {
        FindBands(index, 0, 1);
        var level = wavelet.Levels[index];
        if (level.Whole.Depth > 1) DivideSlices(level, x, level.Whole.Depth, 0, start, end);
        else if (wavelet.InQuarters(level)) QuarterRows(x, level.Whole.Width, level.Whole.Height, Parts(level, 0, 0), start, end);
        else DivideRows(level, x, 0, 0, start, end);
    }

    /// <summary>Puts some pairs of lines of a level of a large map together.</summary>
    /// <param name="index">The level.</param>
    /// <param name="start">The first pair.</param>
    /// <param name="end">The pair behind the last.</param>
    /// <param name="to">Where the first line of all lies; null where they are not to be kept.</param>
    /// <param name="finish">Called for each line when it is complete, with its number and where it is; it may change it.</param>
    public void CombineLines(int index, int start, int end, float* to, Action<int, nint>? finish)
    {
        FindBands(index, 0, 1);
        var level = wavelet.Levels[index];
        var (n, half, elements, space) = (Lines(level.Whole), HalfLines(index), LineElements(level.Whole), LineSpace(level.Whole));
        float* lows = lines, highs = lows + Room * space, spare = n == 1 ? lines : highs + Room * space;
        var held = stackalloc int[Room];
        new Span<int>(held, Room).Fill(None);
        for (var pair = start; pair < end; pair++)
        {
            // Which two lines come of it: the second may be the one that an odd axis was filled up with.
            var first = n == 1 ? 0 : (2 * pair - wavelet.Shift + 2 * half) % (2 * half);
            var second = n == 1 ? 1 : 2 * pair - wavelet.Shift + 1;
            float* one = Place(first, spare), two = Place(second, spare + space);
            if (n == 1) combiner!.Planes(level, 1, Parts(level, 0, 0), one, plane);
            else if (level.Whole.Depth == 1 && wavelet.InQuarters(level)) combiner!.Pair(level, Parts(level, 0, 0), pair, one, two);
            else
            {
                for (var k = pair - wavelet.Reach; k < pair - wavelet.Reach + taps / 2; k++) Hold(k);
                for (var t = 0; t < taps / 2; t++)
                {
                    var place = (pair - wavelet.Reach + t & Room - 1) * space;
                    from[t] = lows + place;
                    from[taps / 2 + t] = highs + place;
                }
                TFace.Filter(from, wavelet.InverseFirst, wavelet.InverseSecond, taps, one, two, elements);
            }
            if (finish is null) continue;
            if (first < n) finish(first, (nint)one);
            if (second < n) finish(second, (nint)two);
        }

        float* Place(int line, float* spare) => to != null && line < n ? to + (long)line * elements : spare;

        // The line of either half, whose number may lie beyond it.
        void Hold(int k)
        {
            var place = k & Room - 1;
            if (held[place] == k) return;
            held[place] = k;
            Half(level, Modulo(k, half), 0, lows + place * space);
            Half(level, Modulo(k, half), level.Whole.Depth > 1 ? GridWavelet.DepthAxis : GridWavelet.HeightAxis, highs + place * space);
        }
    }

    // A slice or a row out of its bands.
    void Half(in GridWavelet.Level level, int k, int highAxis, float* to)
    {
        if (level.Whole.Depth > 1)
        {
            combiner!.Planes(level, 1, Parts(level, highAxis, k), to, plane);
            return;
        }
        var low = Part(level, highAxis, 0, k);
        if (level.Whole.Width == 1) *to = *low;
        else combiner!.Row(low, Part(level, highAxis | GridWavelet.WidthAxis, 0, k), level.Half.Width, to);
    }
}
