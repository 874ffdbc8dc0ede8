using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Actipress.Codecs;
using Actipress.Maps;

namespace Actipress;

/// <summary>A map in grid storage: a few numbers and its chunks, each in memory of its own.</summary>
sealed unsafe partial class GridMap : IDisposable
{
    readonly nint[] chunks;
    readonly int[] lengths;

    GridMap(int count) => (chunks, lengths) = (new nint[count], new int[count]);

    ~GridMap() => Free();

    /// <summary>Between neighbouring levels.</summary>
    public float Step { get; private init; }

    /// <summary>What level m stands for: (m + offset) Step, with one offset for level 1 and one for all others.</summary>
    public float FirstOffset { get; private init; }

    public float OtherOffset { get; private init; }

    /// <summary>Whether the map's zeros are kept exactly, and everything else is positive.</summary>
    public bool HasZeros { get; private init; }

    /// <summary>What the sample told of the error, as <see cref="GridSample.RelativeError"/>; null where the map was read from bytes.</summary>
    public double? RelativeError { get; private init; }

    public long Bytes
    {
        get
        {
            long bytes = HeaderBytes;
            foreach (var length in lengths) bytes += length + sizeof(int);
            return bytes;
        }
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    void Free()
    {
        for (var i = 0; i < chunks.Length; i++) NativeMemory.Free((void*)Interlocked.Exchange(ref chunks[i], 0));
    }

    /// <summary>The face that runs here.</summary>
    public static string Face => Vector512.IsHardwareAccelerated ? "Vector512" : Vector256.IsHardwareAccelerated ? "Vector256" : Vector128.IsHardwareAccelerated ? "Vector128" : "plain";

    /// <summary>Packs a map.</summary>
    /// <remarks><c>map</c>: its first element; row-major. <c>keep</c>: a ratio or a threshold. <c>exactZeros</c>: whether to keep zeros exactly where there are some and no negatives. <c>limits</c>: beyond which nothing is packed.</remarks>
    /// <returns>Null, and why, where nothing was packed.</returns>
    public static GridMap? Pack(void* map, torch.ScalarType type, GridTiles tiles, Keep keep, bool exactZeros, PackLimits limits, int threads, out LeftRaw why) =>
        Vector512.IsHardwareAccelerated ? Pack<GridLanes<Lanes16>>(map, type, tiles, keep, exactZeros, limits, threads, out why)
        : Vector256.IsHardwareAccelerated ? Pack<GridLanes<Lanes8>>(map, type, tiles, keep, exactZeros, limits, threads, out why)
        : Vector128.IsHardwareAccelerated ? Pack<GridLanes<Lanes4>>(map, type, tiles, keep, exactZeros, limits, threads, out why)
        : Pack<GridDefinition>(map, type, tiles, keep, exactZeros, limits, threads, out why);

    /// <summary>The same with a chosen face.</summary>
    public static GridMap? Pack<TFace>(void* map, torch.ScalarType type, GridTiles tiles, Keep keep, bool exactZeros, PackLimits limits, int threads, out LeftRaw why) where TFace : struct, IGridFace => type switch
    {
        torch.ScalarType.Float32 => Pack<TFace, SingleCells>(map, tiles, keep, exactZeros, limits, threads, out why),
        torch.ScalarType.Float64 => Pack<TFace, DoubleCells>(map, tiles, keep, exactZeros, limits, threads, out why),
        torch.ScalarType.Float16 => Pack<TFace, HalfCells>(map, tiles, keep, exactZeros, limits, threads, out why),
        torch.ScalarType.BFloat16 => Pack<TFace, BFloat16Cells>(map, tiles, keep, exactZeros, limits, threads, out why),
        _ => throw new ArgumentException($"No grid storage of {type}: wanted a floating-point type.", nameof(type)),
    };

    /// <summary>Rebuilds the map, or a range of it, into memory for the elements of either.</summary>
    /// <param name="map">Its first element; row-major.</param>
    /// <param name="type">The map's type.</param>
    /// <param name="tiles">Of the whole map.</param>
    /// <param name="threads">How many may work.</param>
    /// <param name="range">Rows as <see cref="GridTiles.WholeBlocks"/> gives them, of tiles that <see cref="GridTiles.HaveRanges"/>; null for all.</param>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public void Unpack(void* map, torch.ScalarType type, GridTiles tiles, int threads, MapRange? range = null)
    {
        if (Vector512.IsHardwareAccelerated) Unpack<GridLanes<Lanes16>>(map, type, tiles, threads, range);
        else if (Vector256.IsHardwareAccelerated) Unpack<GridLanes<Lanes8>>(map, type, tiles, threads, range);
        else if (Vector128.IsHardwareAccelerated) Unpack<GridLanes<Lanes4>>(map, type, tiles, threads, range);
        else Unpack<GridDefinition>(map, type, tiles, threads, range);
    }

    /// <summary>The same with a chosen face.</summary>
    public void Unpack<TFace>(void* map, torch.ScalarType type, GridTiles tiles, int threads, MapRange? range = null) where TFace : struct, IGridFace
    {
        switch (type)
        {
            case torch.ScalarType.Float32: Unpack<TFace, SingleCells>(map, tiles, threads, range); break;
            case torch.ScalarType.Float64: Unpack<TFace, DoubleCells>(map, tiles, threads, range); break;
            case torch.ScalarType.Float16: Unpack<TFace, HalfCells>(map, tiles, threads, range); break;
            default: Unpack<TFace, BFloat16Cells>(map, tiles, threads, range); break;
        }
    }

    static GridMap? Pack<TFace, TCells>(void* map, GridTiles tiles, Keep keep, bool exactZeros, PackLimits limits, int threads, out LeftRaw why)
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
                // A sample without a zero, or with zeros only of a map that has negatives elsewhere, guessed wrong.
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

    sealed partial class Packing<TFace, TCells>(void* map, GridTiles tiles, GridSample sample, bool withZeros, long limit, int threads) where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        readonly void* map = map;
        readonly int threadsEach = tiles.ThreadsEach(threads);
        readonly CpuTeam.Shares work = new(tiles.Shares, threads / tiles.ThreadsEach(threads));
        readonly int[]? order = tiles.OrderOfWork();
        int outcome, anyZero, anyNegative;
        long bytes = HeaderBytes + sizeof(int) * (long)tiles.Chunks;

        public GridMap Result { get; } = new(tiles.Chunks) { Step = sample.Step, FirstOffset = sample.FirstOffset, OtherOffset = sample.OtherOffset, HasZeros = withZeros, RelativeError = sample.RelativeError };
        public Outcome Outcome => (Outcome)Volatile.Read(ref outcome);
        public bool AnyZero => anyZero != 0;
        public bool AnyNegative => anyNegative != 0;

        public void Run() => work.Run(tiles.Wavelet is not { } wavelet ? PackTiles : wavelet.IsLarge ? () => PackLarge(wavelet) : () => PackUnits(wavelet));

        readonly float inverse = 1 / sample.Step;

        void PackTiles()
        {
            using var chunk = new GridChunk(tiles.ZeroBits);
            var seen = new Seen();
            var positive = stackalloc ulong[4];
            for (int share = 0, end = 0; (share < end || work.Take(out share, out end)) && Outcome == Outcome.Packed; share++)
            {
                var index = order?[share] ?? share;
                var last = Math.Min(tiles.Count, (index + 1L) * GridTiles.TilesPerChunk);
                chunk.Begin();
                var walk = new GridWalk(tiles, (long)index * GridTiles.TilesPerChunk);
                while (walk.Tile < last)
                {
                    var batch = (int)Math.Min(GridChunk.Batch, last - walk.Tile);
                    for (var i = 0; i < batch; i++, walk.Next())
                    {
                        var usable = GridMover<TCells>.Look<TFace>(map, ref walk, chunk.X, out var place, out var stride, positive, ref seen.Negative);
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

        // Small maps, a unit of them a chunk.
        void PackUnits(GridWavelet wavelet)
        {
            using var chunk = new GridChunk(tiles.ZeroBits);
            using var unit = new GridUnit<TFace>(wavelet, TCells.AreFloats, divides: true);
            var seen = new Seen();
            for (int index = 0, end = 0; (index < end || work.Take(out index, out end)) && Outcome == Outcome.Packed; index++)
            {
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

        // Looks at neighbours, keeps their zeros and, where wanted, copies them; false where they are not to be packed.
        bool See(GridChunk chunk, long from, int elements, float* to, ref Seen seen)
        {
            var positive = stackalloc ulong[4];
            for (var at = 0; at < elements; at += 256)
            {
                var count = Math.Min(256, elements - at);
                var usable = GridMover<TCells>.Look<TFace>(map, from + at, count, to == null ? null : to + at, chunk.X, positive, ref seen.Negative);
                if (!Accept(usable, positive, count, ref seen)) return false;
                if (!withZeros) continue;
                if (count == 256) chunk.WriteZeros(positive);
                else chunk.WriteZeros(positive, new GridTiles.Places(count));
            }
            return Usable(seen);
        }

        struct Seen
        {
            public bool Zero, Negative;
        }

        // Whether values may be packed, of which up to 256 were looked at.
        bool Accept(bool usable, ulong* positive, int elements, ref Seen seen)
        {
            if (!usable)
            {
                Volatile.Write(ref outcome, (int)Outcome.NotFinite);
                return false;
            }
            if (!withZeros && !seen.Zero && !seen.Negative) seen.Zero = Bits.Count(positive) < elements;
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
            if (Interlocked.Add(ref bytes, length) >= limit) Interlocked.CompareExchange(ref outcome, (int)Outcome.TooLarge, (int)Outcome.Packed);
        }

        void Report(Seen seen)
        {
            if (seen.Zero) Volatile.Write(ref anyZero, 1);
            if (seen.Negative) Volatile.Write(ref anyNegative, 1);
        }
    }

    void Unpack<TFace, TCells>(void* map, GridTiles tiles, int threads, MapRange? range) where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        if (range is { } part) new RangeUnpacking<TFace, TCells>(this, tiles).Run(map, part, threads);
        else new Unpacking<TFace, TCells>(this, map, tiles, threads).Run();
    }

    sealed partial class Unpacking<TFace, TCells>(GridMap packed, void* map, GridTiles tiles, int threads) where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        readonly void* map = map;
        readonly int threadsEach = tiles.ThreadsEach(threads);
        readonly CpuTeam.Shares work = new(tiles.Shares, threads / tiles.ThreadsEach(threads));
        readonly int[]? order = tiles.OrderOfWork();
        readonly float least = ExactZeros.Least(TCells.Smallest, packed.Step);

        public void Run() => work.Run(tiles.Wavelet is not { } wavelet ? UnpackTiles : wavelet.IsLarge ? () => UnpackLarge(wavelet) : () => UnpackUnits(wavelet));

        void UnpackTiles()
        {
            using var chunk = new GridChunkReader(tiles.ZeroBits);
            var positive = stackalloc ulong[4];
            var magnitudes = new GridMagnitudes(packed.Step, packed.FirstOffset, packed.OtherOffset);
            for (int share = 0, end = 0; share < end || work.Take(out share, out end); share++)
            {
                var index = order?[share] ?? share;
                var first = (long)index * GridTiles.TilesPerChunk;
                var last = Math.Min(tiles.Count, first + GridTiles.TilesPerChunk);
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
            var magnitudes = new GridMagnitudes(packed.Step, packed.FirstOffset, packed.OtherOffset);
            for (int index = 0, end = 0; index < end || work.Take(out index, out end); index++)
            {
                var maps = wavelet.Maps(index);
                var last = wavelet.Tiles(maps);
                packed.Open(chunk, index, last, packed.HasZeros ? maps * wavelet.Elements : 0);
                for (var tile = 0; tile < last; tile += GridChunk.Batch) chunk.Read<TFace>(unit.Coefficients + 256L * tile, Math.Min(GridChunk.Batch, last - tile), &magnitudes);
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

        // Sets neighbours' zeros, where these are kept, and puts what does not lie in the map there.
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

    /// <summary>How many chunks there are.</summary>
    internal int ChunkCount => chunks.Length;

    /// <summary>The bytes of a chunk.</summary>
    internal Span<byte> Chunk(int chunk) => new((void*)chunks[chunk], lengths[chunk]);

    /// <summary>Starts to read a chunk.</summary>
    internal void Open(GridChunkReader reader, int chunk, int tiles, int zeroBits) => reader.Open((byte*)chunks[chunk], lengths[chunk], tiles, zeroBits);

    // Of a unit, from its first chunk, whose length was checked.
    UnitZeros ZerosOf(int chunk, GridTiles tiles) => new((byte*)chunks[chunk] + sizeof(int) + GridChunk.GroupBytes * tiles.TilesIn(chunk), (byte*)chunks[chunk] + lengths[chunk]);

    readonly struct UnitZeros(byte* bits, byte* end)
    {
        // Which of 256 neighbours, of which `at` is the first, are not zero. Beyond the last one anything may come.
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
            for (var word = 0; word < 4; word++, from += sizeof(ulong)) positive[word] = *(ulong*)from >> shift | (ulong)from[sizeof(ulong)] << 1 << 63 - shift;
        }
    }

    internal const int HeaderBytes = 3 * sizeof(float) + 1;

    /// <summary>Step, offsets, whether there are zeros, the chunks' lengths, and the chunks.</summary>
    public void Write(BinaryWriter writer)
    {
        writer.Write(Step);
        writer.Write(FirstOffset);
        writer.Write(OtherOffset);
        writer.Write(HasZeros);
        foreach (var length in lengths) writer.Write(length);
        for (var i = 0; i < chunks.Length; i++) writer.Write(Chunk(i));
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <exception cref="InvalidDataException">The bytes do not add up to a map of these tiles.</exception>
    public static GridMap Read(ReadOnlySpan<byte> bytes, GridTiles tiles)
    {
        if (bytes.Length < HeaderBytes) throw Damaged($"a header of {HeaderBytes} bytes");
        var numbers = MemoryMarshal.Cast<byte, float>(bytes[..12].ToArray());
        if (!(numbers[0] is > 0 and <= float.MaxValue && Math.Abs(numbers[1]) <= 2 && Math.Abs(numbers[2]) <= 2)) throw Damaged("a step above zero and offsets near it");
        if (bytes[12] > 1) throw Damaged("a flag of 0 or 1");
        var hasZeros = bytes[12] != 0;
        bytes = bytes[HeaderBytes..];
        if (bytes.Length / sizeof(int) < tiles.Chunks) throw Damaged($"the lengths of {tiles.Chunks} chunks");
        long total = 0;
        for (var i = 0; i < tiles.Chunks; i++)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(bytes[(i * sizeof(int))..]);
            var least = sizeof(int) * (1 + tiles.TilesIn(i));
            if (length < least) throw Damaged($"chunk {i} of at least {least} bytes, found {length}");
            total += length;
        }
        if (total != bytes.Length - (long)tiles.Chunks * sizeof(int)) throw Damaged($"{total} bytes of chunks, found {bytes.Length - (long)tiles.Chunks * sizeof(int)}");
        var read = new GridMap(tiles.Chunks) { Step = numbers[0], FirstOffset = numbers[1], OtherOffset = numbers[2], HasZeros = hasZeros };
        var at = tiles.Chunks * sizeof(int);
        for (var i = 0; i < tiles.Chunks; i++)
        {
            read.lengths[i] = BinaryPrimitives.ReadInt32LittleEndian(bytes[(i * sizeof(int))..]);
            read.chunks[i] = (nint)NativeMemory.Alloc((nuint)read.lengths[i]);
            bytes.Slice(at, read.lengths[i]).CopyTo(new Span<byte>((void*)read.chunks[i], read.lengths[i]));
            at += read.lengths[i];
        }
        return read;
    }

    static InvalidDataException Damaged(string wanted) => new($"Damaged bytes in a map stored as 'grid': wanted {wanted}. Pack the map again.");
}
