using System.Diagnostics;
using System.Runtime.Intrinsics;

namespace Actipress;

unsafe partial class GridMap
{
    /// <summary>Rebuilds a range of the map, and reads no more chunks than those in which it lies.</summary>
    /// <param name="to">Room for the range, row-major.</param>
    /// <param name="type">The map's type.</param>
    /// <param name="tiles">Of the map, each with blocks of its own: <see cref="GridTiles.HaveRanges"/>.</param>
    /// <param name="range">Rows as <see cref="GridTiles.WholeBlocks"/> gives them.</param>
    /// <param name="threads">How many may work.</param>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public void Unpack(void* to, torch.ScalarType type, GridTiles tiles, MapRange range, int threads)
    {
        if (Vector512.IsHardwareAccelerated) Unpack<GridLanes<Lanes16>>(to, type, tiles, range, threads);
        else if (Vector256.IsHardwareAccelerated) Unpack<GridLanes<Lanes8>>(to, type, tiles, range, threads);
        else if (Vector128.IsHardwareAccelerated) Unpack<GridLanes<Lanes4>>(to, type, tiles, range, threads);
        else Unpack<GridDefinition>(to, type, tiles, range, threads);
    }

    void Unpack<TFace>(void* to, torch.ScalarType type, GridTiles tiles, MapRange range, int threads) where TFace : struct, IGridFace
    {
        switch (type)
        {
            case torch.ScalarType.Float32: new RangeUnpacking<TFace, SingleCells>(this, tiles).Run(to, range, threads); break;
            case torch.ScalarType.Float64: new RangeUnpacking<TFace, DoubleCells>(this, tiles).Run(to, range, threads); break;
            case torch.ScalarType.Float16: new RangeUnpacking<TFace, HalfCells>(this, tiles).Run(to, range, threads); break;
            default: new RangeUnpacking<TFace, BFloat16Cells>(this, tiles).Run(to, range, threads); break;
        }
    }

    // Blocks of one region in one chunk, or neighbours where tiles are plain values.
    readonly record struct Stretch(int Chunk, long FirstTile, long EndTile, long First, long End, nint Map);

    sealed class RangeUnpacking<TFace, TCells>(GridMap packed, GridTiles tiles) where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        readonly float least = Grid.Least(TCells.Smallest, packed.Step);
        readonly List<Stretch> stretches = [];

        public void Run(void* to, MapRange range, int threads)
        {
            Debug.Assert(tiles.HaveRanges && tiles.WholeBlocks(range) == range);
            var (shape, start) = (tiles.Shape, (nint)to);
            var row = MapRange.RowElements(shape);
            if (range.IsOfWholeMaps(shape)) Add(range, start - (nint)(range.First * shape.MapElements * TCells.Bytes));
            else
                for (var map = range.First; map < range.First + range.Maps; map++)
                {
                    // Where the whole map would begin, of which the rows lie in the range.
                    var before = map * shape.MapElements + range.FirstRow * row - (map - range.First) * range.Rows * row;
                    Add(range with { First = map, Maps = 1 }, start - (nint)(before * TCells.Bytes));
                }
            var work = new CpuTeam.Shares(stretches.Count, threads);
            work.Run(() => Unpack(work));
        }

        void Add(MapRange range, nint map)
        {
            if (tiles.Regions.Length == 0)
            {
                var (shape, row) = (tiles.Shape, MapRange.RowElements(tiles.Shape));
                var first = range.First * shape.MapElements + range.FirstRow * row;
                var end = range.IsOfWholeMaps(shape) ? first + range.Elements(shape) : first + range.Rows * row;
                Add(first / 256, (end + 255) / 256, first, end, map);
                return;
            }
            foreach (var region in tiles.Regions)
            {
                var (line, lines) = region.LinesOf(range);
                if (lines == 0) continue;
                var perLine = region.BlocksPerMap / region.Lines.Count;
                var first = range.First * region.BlocksPerMap + (long)line * perLine;
                var end = lines == region.Lines.Count ? first + range.Maps * region.BlocksPerMap : first + (long)lines * perLine;
                var each = region.BlocksPerTile;
                Add(region.FirstTile + first / each, region.FirstTile + (end + each - 1) / each, first, end, map);
            }
        }

        void Add(long firstTile, long endTile, long first, long end, nint map)
        {
            for (var tile = firstTile; tile < endTile;)
            {
                var chunk = (int)(tile / GridTiles.TilesPerChunk);
                var next = Math.Min(endTile, (chunk + 1L) * GridTiles.TilesPerChunk);
                stretches.Add(new(chunk, tile, next, first, end, map));
                tile = next;
            }
        }

        void Unpack(CpuTeam.Shares work)
        {
            using var chunk = new GridChunkReader(tiles.ZeroBits);
            var magnitudes = new GridMagnitudes(packed.Step, packed.FirstOffset, packed.OtherOffset);
            for (int share = 0, end = 0; share < end || work.Take(out share, out end); share++)
            {
                var stretch = stretches[share];
                var first = (long)stretch.Chunk * GridTiles.TilesPerChunk;
                var last = first + tiles.TilesIn(stretch.Chunk);
                packed.Open(chunk, stretch.Chunk, (int)(last - first), packed.HasZeros ? tiles.ZeroBitsOf(first, last) : 0);
                for (var tile = first; tile < stretch.FirstTile; tile += GridChunk.Batch)
                    chunk.Read<TFace>(chunk.Y, (int)Math.Min(GridChunk.Batch, stretch.FirstTile - tile), &magnitudes);
                if (packed.HasZeros) chunk.SkipZeros(tiles.ZeroBitsOf(first, stretch.FirstTile));
                Unpack(chunk, &magnitudes, stretch);
                if (stretch.EndTile == last) chunk.Close();
            }
        }

        void Unpack(GridChunkReader chunk, GridMagnitudes* magnitudes, Stretch stretch)
        {
            var positive = stackalloc ulong[4];
            var walk = new GridWalk(tiles, stretch.FirstTile);
            while (walk.Tile < stretch.EndTile)
            {
                var batch = (int)Math.Min(GridChunk.Batch, stretch.EndTile - walk.Tile);
                var groups = chunk.Read<TFace>(chunk.Y, batch, magnitudes);
                for (var i = 0; i < batch; i++, walk.Next())
                {
                    TFace.Inverse(chunk.Y + 256 * i, chunk.X, tiles.Transform, walk.Region, groups[i]);
                    if (packed.HasZeros)
                    {
                        chunk.ReadZeros(positive, GridTiles.PlacesOf(walk.Region));
                        TFace.Restore(chunk.X, positive, least, chunk.X, 16);
                    }
                    var (from, count) = walk.Items;
                    var (first, end) = ((int)Math.Max(0, stretch.First - from), (int)Math.Min(count, stretch.End - from));
                    if (first == 0 && end == count) GridMover<TCells>.Scatter(ref walk, chunk.X, (void*)stretch.Map);
                    else GridMover<TCells>.Scatter(ref walk, chunk.X, (void*)stretch.Map, first, end);
                }
            }
        }
    }
}
