using Actipress.Grid.Wavelets;

namespace Actipress.Grid.Gpu;

/// <summary>One level of a wavelet over whole maps, as a kernel's argument: <see cref="GridWavelet.Level"/>.</summary>
struct GpuLevel
{
    public int Depth, Height, Width, HalfDepth, HalfHeight, HalfWidth;

    /// <summary>The offsets of the bands of one map, by the axes on which they are high: 0 is the low band of the coarsest level.</summary>
    public int Start0, Start1, Start2, Start3, Start4, Start5, Start6, Start7;

    public int Taps;

    /// <summary>
    /// Whether the level is the finest, whose values are the map's, and whether it is the coarsest, whose low band is kept.
    /// </summary>
    public int Finest, Coarsest;

    /// <summary>All levels, from fine to coarse.</summary>
    public static GpuLevel[] Of(GridWavelet wavelet) =>
        [.. Enumerable.Range(0, wavelet.Levels.Length).Select(level => new GpuLevel(wavelet, level))];

    GpuLevel(GridWavelet wavelet, int level)
    {
        var (whole, half, _, starts, _) = wavelet.Levels[level];
        (Depth, Height, Width, HalfDepth, HalfHeight, HalfWidth) =
            (whole.Depth, whole.Height, whole.Width, half.Depth, half.Height, half.Width);
        (Start0, Start1, Start2, Start3) = (0, (int)starts[1], (int)starts[2], (int)starts[3]);
        (Start4, Start5, Start6, Start7) = ((int)starts[4], (int)starts[5], (int)starts[6], (int)starts[7]);
        (Taps, Finest, Coarsest) = (wavelet.Taps, level == 0 ? 1 : 0, level == wavelet.Levels.Length - 1 ? 1 : 0);
    }

    public readonly int Start(int highAxes)
    {
        var (depthLow, heightLow) = ((highAxes & 1) == 0, (highAxes & 2) == 0);
        return (highAxes & 4) == 0
            ? heightLow ? depthLow ? Start0 : Start1 : depthLow ? Start2 : Start3
            : heightLow ? depthLow ? Start4 : Start5 : depthLow ? Start6 : Start7;
    }

    /// <summary>Bit a is set where axis a (depth, height, width) is divided.</summary>
    public readonly int DividedAxes => (Depth > 1 ? 1 : 0) | (Height > 1 ? 2 : 0) | (Width > 1 ? 4 : 0);

    public readonly int Elements => Depth * Height * Width;
    public readonly int HalfElements => HalfDepth * HalfHeight * HalfWidth;
}

/// <summary>The maps of a wavelet's kernel, and the layout of their coefficients.</summary>
struct GpuUnits
{
    /// <summary>The number of maps here, and the index of the first among all maps.</summary>
    public int Maps, FirstMap;

    /// <summary>The number of maps from which <see cref="Maps"/> are sampled; 0 where the maps are consecutive.</summary>
    public long ChosenFrom;

    public int MapsPerUnit, TilesPerUnit;

    /// <summary>The index among all maps of a map here.</summary>
    public readonly long Number(int map) => ChosenFrom > 0 ? GridSample.Chosen(map, Maps, ChosenFrom) : FirstMap + (long)map;

    /// <summary>The offset of a map's part of a band among the coefficients of these units.</summary>
    public readonly long Place(int map, int start, int bandElements)
    {
        var unit = map / MapsPerUnit;
        var maps = Math.Min(MapsPerUnit, Maps - unit * MapsPerUnit);
        return (long)unit * TilesPerUnit * 256 + (long)start * maps + (long)(map - unit * MapsPerUnit) * bandElements;
    }
}
