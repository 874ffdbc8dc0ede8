using Actipress.Grid.Bits;
using Actipress.Grid.Wavelets;
using Actipress.Machine;
using Actipress.Maps;
using Actipress.Transforms;

namespace Actipress.Grid.Tiles;

/// <summary>The transform of a tile's 256 values.</summary>
enum TileTransform : byte
{
    Identity,
    Cosine,

    /// <summary>The tiles hold the coefficients of whole maps, and have no transform of their own.</summary>
    Wavelet,
}

/// <summary>
/// How a map divides into tiles of 16 x 16 values. A tile without a transform is 256 neighbours in memory. Under a cosine transform the map
/// divides into blocks (<see cref="Dct.Division"/>), and a tile has floor(16 / rows) x floor(16 / columns) slots. Each slice of a block
/// fills one slot; blocks fill the slots of a tile one after the other, row-major. Places that no block fills are zero.
/// </summary>
sealed class GridTiles
{
    static readonly Places everywhere = new(16, 16);

    /// <summary>The places that hold values in a tile of a region, or in a tile without a transform.</summary>
    public static ref readonly Places PlacesOf(Region? region) => ref region is null ? ref everywhere : ref region.Places;

    /// <summary>The tiles of blocks of the same extents.</summary>
    public sealed class Region(GridTiles tiles, Dct.Axis depth, Dct.Axis height, Dct.Axis width, long firstTile)
    {
        /// <summary>Whether a tile is one block of 4 x 8 x 8.</summary>
        public bool IsVolume { get; } = (depth.Points, height.Points, width.Points) == (4, 8, 8);

        public Dct.Axis Depth => depth;
        public Dct.Axis Height => height;
        public Dct.Axis Width => width;
        public int Down { get; } = 16 / height.Points;
        public int Across { get; } = 16 / width.Points;

        readonly Places places = new(16 / height.Points * height.Points, 16 / width.Points * width.Points);

        /// <summary>The places of a tile that hold values.</summary>
        public ref readonly Places Places => ref places;

        public int BlocksPerTile { get; } = Math.Max(1, 16 / height.Points * (16 / width.Points) / depth.Points);
        public int BlockElements { get; } = depth.Points * height.Points * width.Points;
        public int BlocksPerMap { get; } = depth.Count * height.Count * width.Count;
        public long Blocks { get; } = tiles.Shape.Maps * depth.Count * height.Count * width.Count;
        public long FirstTile => firstTile;
        public long Tiles => (Blocks + BlocksPerTile - 1) / BlocksPerTile;

        /// <summary>The blocks along the axis of <see cref="MapRange"/>'s rows.</summary>
        public Dct.Axis Lines => tiles.Shape.Depth > 1 ? depth : height;

        /// <summary>The lines of blocks that hold the rows of a range: the first one, and their number.</summary>
        public (int First, int Count) LinesOf(MapRange range)
        {
            var first = Math.Clamp((range.FirstRow - Lines.Start) / Lines.Points, 0, Lines.Count);
            return (first, Math.Clamp((range.FirstRow + range.Rows - Lines.Start) / Lines.Points, first, Lines.Count) - first);
        }

        /// <summary>
        /// The distance, in values, from a row of a block to the row that is prefetched: the same row of a later map, or of a later line of
        /// blocks.
        /// </summary>
        public int Ahead { get; } = AheadOf(tiles.Shape, height);

        static int AheadOf(MapShape shape, Dct.Axis height)
        {
            var plane = (long)shape.Height * shape.Width;
            var between = plane <= CacheLine.Ahead ? plane : (long)height.Points * shape.Width;
            return between <= CacheLine.Ahead ? (int)(CacheLine.Ahead / between * between) : CacheLine.Ahead;
        }

        /// <summary>The number of values in a tile, without its fill.</summary>
        public int Elements(long tile) => (int)Math.Min(BlocksPerTile, Blocks - (tile - firstTile) * BlocksPerTile) * BlockElements;
    }

    public MapShape Shape { get; }
    public TileTransform Transform { get; }
    public Region[] Regions { get; }

    /// <summary>How maps divide into units under a wavelet; else null.</summary>
    public GridWavelet? Wavelet { get; }

    public long Count { get; }
    public int Chunks => checked((int)(Wavelet is { } wavelet
        ? wavelet.Units * wavelet.ChunksPerUnit
        : (Count + GridChunk.TilesPerChunk - 1) / GridChunk.TilesPerChunk));

    /// <summary>Whether a range of the map can be unpacked without the rest of the map.</summary>
    public bool HaveRanges => Transform != TileTransform.Wavelet;

