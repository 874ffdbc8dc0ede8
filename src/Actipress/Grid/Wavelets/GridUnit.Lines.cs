using System.Numerics;
using Actipress.Transforms;

namespace Actipress.Grid.Wavelets;

// One large map, each level in parts of some lines, so that several threads can work on the map. A line is a slice of a volume, a row of a
// plane, or a whole row.
unsafe partial class GridUnit<TFace>
{
    // A number that no line has.
    const int None = int.MinValue;

    // The number of lines of each half that one pair of output lines depends on, rounded up to a power of two.
    int Room => (int)BitOperations.RoundUpToPowerOf2((uint)(taps / 2));

    // Memory for those lines, and for two that are not kept; for a single line only itself. An odd row is joined with one element more.
    long LineFloats => !wavelet.IsLarge ? 0
        : (Lines(wavelet.Levels[0].Whole) == 1 ? 1 : 2L * Room + 2) * LineSpace(wavelet.Levels[0].Whole);

    /// <summary>The number of elements in a line.</summary>
    public static int LineElements(in Wavelet.Extents extents) => extents.Depth > 1 ? extents.Height * extents.Width : extents.Width;

    static long LineSpace(in Wavelet.Extents extents) => (LineElements(extents) + 16) / 16 * 16;

    /// <summary>The number of lines in a map.</summary>
    public static int Lines(in Wavelet.Extents extents) => extents.Depth > 1 ? extents.Depth : extents.Height;

    /// <summary>The number of lines in each half of a level.</summary>
    public int HalfLines(int level)
    {
        var (whole, half) = (wavelet.Levels[level].Whole, wavelet.Levels[level].Half);
        return Lines(whole) == 1 ? 1 : whole.Depth > 1 ? half.Depth : half.Height;
    }

    /// <summary>The input of a level: the low band of the level before, or the map itself.</summary>
    public float* Whole(int level, float* values) => level == 0 ? values : Low(level - 1, 0, 1);

    /// <summary>
    /// Divides a level of a large map into its bands, for the lines from <paramref name="start"/> up to but not including
    /// <paramref name="end"/> of each half.
    /// </summary>
    public void DivideLines(int index, float* x, int start, int end)
    {
        FindBands(index, 0, 1);
        var level = wavelet.Levels[index];
        if (level.Whole.Depth > 1) DivideSlices(level, x, level.Whole.Depth, 0, start, end);
        else if (wavelet.InQuarters(level)) QuarterRows(x, level.Whole.Width, level.Whole.Height, Parts(level, 0, 0), start, end);
        else DivideRows(level, x, 0, 0, start, end);
    }

    /// <summary>Joins the bands of a level of a large map to pairs of lines.</summary>
    /// <param name="index">The level.</param>
    /// <param name="start">The first pair.</param>
    /// <param name="end">The pair after the last one.</param>
    /// <param name="to">Where the first of all lines is written; null where only <paramref name="finish"/> receives the lines.</param>
    /// <param name="finish">Called with the number and the address of each complete line; it may change the line.</param>
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
            // The numbers of the pair's two lines. The second may be the line that was repeated to make an odd axis even.
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

        // Computes a line of both halves, whose number may lie outside the axis, unless the line is held already.
        void Hold(int k)
        {
            var place = k & Room - 1;
            if (held[place] == k) return;
            held[place] = k;
            Half(level, Modulo(k, half), 0, lows + place * space);
            Half(level, Modulo(k, half), level.Whole.Depth > 1 ? GridWavelet.DepthAxis : GridWavelet.HeightAxis, highs + place * space);
        }
    }

    // Joins the bands of one slice or row.
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
