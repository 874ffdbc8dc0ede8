using System.Diagnostics;
using Actipress.Codecs;
using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Machine;
using Actipress.Maps;

namespace Actipress.Grid;

unsafe partial class GridMap
{
    // Blocks of one region in one chunk, or neighbours where tiles have no transform.
    readonly record struct Stretch(int Chunk, long FirstTile, long EndTile, long First, long End, nint Map);

    // Rebuilds a range of the map and reads only the chunks that hold the range. The range consists of whole blocks.
    sealed class RangeUnpacking<TFace, TCells>(GridMap packed, GridTiles tiles)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        readonly float least = ExactZeros.Least(TCells.Smallest, packed.Step);
        readonly List<Stretch> stretches = [];

        public void Run(void* to, MapRange range, int threads)
        {
            Debug.Assert(tiles.HaveRanges && tiles.WholeBlocks(range) == range);
            var (shape, start) = (tiles.Shape, (nint)to);
            if (range.IsOfWholeMaps(shape)) Add(range, start - (nint)(range.First * shape.MapElements * TCells.Bytes));
            else
                for (var map = range.First; map < range.First + range.Maps; map++)
                {
                    // The address at which the whole map would begin, if its rows of the range lie in their place.
                    var rows = range with { First = map, Maps = 1 };
                    var before = rows.FirstElement(shape) - (map - range.First) * rows.Elements(shape);
                    Add(rows, start - (nint)(before * TCells.Bytes));
                }
            var work = new CpuTeam.Shares(stretches.Count, threads);
            work.Run(() => Unpack(work));
        }

        // The range is whole maps, or rows of one map: neighbouring values in both cases.
        void Add(MapRange range, nint map)
        {
            if (tiles.Regions.Length == 0)
            {
                var first = range.FirstElement(tiles.Shape);
                var end = first + range.Elements(tiles.Shape);
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
                var chunk = (int)(tile / GridChunk.TilesPerChunk);
                var next = Math.Min(endTile, (chunk + 1L) * GridChunk.TilesPerChunk);
                stretches.Add(new(chunk, tile, next, first, end, map));
                tile = next;
            }
        }

        void Unpack(CpuTeam.Shares work)
        {
            using var chunk = new GridChunkReader(tiles.ZeroBits);
            var magnitudes = new Magnitudes(packed.Step, packed.FirstOffset, packed.OtherOffset);
            foreach (var share in work)
            {
                var stretch = stretches[share];
                var first = (long)stretch.Chunk * GridChunk.TilesPerChunk;
                var last = first + tiles.TilesIn(stretch.Chunk);
                packed.Open(chunk, stretch.Chunk, (int)(last - first), packed.HasZeros ? tiles.ZeroBitsOf(first, last) : 0);
                for (var tile = first; tile < stretch.FirstTile; tile += GridChunk.Batch)
                    chunk.Read<TFace>(chunk.Y, (int)Math.Min(GridChunk.Batch, stretch.FirstTile - tile), &magnitudes);
                if (packed.HasZeros) chunk.SkipZeros(tiles.ZeroBitsOf(first, stretch.FirstTile));
                Unpack(chunk, &magnitudes, stretch);
                if (stretch.EndTile == last) chunk.Close();
            }
        }

        void Unpack(GridChunkReader chunk, Magnitudes* magnitudes, Stretch stretch)
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
