using Actipress.Grid.Wavelets;

namespace Actipress.Grid.Gpu;

/// <summary>One division of whole maps by a wavelet, as kernels are given it: <see cref="GridWavelet.Level"/>.</summary>
struct GpuLevel
{
    public int Depth, Height, Width, HalfDepth, HalfHeight, HalfWidth;

    /// <summary>Where the bands of one map start, by the axes on which they are high: 0 is the low band of the coarsest level.</summary>
    public int Start0, Start1, Start2, Start3, Start4, Start5, Start6, Start7;

    public int Taps;

    /// <summary>Whether it is the finest, whose values are the map's, and the coarsest, whose low band is kept.</summary>
    public int Finest, Coarsest;

    /// <summary>All levels, from fine to coarse.</summary>
    public static GpuLevel[] Of(GridWavelet wavelet) => [.. Enumerable.Range(0, wavelet.Levels.Length).Select(level => new GpuLevel(wavelet, level))];

    GpuLevel(GridWavelet wavelet, int level)
    {
        var (whole, half, _, starts, _) = wavelet.Levels[level];
        (Depth, Height, Width, HalfDepth, HalfHeight, HalfWidth) = (whole.Depth, whole.Height, whole.Width, half.Depth, half.Height, half.Width);
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

/// <summary>Which maps a wavelet's kernel works on, and what memory of those it has.</summary>
struct GpuUnits
{
    /// <summary>Maps here, and the number of the first among all.</summary>
    public int Maps, FirstMap;

    /// <summary>How many there are to choose a sample of <see cref="Maps"/> from; 0 where they follow one another.</summary>
    public long ChosenFrom;

    public int MapsPerUnit, TilesPerUnit;

    /// <summary>The number of a map here among all.</summary>
    public readonly long Number(int map) => ChosenFrom > 0 ? GridSample.Chosen(map, Maps, ChosenFrom) : FirstMap + (long)map;

    /// <summary>Where a band's part of a map starts among the coefficients of these units.</summary>
    public readonly long Place(int map, int start, int bandElements)
    {
        var unit = map / MapsPerUnit;
        var maps = Math.Min(MapsPerUnit, Maps - unit * MapsPerUnit);
        return (long)unit * TilesPerUnit * 256 + (long)start * maps + (long)(map - unit * MapsPerUnit) * bandElements;
    }
}
