using System.Runtime.InteropServices;
using Actipress.Grid.Bits;
using Actipress.Transforms;

namespace Actipress.Grid.Wavelets;

/// <summary>
/// How maps under a wavelet divide into units: as many whole maps as have at most 2^16 coefficients, but at least one map. A unit's
/// coefficients are those of <see cref="Wavelet"/> for just its maps, in its order, in tiles of 256 neighbours. A unit is one chunk, or
/// several where one map has more coefficients.
/// </summary>
sealed unsafe class GridWavelet
{
    /// <summary>The bits of <see cref="Wavelet.Band.HighAxes"/>.</summary>
    public const int DepthAxis = 1, HeightAxis = 2, WidthAxis = 4;

    // Maps of at most so many elements are interleaved from the level at which their rows are as short as this, or, under two taps, at
    // which an extent is odd.
    const int SmallMap = 1024, ShortRow = 32;

    // The number of elements of maps that are stacked.
    const int Stack = 1 << 12;

    // The least number of elements of a strip.
    const int LeastStrip = 1 << 15;

    // The most coefficients of a map for which every thread may work on a map of its own.
    const int LargestOwn = 1 << 18;

    /// <summary>A division of a band into bands of half the extents.</summary>
    /// <param name="Whole">The extents before.</param>
    /// <param name="Half">The extents after.</param>
    /// <param name="Numbers">
    /// The number of each detail band, by its <see cref="Wavelet.Band.HighAxes"/>; 0, the number of the coarsest low band, elsewhere.
    /// </param>
    /// <param name="Starts">Where each band starts among one map's coefficients.</param>
    /// <param name="Beside">
    /// The number of maps that are interleaved, because their rows would not fill registers; else 1.
    /// </param>
    public readonly record struct Level(Wavelet.Extents Whole, Wavelet.Extents Half, int[] Numbers, long[] Starts, int Beside);

    readonly Wavelet wavelet;
    readonly float[] filters;

    public GridWavelet(Wavelet wavelet, MapShape shape)
    {
        this.wavelet = wavelet;
        Shape = shape;
        Bands = [.. wavelet.Bands(shape)];
        Elements = checked((int)shape.MapElements);
        Coefficients = checked((int)Bands.Sum(band => band.Elements));
        MapsPerUnit = (int)Math.Min(shape.Maps, Math.Max(1, GridChunk.Coefficients / Coefficients));
        Units = (shape.Maps + MapsPerUnit - 1) / MapsPerUnit;
        ChunksPerUnit = checked((int)(((long)MapsPerUnit * Coefficients + GridChunk.Coefficients - 1) / GridChunk.Coefficients));
        Taps = wavelet.Low.Length;
        var sizes = wavelet.Sizes(shape);
        var levels = sizes.Count - 1;
        SideBySideFrom = MapsPerUnit > 1 && Elements <= SmallMap
            ? sizes.Take(levels).TakeWhile(whole => !GoesSideBySide(whole)).Count()
            : levels;
        BandsSideBySide = Bands.Count(band => band.Level > SideBySideFrom);
        Together =
            SideBySideFrom < levels ? 32 * Math.Max(1, 256 / Elements) : Taps == 2 ? Math.Clamp(Stack / Elements, 1, MapsPerUnit) : 1;
        Levels = [.. Enumerable.Range(1, levels).Select(level =>
        {
            var (numbers, starts) = (new int[8], new long[8]);
            for (var i = 1; i < Bands.Length; i++)
                if (Bands[i].Level == level) (numbers[Bands[i].HighAxes], starts[Bands[i].HighAxes]) = (i, Bands[i].Start);
            return new Level(sizes[level - 1], sizes[level], numbers, starts, level > SideBySideFrom ? Together : 1);
        })];

        filters = GC.AllocateArray<float>(4 * Taps, pinned: true);
        for (var j = 0; j < Taps; j++) (filters[j], filters[Taps + j]) = ((float)wavelet.Low[j], (float)wavelet.High[j]);
        for (var t = 0; t < Taps / 2; t++)
        {
            (InverseFirst[t], InverseFirst[Taps / 2 + t]) = (Low[2 * t + 1], High[2 * t + 1]);
            (InverseSecond[t], InverseSecond[Taps / 2 + t]) = (Low[2 * t], High[2 * t]);
        }
    }

    public MapShape Shape { get; }

    /// <summary>The levels from fine to coarse.</summary>
    public Level[] Levels { get; }

    public Wavelet.Band[] Bands { get; }

    /// <summary>The number of elements of one map.</summary>
    public int Elements { get; }

