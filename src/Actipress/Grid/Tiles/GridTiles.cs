using Actipress.Grid.Bits;
using Actipress.Grid.Wavelets;
using Actipress.Machine;
using Actipress.Maps;

namespace Actipress.Grid.Tiles;

/// <summary>What a tile's 256 values go through.</summary>
enum TileTransform : byte
{
    Identity,
    Cosine,

    /// <summary>None: they hold the coefficients of whole maps.</summary>
    Wavelet,
}

/// <summary>
/// How a map divides into tiles of 16 x 16 values. Along each axis blocks have 16, 8 or 4 points (a quarter, half and half of that in a
/// volume) and the last may be shorter. Small blocks share a tile: floor(16 / rows) times floor(16 / columns) slots of one plane block each, filled block after
/// block, row-major; a block of a volume takes as many slots in turn as it has slices. Unfilled places are zero. A tile of plain
/// values is 256 neighbours in memory.
/// </summary>
sealed class GridTiles
{
    /// <param name="Start">Where the first block starts.</param>
    /// <param name="Count">Blocks.</param>
    /// <param name="Points">Points of each.</param>
    public readonly record struct Axis(int Start, int Count, int Points);

    static readonly Places everywhere = new(16, 16);

    /// <summary>The places that hold values in a tile of a region, or of plain values.</summary>
    public static ref readonly Places PlacesOf(Region? region) => ref region is null ? ref everywhere : ref region.Places;

    /// <summary>The tiles of one kind of blocks.</summary>
    public sealed class Region(GridTiles tiles, Axis depth, Axis height, Axis width, long firstTile)
    {
        /// <summary>Whether a tile is one block of 4 x 8 x 8.</summary>
        public bool IsVolume { get; } = (depth.Points, height.Points, width.Points) == (4, 8, 8);

        public Axis Depth => depth;
        public Axis Height => height;
        public Axis Width => width;
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

        /// <summary>Blocks along the axis of <see cref="MapRange"/>'s rows.</summary>
        public Axis Lines => tiles.Shape.Depth > 1 ? depth : height;

        /// <summary>The lines of blocks that hold the rows of a range: the first, and how many.</summary>
        public (int First, int Count) LinesOf(MapRange range)
        {
            var first = Math.Clamp((range.FirstRow - Lines.Start) / Lines.Points, 0, Lines.Count);
            return (first, Math.Clamp((range.FirstRow + range.Rows - Lines.Start) / Lines.Points, first, Lines.Count) - first);
        }

        /// <summary>Values from a row of a block to one that is needed soon: the same row of a later map or of a later line of blocks.</summary>
        public int Ahead { get; } = AheadOf(tiles.Shape, height);

        static int AheadOf(MapShape shape, Axis height)
        {
            var plane = (long)shape.Height * shape.Width;
            var between = plane <= CacheLine.Ahead ? plane : (long)height.Points * shape.Width;
            return between <= CacheLine.Ahead ? (int)(CacheLine.Ahead / between * between) : CacheLine.Ahead;
        }

        /// <summary>Values, not fill, in one tile.</summary>
        public int Elements(long tile) => (int)Math.Min(BlocksPerTile, Blocks - (tile - firstTile) * BlocksPerTile) * BlockElements;
    }

    public MapShape Shape { get; }
    public TileTransform Transform { get; }
    public Region[] Regions { get; }

    /// <summary>How maps divide into units, where their coefficients fill the tiles.</summary>
    public GridWavelet? Wavelet { get; }

    public long Count { get; }
    public int Chunks => checked((int)(Wavelet is { } wavelet ? wavelet.Units * wavelet.ChunksPerUnit : (Count + GridChunk.TilesPerChunk - 1) / GridChunk.TilesPerChunk));

    /// <summary>Whether a range of the map can be read without the rest.</summary>
    public bool HaveRanges => Transform != TileTransform.Wavelet;

    /// <summary>A range with all rows of the blocks in which its rows lie.</summary>
    public MapRange WholeBlocks(MapRange range)
    {
        if (Regions.Length == 0) return range;
        var block = Regions[0].Lines.Points;
        var (rows, first) = (MapRange.RowsOf(Shape), range.FirstRow / block * block);
        return range with { FirstRow = first, Rows = Math.Min(rows, (range.FirstRow + range.Rows + block - 1) / block * block) - first };
    }

    /// <summary>What threads take at a time: chunks, or units.</summary>
    public int Shares => checked((int)(Wavelet?.Units ?? Chunks));

    /// <summary>How many of some threads work on one of those: see <see cref="GridWavelet.ThreadsEach"/>.</summary>
    public int ThreadsEach(int threads) => Wavelet?.ThreadsEach(threads) ?? 1;

    /// <summary>Tiles of one chunk.</summary>
    public int TilesIn(int chunk)
    {
        if (Wavelet is not { } wavelet) return (int)Math.Min(GridChunk.TilesPerChunk, Count - (long)chunk * GridChunk.TilesPerChunk);
        var (unit, part) = Math.DivRem(chunk, wavelet.ChunksPerUnit);
        return Math.Min(GridChunk.TilesPerChunk, wavelet.Tiles(wavelet.Maps(unit)) - part * GridChunk.TilesPerChunk);
    }

    /// <summary>The largest number of bits of zeros in one chunk.</summary>
    public int ZeroBits => Wavelet is { } wavelet ? Math.Max(GridChunk.Coefficients, wavelet.MapsPerUnit * wavelet.Elements) : GridChunk.Coefficients;

    /// <param name="shape">The maps.</param>
    /// <param name="transform">What each tile goes through.</param>
    /// <param name="edge">Of a plane's blocks: 4, 8 or 16.</param>
    public GridTiles(MapShape shape, TileTransform transform, int edge = 16)
    {
        (Shape, Transform) = (shape, transform);
        if (transform == TileTransform.Identity)
        {
            Regions = [];
            Count = (shape.Elements + 255) / 256;
            return;
        }
        var (depth, height, width) = shape.SpatialRank == 3 ? (edge / 4, edge / 2, edge / 2) : (1, edge, edge);
        var regions = new List<Region>();
        foreach (var d in Parts(shape.Depth, depth))
            foreach (var h in Parts(shape.Height, height))
                foreach (var w in Parts(shape.Width, width))
                {
                    regions.Add(new Region(this, d, h, w, Count));
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
    /// Chunks as they are best worked on: those of the same maps one after the other, whatever their regions, since each region has a
    /// part of nearly every line of cache. Null for the order in which they are stored.
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

    static IEnumerable<Axis> Parts(int length, int block)
    {
        if (length >= block) yield return new Axis(0, length / block, block);
        if (length % block > 0) yield return new Axis(length - length % block, 1, length % block);
    }

    /// <summary>The region of a tile; none where tiles are plain values.</summary>
    public Region? RegionOf(long tile)
    {
        for (var i = Regions.Length - 1; i >= 0; i--)
            if (tile >= Regions[i].FirstTile) return Regions[i];
        return null;
    }

    /// <summary>Places that hold values in some tiles.</summary>
    public int ZeroBitsOf(long first, long end)
    {
        if (Regions.Length == 0) return (int)(256 * (end - first));
        var bits = 0L;
        foreach (var region in Regions) bits += Math.Max(0, Math.Min(end, region.FirstTile + region.Tiles) - Math.Max(first, region.FirstTile)) * region.Places.Count;
        return (int)bits;
    }

    /// <summary>Values, not fill, in a tile.</summary>
    public int Elements(Region? region, long tile) => region?.Elements(tile) ?? (int)Math.Min(256, Shape.Elements - tile * 256);
}