    /// <summary>Extends a range to whole blocks.</summary>
    public MapRange WholeBlocks(MapRange range)
    {
        if (Regions.Length == 0) return range;
        var block = Regions[0].Lines.Points;
        var (rows, first) = (MapRange.RowsOf(Shape), range.FirstRow / block * block);
        return range with { FirstRow = first, Rows = Math.Min(rows, (range.FirstRow + range.Rows + block - 1) / block * block) - first };
    }

    /// <summary>The number of shares of work: chunks, or units under a wavelet.</summary>
    public int Shares => checked((int)(Wavelet?.Units ?? Chunks));

    /// <summary>How many threads work on one share: see <see cref="GridWavelet.ThreadsEach"/>.</summary>
    public int ThreadsEach(int threads) => Wavelet?.ThreadsEach(threads) ?? 1;

    /// <summary>The number of tiles in a chunk.</summary>
    public int TilesIn(int chunk)
    {
        if (Wavelet is not { } wavelet) return (int)Math.Min(GridChunk.TilesPerChunk, Count - (long)chunk * GridChunk.TilesPerChunk);
        var (unit, part) = Math.DivRem(chunk, wavelet.ChunksPerUnit);
        return Math.Min(GridChunk.TilesPerChunk, wavelet.Tiles(wavelet.Maps(unit)) - part * GridChunk.TilesPerChunk);
    }

    /// <summary>The largest number of bits of zeros in a chunk.</summary>
    public int ZeroBits => Wavelet is { } wavelet
        ? Math.Max(GridChunk.Coefficients, wavelet.MapsPerUnit * wavelet.Elements)
        : GridChunk.Coefficients;

    /// <param name="shape">The maps.</param>
    /// <param name="transform">The transform of each tile.</param>
    /// <param name="edge">The edge of a plane's blocks: 4, 8 or 16.</param>
    public GridTiles(MapShape shape, TileTransform transform, int edge = 16)
    {
        (Shape, Transform) = (shape, transform);
        if (transform == TileTransform.Identity)
        {
            Regions = [];
            Count = (shape.Elements + 255) / 256;
            return;
        }
        var regions = new List<Region>();
        foreach (var (depth, height, width) in Dct.Division(shape, edge))
        {
            regions.Add(new Region(this, depth, height, width, Count));
            Count += regions[^1].Tiles;
        }
        Regions = [.. regions];
    }

    public GridTiles(MapShape shape, Wavelet wavelet)
    {
        (Shape, Transform, Regions) = (shape, TileTransform.Wavelet, []);
        Wavelet = new GridWavelet(wavelet, shape);
        Count = checked(Wavelet.Units * Wavelet.Tiles(Wavelet.MapsPerUnit));
    }

    /// <summary>
    /// The order in which chunks are best worked on; null for the order in which they are stored. Chunks of the same maps follow one
    /// another, whatever their regions, because each region has a part of nearly every cache line.
    /// </summary>
    public int[]? OrderOfWork()
    {
        if (Regions.Length < 2 || Chunks <= Regions.Length) return null;
        var (chunks, maps) = (new int[Chunks], new long[Chunks]);
        for (var i = 0; i < chunks.Length; i++)
        {
            var (tile, region) = ((long)i * GridChunk.TilesPerChunk, RegionOf((long)i * GridChunk.TilesPerChunk)!);
            (chunks[i], maps[i]) = (i, (tile - region.FirstTile) * region.BlocksPerTile / region.BlocksPerMap);
        }
        Array.Sort(maps, chunks);
        return chunks;
    }

    /// <summary>The region of a tile; null where tiles have no transform.</summary>
    public Region? RegionOf(long tile)
    {
        for (var i = Regions.Length - 1; i >= 0; i--)
            if (tile >= Regions[i].FirstTile) return Regions[i];
        return null;
    }

    /// <summary>
    /// The number of places that hold values in the tiles from <paramref name="first"/> up to but not including <paramref name="end"/>.
    /// </summary>
    public int ZeroBitsOf(long first, long end)
    {
        if (Regions.Length == 0) return (int)(256 * (end - first));
        var bits = 0L;
        foreach (var region in Regions)
            bits += Math.Max(0, Math.Min(end, region.FirstTile + region.Tiles) - Math.Max(first, region.FirstTile)) * region.Places.Count;
        return (int)bits;
    }

    /// <summary>The number of values in a tile, without its fill.</summary>
    public int Elements(Region? region, long tile) => region?.Elements(tile) ?? (int)Math.Min(256, Shape.Elements - tile * 256);
}
