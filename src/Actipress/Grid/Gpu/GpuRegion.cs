using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Transforms;

namespace Actipress.Grid.Gpu;

/// <summary>A map and its tiles, as a kernel's argument.</summary>
struct GpuMap
{
    public long Elements, Tiles;
    public int Type, Depth, Height, Width;

    /// <summary>The number of regions of its tiles; 0 where tiles are 256 neighbours.</summary>
    public int Regions;

    /// <summary>
    /// The number of tiles and chunks of a unit, which is a chunk, or under a wavelet some whole maps. The last unit may have fewer.
    /// </summary>
    public int TilesPerUnit, ChunksPerUnit;

    /// <summary>
    /// Under a wavelet, whose units keep the zeros of whole maps: the number of maps, the maps of a unit, and the elements of a map.
    /// Otherwise 0.
    /// </summary>
    public int Maps, MapsPerUnit, MapElements;

    /// <summary>The first unit of a kernel's work.</summary>
    public int FirstUnit;

    public GpuMap(GridTiles tiles, torch.ScalarType type)
    {
        (Elements, Tiles, Type, Regions, TilesPerUnit, ChunksPerUnit) =
            (tiles.Shape.Elements, tiles.Count, (int)type, tiles.Regions.Length, GridChunk.TilesPerChunk, 1);
        (Depth, Height, Width) = (tiles.Shape.Depth, tiles.Shape.Height, tiles.Shape.Width);
        if (tiles.Wavelet is not { } wavelet) return;
        (TilesPerUnit, ChunksPerUnit) = (wavelet.Tiles(wavelet.MapsPerUnit), wavelet.ChunksPerUnit);
        (Maps, MapsPerUnit, MapElements) = (checked((int)tiles.Shape.Maps), wavelet.MapsPerUnit, wavelet.Elements);
        Tiles = (wavelet.Units - 1) * TilesPerUnit + wavelet.Tiles(wavelet.Maps(wavelet.Units - 1));
    }

    /// <summary>The coefficients of some units in a buffer of their own, as tiles of 256 neighbours.</summary>
    public readonly GpuMap OfCoefficients(int firstUnit, long coefficients) =>
        this with { Elements = coefficients, Type = (int)torch.ScalarType.Float32, FirstUnit = firstUnit };
}

/// <summary>An axis of a region: <see cref="Dct.Axis"/>, and the offset of the cosines for its points.</summary>
struct GpuAxis(Dct.Axis axis, int cosines)
{
    public int Start = axis.Start, Count = axis.Count, Points = axis.Points, Cosines = cosines;
}

/// <summary><see cref="GridTiles.Region"/> as kernels read it.</summary>
struct GpuRegion
{
    public long FirstTile, Blocks, ZeroBitsBefore;
    public int BlocksPerMap, BlocksPerTile, Across, ZeroBitsPerTile;
    public GpuAxis Depth, Height, Width;

    /// <summary>The regions of a map's tiles.</summary>
    public static GpuRegion[] Of(GridTiles tiles)
    {
        var regions = new GpuRegion[tiles.Regions.Length];
        long zeroBits = 0;
        for (var i = 0; i < regions.Length; i++)
        {
            var region = tiles.Regions[i];
            regions[i] = new GpuRegion
            {
                FirstTile = region.FirstTile,
                Blocks = region.Blocks,
                ZeroBitsBefore = zeroBits,
                BlocksPerMap = region.BlocksPerMap,
                BlocksPerTile = region.BlocksPerTile,
                Across = region.Across,
                ZeroBitsPerTile = region.Places.Count,
                Depth = Axis(region.Depth),
                Height = Axis(region.Height),
                Width = Axis(region.Width),
            };
            zeroBits += region.Tiles * region.Places.Count;
        }
        return regions;

        static GpuAxis Axis(Dct.Axis axis) => new(axis, GridCosines.StartOf(axis.Points));
    }
}