    /// <summary>The number of coefficients of one map.</summary>
    public int Coefficients { get; }

    public int MapsPerUnit { get; }

    /// <summary>The number of elements of a full unit.</summary>
    public long UnitElements => (long)MapsPerUnit * Elements;

    public long Units { get; }
    public int ChunksPerUnit { get; }

    /// <summary>
    /// The number of maps that are transformed together: interleaved, or, under two taps, stacked like one tall map, since two taps do not
    /// cross from one map to the next; else 1.
    /// </summary>
    public int Together { get; }

    /// <summary>The first level at which maps are interleaved; the number of levels where they never are.</summary>
    public int SideBySideFrom { get; }

    /// <summary>The number of bands, from the first one on, that are divided from interleaved maps.</summary>
    public int BandsSideBySide { get; }

    bool GoesSideBySide(Wavelet.Extents whole) => Taps == 2 && whole.Height > 1 && whole.Width > 1
        ? whole.Width % 2 != 0 || whole.Height % 2 != 0 || whole.Depth > 1 && whole.Depth % 2 != 0
        : whole.Width <= ShortRow;

    /// <summary>Whether each output depends on one pair of rows and of slices: two taps, and maps that are not interleaved.</summary>
    public bool InPairs(in Level level) => Taps == 2 && level.Beside == 1;

    /// <summary>Whether the four bands of two rows are computed together.</summary>
    public bool InQuarters(in Level level) => InPairs(level) && level.Whole.Height > 1 && level.Whole.Width > 1;

    /// <summary>Whether a map is one row.</summary>
    public bool IsLine => Shape.Depth == 1 && Shape.Height == 1;

    /// <summary>Whether a map fills more than one chunk. A <see cref="GridTeam{TFace}"/> transforms such maps, one at a time.</summary>
    public bool IsLarge => ChunksPerUnit > 1;

    /// <summary>The number of lines of a large map at one level: slices of a volume, rows of a plane, or elements of a row.</summary>
    public int Lines(in Wavelet.Extents extents) => Shape.Depth > 1 ? extents.Depth : IsLine ? extents.Width : extents.Height;

    /// <summary>
    /// Divides large maps into strips of some lines, whatever map the lines belong to, as if each strip were a map. The result is this
    /// object where maps are not large, or where a strip would be more than half of a map.
    /// </summary>
    public GridWavelet InStrips()
    {
        if (!IsLarge) return this;
        var lines = Lines(Levels[0].Whole);
        // More than two taps reach beyond a strip and wrap around to its other end.
        var least = (Taps > 2 ? 2 : 1) << Levels.Length;
        var strip = Math.Max(1, LeastStrip / (Elements / lines) / least) * least;
        if (strip > lines / 2) return this;
        var strips = Shape.Maps * lines / strip;
        var shape = Shape with { Maps = strips };
        if (Shape.Depth > 1) return new(wavelet, shape with { Depth = strip });
        return new(wavelet, IsLine ? shape with { Width = strip } : shape with { Height = strip });
    }

    /// <summary>
    /// The number of threads that work on one unit: all threads where maps are very large, so that the coefficients of one map are in
    /// memory at a time, or where large maps are few; else one.
    /// </summary>
    public int ThreadsEach(int threads) => Coefficients > LargestOwn || IsLarge && Units < 2 * threads ? threads : 1;

    public int Taps { get; }

    /// <summary>
    /// The reach r of the inverse's taps in a band, as in <see cref="GridUnit{TFace}"/>.
    /// </summary>
    public int Reach => Taps / 4;

    /// <summary>The shift s of the inverse's pairs of outputs, as in <see cref="GridUnit{TFace}"/>.</summary>
    public int Shift => 1 - Taps / 2 % 2;

    /// <summary>The low-pass filter; the other filters follow it in memory.</summary>
    public float* Low => (float*)Marshal.UnsafeAddrOfPinnedArrayElement(filters, 0);

    public float* High => Low + Taps;

    // The filters of the inverse's first and second output of a pair: the taps of the low band, then those of the high band.
    public float* InverseFirst => Low + 2 * Taps;
    public float* InverseSecond => Low + 3 * Taps;

    /// <summary>The number of maps of a unit.</summary>
    public int Maps(long unit) => (int)Math.Min(MapsPerUnit, Shape.Maps - unit * MapsPerUnit);

    /// <summary>The number of tiles of a unit of so many maps.</summary>
    public int Tiles(int maps) => (int)(((long)maps * Coefficients + 255) / 256);
}
