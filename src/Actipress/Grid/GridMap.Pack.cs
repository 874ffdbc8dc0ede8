using Actipress.Codecs;
using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;
using Actipress.Machine;
using Actipress.Selection;

namespace Actipress.Grid;

unsafe partial class GridMap
{
    static GridMap? Pack<TFace, TCells>(
        void* map, GridTiles tiles, Keep keep, bool exactZeros, PackLimits limits, int threads, out LeftRaw why)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var sample = GridSample.Of<TFace, TCells>(map, tiles, keep, threads);
        why = LeftRaw.NotFinite;
        if (!sample.Finite) return null;
        why = LeftRaw.LittleGathered;
        if (sample.RelativeError > limits.Error) return null;
        var withZeros = exactZeros && sample.AnyZero && !sample.AnyNegative;
        while (true)
        {
            var packing = new Packing<TFace, TCells>(map, tiles, sample, withZeros, limits.Bytes, threads);
            packing.Run();
            if (packing.Outcome == Outcome.Packed)
            {
                // The sample had no zero, or the map has zeros and negatives: the guess from the sample was wrong.
                if (!withZeros && exactZeros && packing.AnyZero && !packing.AnyNegative)
                {
                    packing.Result.Dispose();
                    withZeros = true;
                    continue;
                }
                why = LeftRaw.No;
                return packing.Result;
            }
            packing.Result.Dispose();
            if (packing.Outcome == Outcome.Negative)
            {
                withZeros = false;
                continue;
            }
            why = packing.Outcome == Outcome.NotFinite ? LeftRaw.NotFinite : LeftRaw.NotSmaller;
            return null;
        }
    }

    enum Outcome
    {
        Packed,
        NotFinite,
        Negative,
        TooLarge,
    }

    sealed partial class Packing<TFace, TCells>(void* map, GridTiles tiles, GridSample sample, bool withZeros, long limit, int threads)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        readonly void* map = map;
        readonly int threadsEach = tiles.ThreadsEach(threads);
        readonly CpuTeam.Shares work = new(tiles.Shares, threads / tiles.ThreadsEach(threads));
        readonly int[]? order = tiles.OrderOfWork();
        int outcome, anyZero, anyNegative;
        long bytes = HeaderBytes + sizeof(int) * (long)tiles.Chunks;

        public GridMap Result { get; } = new(tiles.Chunks)
        {
            Step = sample.Step,
            FirstOffset = sample.FirstOffset,
            OtherOffset = sample.OtherOffset,
            HasZeros = withZeros,
            RelativeError = sample.RelativeError,
        };

        public Outcome Outcome => (Outcome)Volatile.Read(ref outcome);
        public bool AnyZero => anyZero != 0;
        public bool AnyNegative => anyNegative != 0;

        public void Run() =>
            work.Run(tiles.Wavelet is not { } wavelet ? PackTiles : wavelet.IsLarge ? () => PackLarge(wavelet) : () => PackUnits(wavelet));

        readonly float inverse = 1 / sample.Step;

        void PackTiles()
        {
            using var chunk = new GridChunk(tiles.ZeroBits);
            var seen = new Seen();
            var positive = stackalloc ulong[4];
            foreach (var share in work)
            {
                if (Outcome != Outcome.Packed) break;
                var index = order?[share] ?? share;
                var last = Math.Min(tiles.Count, (index + 1L) * GridChunk.TilesPerChunk);
                chunk.Begin();
                var walk = new GridWalk(tiles, (long)index * GridChunk.TilesPerChunk);
                while (walk.Tile < last)
                {
                    var batch = (int)Math.Min(GridChunk.Batch, last - walk.Tile);
                    for (var i = 0; i < batch; i++, walk.Next())
                    {
                        var usable = GridMover<TCells>.Look<TFace>(
                            map, ref walk, chunk.X, out var place, out var stride, positive, ref seen.Negative);
                        if (!Accept(usable, positive, walk.Elements, ref seen)) return;
                        if (withZeros) chunk.WriteZeros(positive, GridTiles.PlacesOf(walk.Region));
                        TFace.Forward(place, stride, chunk.X, chunk.Y + 256 * i, tiles.Transform, walk.Region);
                    }
                    if (!Usable(seen)) return;
                    chunk.Write<TFace>(chunk.Y, batch, inverse);
                }
                Finish(chunk, index);
            }
            Report(seen);
        }

        // Each unit of small maps is one chunk.
        void PackUnits(GridWavelet wavelet)
        {
            using var chunk = new GridChunk(tiles.ZeroBits);
            using var unit = new GridUnit<TFace>(wavelet, TCells.AreFloats, divides: true);
            var seen = new Seen();
            foreach (var index in work)
            {
                if (Outcome != Outcome.Packed) break;
                var (first, maps) = ((long)index * wavelet.MapsPerUnit, wavelet.Maps(index));
                chunk.Begin();
                for (var start = 0; start < maps; start += wavelet.Together)
                {
                    var together = Math.Min(wavelet.Together, maps - start);
                    var (elements, from) = (together * wavelet.Elements, (first + start) * wavelet.Elements);
                    if (!See(chunk, from, elements, TCells.AreFloats ? null : unit.Values, ref seen)) return;
                    unit.Forward(TCells.AreFloats ? (float*)map + from : unit.Values, start, together, maps);
                }
                unit.Fill(maps);
                for (int tile = 0, last = wavelet.Tiles(maps); tile < last; tile += GridChunk.Batch)
                    chunk.Write<TFace>(unit.Coefficients + 256L * tile, Math.Min(GridChunk.Batch, last - tile), inverse);
                Finish(chunk, index);
            }
            Report(seen);
        }

        // Examines neighbours, writes their zeros, and copies them unless `to` is null; false where the map cannot be packed so.
        bool See(GridChunk chunk, long from, int elements, float* to, ref Seen seen)
        {
            var positive = stackalloc ulong[4];
            for (var at = 0; at < elements; at += 256)
            {
                var count = Math.Min(256, elements - at);
                var usable = GridMover<TCells>.Look<TFace>(
                    map, from + at, count, to == null ? null : to + at, chunk.X, positive, ref seen.Negative);
                if (!Accept(usable, positive, count, ref seen)) return false;
                if (!withZeros) continue;
                if (count == 256) chunk.WriteZeros(positive);
                else chunk.WriteZeros(positive, new Places(count));
            }
            return Usable(seen);
        }

        struct Seen
        {
            public bool Zero, Negative;
        }

        // Records what up to 256 values hold; false where they cannot be packed.
        bool Accept(bool usable, ulong* positive, int elements, ref Seen seen)
        {
            if (!usable)
            {
                Volatile.Write(ref outcome, (int)Outcome.NotFinite);
                return false;
            }
            if (!withZeros && !seen.Zero && !seen.Negative) seen.Zero = WordBits.Count(positive) < elements;
            return true;
        }

        bool Usable(Seen seen)
        {
            if (!withZeros || !seen.Negative) return true;
            Interlocked.CompareExchange(ref outcome, (int)Outcome.Negative, (int)Outcome.Packed);
            return false;
        }

        void Finish(GridChunk chunk, int index) => Store(index, chunk.Finish(out var length), length);

        void Store(int index, byte* chunk, int length)
        {
            (Result.chunks[index], Result.lengths[index]) = ((nint)chunk, length);
            if (Interlocked.Add(ref bytes, length) >= limit)
                Interlocked.CompareExchange(ref outcome, (int)Outcome.TooLarge, (int)Outcome.Packed);
        }

        void Report(Seen seen)
        {
            if (seen.Zero) Volatile.Write(ref anyZero, 1);
            if (seen.Negative) Volatile.Write(ref anyNegative, 1);
        }
    }
}
