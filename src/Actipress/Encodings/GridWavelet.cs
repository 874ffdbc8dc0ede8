using System.Runtime.InteropServices;

namespace Actipress;

/// <summary>
/// How maps under a wavelet divide into units: whole maps, as many as give at most 2^16 coefficients, but one at least. A unit's
/// coefficients are those of <see cref="Wavelet"/> for just its maps, in its order, in tiles of 256 neighbours. A unit is one chunk,
/// or several where one map gives more.
/// </summary>
sealed unsafe class GridWavelet
{
    /// <summary>Bits of <see cref="Wavelet.Band.HighAxes"/>.</summary>
    public const int DepthAxis = 1, HeightAxis = 2, WidthAxis = 4;

    // Maps with rows and elements of at most this lie side by side.
    const int ShortRow = 32, ShortRowOfTwoTaps = 12, SmallMap = 1024;

    // Elements of maps that are stacked.
    const int Stack = 1 << 12;

    // Maps that give several chunks are not held whole, but where their rows are longer.
    const int LongestRow = 1 << 14;

    const int LargestKept = 1 << 16, LinesPerTap = 4;

    /// <summary>A division of a band into bands of half the extents.</summary>
    /// <param name="Whole">The extents before.</param>
    /// <param name="Half">The extents after.</param>
    /// <param name="Numbers">Of each detail band, by its <see cref="Wavelet.Band.HighAxes"/>; 0, the number of the coarsest low band, elsewhere.</param>
    /// <param name="Starts">Where it starts among one map's coefficients.</param>
    public readonly record struct Level(Wavelet.Extents Whole, Wavelet.Extents Half, int[] Numbers, long[] Starts);

    readonly float[] filters;

    public GridWavelet(Wavelet wavelet, MapShape shape)
    {
        Shape = shape;
        Bands = [.. wavelet.Bands(shape)];
        var sizes = wavelet.Sizes(shape);
        Levels = [.. Enumerable.Range(1, sizes.Count - 1).Select(level =>
        {
            var (numbers, starts) = (new int[8], new long[8]);
            for (var i = 1; i < Bands.Length; i++) if (Bands[i].Level == level) (numbers[Bands[i].HighAxes], starts[Bands[i].HighAxes]) = (i, Bands[i].Start);
            return new Level(sizes[level - 1], sizes[level], numbers, starts);
        })];
        Elements = checked((int)shape.MapElements);
        Coefficients = checked((int)Bands.Sum(band => band.Elements));
        MapsPerUnit = (int)Math.Min(shape.Maps, Math.Max(1, GridTiles.ChunkCoefficients / Coefficients));
        Units = (shape.Maps + MapsPerUnit - 1) / MapsPerUnit;
        ChunksPerUnit = checked((int)(((long)MapsPerUnit * Coefficients + GridTiles.ChunkCoefficients - 1) / GridTiles.ChunkCoefficients));
        var shortRow = wavelet.Low.Length == 2 ? ShortRowOfTwoTaps : ShortRow;
        Taps = wavelet.Low.Length;
        SideBySide = MapsPerUnit > 1 && shape.Width <= shortRow && Elements <= SmallMap;
        Together = SideBySide ? 32 * Math.Max(1, 256 / Elements) : InPairs ? Math.Clamp(Stack / Elements, 1, MapsPerUnit) : 1;

        filters = GC.AllocateArray<float>(4 * Taps, pinned: true);
        for (var j = 0; j < Taps; j++) (filters[j], filters[Taps + j]) = ((float)wavelet.Low[j], (float)wavelet.High[j]);
        for (var t = 0; t < Taps / 2; t++)
        {
            (InverseFirst[t], InverseFirst[Taps / 2 + t]) = (Low[2 * t + 1], High[2 * t + 1]);
            (InverseSecond[t], InverseSecond[Taps / 2 + t]) = (Low[2 * t], High[2 * t]);
        }
    }

    public MapShape Shape { get; }

    /// <summary>From fine to coarse.</summary>
    public Level[] Levels { get; }

    public Wavelet.Band[] Bands { get; }

    /// <summary>Of one map.</summary>
    public int Elements { get; }

    /// <summary>Of one map.</summary>
    public int Coefficients { get; }

    public int MapsPerUnit { get; }

    /// <summary>Of a unit that is full.</summary>
    public long UnitElements => (long)MapsPerUnit * Elements;

    public long Units { get; }
    public int ChunksPerUnit { get; }

    /// <summary>Whether maps are transformed side by side, an element of each in turn, since their rows are too short to fill registers.</summary>
    public bool SideBySide { get; }

    /// <summary>Whether two taps meet one pair of rows and of slices, so that maps may be stacked like one tall map.</summary>
    public bool InPairs => Taps == 2 && !SideBySide;

    /// <summary>Maps that are transformed at once: so many side by side or stacked; else 1.</summary>
    public int Together { get; }

    /// <summary>Whether all four bands of two rows come out at once.</summary>
    public bool InQuarters(in Level level) => InPairs && level.Whole.Height > 1 && level.Whole.Width > 1;

    /// <summary>Whether maps are too large to be held whole: lines of them go through <see cref="GridAnalysis{TFace, TCells}"/> and <see cref="GridSynthesis{TFace}"/>.</summary>
    public bool InBands => ChunksPerUnit > 1 && Shape.Width <= LongestRow;

    /// <summary>A large map's lines, at one level: slices of a volume, else rows.</summary>
    public int Lines(in Wavelet.Extents extents) => Shape.Depth > 1 ? extents.Depth : extents.Height;

    /// <summary>
    /// Whether the low band that is divided further on is kept whole, since with more than two taps many of its few lines would be made
    /// twice or more often.
    /// </summary>
    public bool KeptWhole(in Wavelet.Extents low) => Taps > 2 && low.Elements <= LargestKept && Lines(low) <= LinesPerTap * Taps;

    /// <summary>In how many parts threads take each map, where maps are large and few.</summary>
    public int PartsFor(int threads) => InBands && Units < 2 * threads ? Math.Min(threads, Parts) : 1;

    /// <summary>Into how many parts a large map can be divided.</summary>
    public int Parts => Lines(Levels[^1].Half);

    public int Taps { get; }

    /// <summary>The low-pass filter; after it the others.</summary>
    public float* Low => (float*)Marshal.UnsafeAddrOfPinnedArrayElement(filters, 0);

    public float* High => Low + Taps;

    // Of an inverse's two neighbouring outputs: the taps that meet the low band, then those that meet the high one.
    public float* InverseFirst => Low + 2 * Taps;
    public float* InverseSecond => Low + 3 * Taps;

    /// <summary>The maps of a unit.</summary>
    public int Maps(long unit) => (int)Math.Min(MapsPerUnit, Shape.Maps - unit * MapsPerUnit);

    /// <summary>The tiles of a unit of so many maps.</summary>
    public int Tiles(int maps) => (int)(((long)maps * Coefficients + 255) / 256);
}
