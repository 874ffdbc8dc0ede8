using System.Runtime.CompilerServices;
using Actipress.Codecs;
using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;
using Actipress.Machine;
using Actipress.Maps;

namespace Actipress.Grid;

unsafe partial class GridMap
{
    void Unpack<TFace, TCells>(void* map, GridTiles tiles, int threads, MapRange? range)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        if (range is { } part) new RangeUnpacking<TFace, TCells>(this, tiles).Run(map, part, threads);
        else new Unpacking<TFace, TCells>(this, map, tiles, threads).Run();
    }

    sealed partial class Unpacking<TFace, TCells>(GridMap packed, void* map, GridTiles tiles, int threads)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        readonly void* map = map;
        readonly int threadsEach = tiles.ThreadsEach(threads);
        readonly CpuTeam.Shares work = new(tiles.Shares, threads / tiles.ThreadsEach(threads));
        readonly int[]? order = tiles.OrderOfWork();
        readonly float least = ExactZeros.Least(TCells.Smallest, packed.Step);

        public void Run() => work.Run(
            tiles.Wavelet is not { } wavelet ? UnpackTiles : wavelet.IsLarge ? () => UnpackLarge(wavelet) : () => UnpackUnits(wavelet));

        void UnpackTiles()
        {
            using var chunk = new GridChunkReader(tiles.ZeroBits);
            var positive = stackalloc ulong[4];
            var magnitudes = new Magnitudes(packed.Step, packed.FirstOffset, packed.OtherOffset);
            foreach (var share in work)
            {
                var index = order?[share] ?? share;
                var first = (long)index * GridChunk.TilesPerChunk;
                var last = Math.Min(tiles.Count, first + GridChunk.TilesPerChunk);
                packed.Open(chunk, index, (int)(last - first), packed.HasZeros ? tiles.ZeroBitsOf(first, last) : 0);
                var walk = new GridWalk(tiles, first);
                while (walk.Tile < last)
                {
                    var batch = (int)Math.Min(GridChunk.Batch, last - walk.Tile);
                    var groups = chunk.Read<TFace>(chunk.Y, batch, &magnitudes);
                    for (var i = 0; i < batch; i++, walk.Next())
                    {
                        TFace.Inverse(chunk.Y + 256 * i, chunk.X, tiles.Transform, walk.Region, groups[i]);
                        if (packed.HasZeros)
                        {
                            chunk.ReadZeros(positive, GridTiles.PlacesOf(walk.Region));
                            var place = GridMover<TCells>.InPlace(ref walk, map, out var stride);
                            TFace.Restore(chunk.X, positive, least, place == null ? chunk.X : place, stride);
                            if (place != null) continue;
                        }
                        GridMover<TCells>.Scatter(ref walk, chunk.X, map);
                    }
                }
                chunk.Close();
            }
        }

        void UnpackUnits(GridWavelet wavelet)
        {
            using var chunk = new GridChunkReader(0);
            using var unit = new GridUnit<TFace>(wavelet, TCells.AreFloats);
            var magnitudes = new Magnitudes(packed.Step, packed.FirstOffset, packed.OtherOffset);
            foreach (var index in work)
            {
                var maps = wavelet.Maps(index);
                var last = wavelet.Tiles(maps);
                packed.Open(chunk, index, last, packed.HasZeros ? maps * wavelet.Elements : 0);
                for (var tile = 0; tile < last; tile += GridChunk.Batch)
                    chunk.Read<TFace>(unit.Coefficients + 256L * tile, Math.Min(GridChunk.Batch, last - tile), &magnitudes);
                chunk.Close();
                for (var start = 0; start < maps; start += wavelet.Together)
                {
                    var together = Math.Min(wavelet.Together, maps - start);
                    var first = (long)start * wavelet.Elements;
                    var values = TCells.AreFloats ? (float*)map + index * wavelet.UnitElements + first : unit.Values;
                    unit.Inverse(values, start, together, maps);
                    Put(wavelet, index, first, together * wavelet.Elements, values);
                }
            }
        }

        // Restores the zeros of neighbours, and stores the values in the map unless they lie there already.
        void Put(GridWavelet wavelet, long unit, long start, int elements, float* values)
        {
            if (packed.HasZeros)
            {
                var zeros = packed.ZerosOf(checked((int)(unit * wavelet.ChunksPerUnit)), tiles);
                var positive = stackalloc ulong[4];
                var tile = stackalloc float[256];
                for (var at = 0; at < elements; at += 256)
                {
                    var count = Math.Min(256, elements - at);
                    var place = count < 256 ? tile : values + at;
                    zeros.Read(start + at, positive);
                    if (count < 256) GridUnit<TFace>.Copy(values + at, tile, count);
                    TFace.Restore(place, positive, least, place, 16);
                    if (count < 256) GridUnit<TFace>.Copy(tile, values + at, count);
                }
            }
            if (!TCells.AreFloats) GridMover<TCells>.Store(values, map, unit * wavelet.UnitElements + start, elements);
        }
    }

    // The zeros of a unit lie in its first chunk, whose length was checked.
    UnitZeros ZerosOf(int chunk, GridTiles tiles) =>
        new((byte*)chunks[chunk] + sizeof(int) + GridChunk.GroupBytes * tiles.TilesIn(chunk), (byte*)chunks[chunk] + lengths[chunk]);

    readonly struct UnitZeros(byte* bits, byte* end)
    {
        // Reads which of the 256 neighbours from `at` on are not zero. Bits beyond the last value are arbitrary.
        public void Read(long at, ulong* positive)
        {
            const int Bytes = 4 * sizeof(ulong) + 1;
            var bytes = stackalloc byte[Bytes];
            var from = bits + at / 8;
            if (end - from < Bytes)
            {
                Unsafe.CopyBlockUnaligned(bytes, from, (uint)(end - from));
                from = bytes;
            }
            var shift = (int)(at & 7);
            for (var word = 0; word < 4; word++, from += sizeof(ulong))
                positive[word] = *(ulong*)from >> shift | (ulong)from[sizeof(ulong)] << 1 << 63 - shift;
        }
    }
}
