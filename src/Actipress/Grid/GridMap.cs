using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Actipress.Codecs;
using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Machine;
using Actipress.Maps;
using Actipress.Selection;

namespace Actipress.Grid;

/// <summary>A map in grid storage: a few numbers and its chunks, each in memory of its own.</summary>
sealed unsafe partial class GridMap : IDisposable
{
    readonly nint[] chunks;
    readonly int[] lengths;

    GridMap(int count) => (chunks, lengths) = (new nint[count], new int[count]);

    ~GridMap() => Free();

    /// <summary>The distance of neighbouring levels.</summary>
    public float Step { get; private init; }

    /// <summary>Level m is decoded as (m + offset) Step. This is the offset of level 1.</summary>
    public float FirstOffset { get; private init; }

    public float OtherOffset { get; private init; }

    /// <summary>Whether the map's zeros are kept exactly; everything else is positive then.</summary>
    public bool HasZeros { get; private init; }

    /// <summary>The error of the sample, <see cref="GridSample.RelativeError"/>; null where the map was read from bytes.</summary>
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
        for (var i = 0; i < chunks.Length; i++) CodecMemory.Free((void*)Interlocked.Exchange(ref chunks[i], 0), lengths[i]);
    }

    /// <summary>Packs a map.</summary>
    /// <param name="map">The first element of the map; row-major.</param>
    /// <param name="type">The map's type.</param>
    /// <param name="tiles">How the map divides.</param>
    /// <param name="keep">A ratio or a threshold.</param>
    /// <param name="exactZeros">Whether to keep zeros exactly where there are some and no negatives.</param>
    /// <param name="limits">Limits beyond which nothing is packed.</param>
    /// <param name="threads">How many threads may work.</param>
    /// <param name="why">Why nothing was packed.</param>
    /// <returns>Null where nothing was packed.</returns>
    public static GridMap? Pack(
        void* map, torch.ScalarType type, GridTiles tiles, Keep keep, bool exactZeros, PackLimits limits, int threads, out LeftRaw why)
    {
        (var packed, why) = Specialised.Run<PackWork, (GridMap?, LeftRaw)>(type, new(map, tiles, keep, exactZeros, limits, threads));
        return packed;
    }

    /// <summary>Packs a map with a chosen face.</summary>
    public static GridMap? Pack<TFace>(
        void* map, torch.ScalarType type, GridTiles tiles, Keep keep, bool exactZeros, PackLimits limits, int threads, out LeftRaw why)
        where TFace : struct, IGridFace
    {
        (var packed, why) = Specialised.Run<TFace, PackWork, (GridMap?, LeftRaw)>(type, new(map, tiles, keep, exactZeros, limits, threads));
        return packed;
    }

    readonly struct PackWork(void* map, GridTiles tiles, Keep keep, bool exactZeros, PackLimits limits, int threads)
        : ISpecialised<(GridMap?, LeftRaw)>
    {
        readonly void* map = map;

        public (GridMap?, LeftRaw) Run<TFace, TCells>() where TFace : struct, IGridFace where TCells : struct, IGridCells =>
            (Pack<TFace, TCells>(map, tiles, keep, exactZeros, limits, threads, out var why), why);
    }

    /// <summary>Rebuilds the map, or a range of it, in memory that has room for its elements.</summary>
    /// <param name="map">The first element of the map, or of the range; row-major.</param>
    /// <param name="type">The map's type.</param>
    /// <param name="tiles">How the whole map divides.</param>
    /// <param name="threads">How many threads may work.</param>
    /// <param name="range">
    /// A range of whole blocks, as <see cref="GridTiles.WholeBlocks"/> returns it, where the tiles <see cref="GridTiles.HaveRanges"/>; null
    /// for the whole map.
    /// </param>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public void Unpack(void* map, torch.ScalarType type, GridTiles tiles, int threads, MapRange? range = null) =>
        Specialised.Run<UnpackWork, bool>(type, new(this, map, tiles, threads, range));

    /// <summary>Rebuilds the map with a chosen face.</summary>
    public void Unpack<TFace>(void* map, torch.ScalarType type, GridTiles tiles, int threads, MapRange? range = null)
        where TFace : struct, IGridFace =>
        Specialised.Run<TFace, UnpackWork, bool>(type, new(this, map, tiles, threads, range));

    readonly struct UnpackWork(GridMap packed, void* map, GridTiles tiles, int threads, MapRange? range) : ISpecialised<bool>
    {
        readonly void* map = map;

        public bool Run<TFace, TCells>() where TFace : struct, IGridFace where TCells : struct, IGridCells
        {
            packed.Unpack<TFace, TCells>(map, tiles, threads, range);
            return true;
        }
    }

    /// <summary>The number of chunks.</summary>
    internal int ChunkCount => chunks.Length;

    /// <summary>The bytes of a chunk.</summary>
    internal Span<byte> Chunk(int chunk) => new((void*)chunks[chunk], lengths[chunk]);

    /// <summary>Starts to read a chunk.</summary>
    internal void Open(GridChunkReader reader, int chunk, int tiles, int zeroBits) =>
        reader.Open((byte*)chunks[chunk], lengths[chunk], tiles, zeroBits);

    internal const int HeaderBytes = 3 * sizeof(float) + 1;

    /// <summary>Writes the step, the offsets, whether there are zeros, the lengths of the chunks, and the chunks.</summary>
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
    /// <exception cref="InvalidDataException">The lengths do not fit a map of these tiles.</exception>
    public static GridMap Read(ReadOnlySpan<byte> bytes, GridTiles tiles)
    {
        if (bytes.Length < HeaderBytes) throw Damaged($"a header of {HeaderBytes} bytes");
        var numbers = MemoryMarshal.Cast<byte, float>(bytes[..12].ToArray());
        if (!(numbers[0] is > 0 and <= float.MaxValue && Math.Abs(numbers[1]) <= 2 && Math.Abs(numbers[2]) <= 2))
            throw Damaged("a step above zero and offsets near it");
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
        if (total != bytes.Length - (long)tiles.Chunks * sizeof(int))
            throw Damaged($"{total} bytes of chunks, found {bytes.Length - (long)tiles.Chunks * sizeof(int)}");
        var read = new GridMap(tiles.Chunks) { Step = numbers[0], FirstOffset = numbers[1], OtherOffset = numbers[2], HasZeros = hasZeros };
        var at = tiles.Chunks * sizeof(int);
        for (var i = 0; i < tiles.Chunks; i++)
        {
            read.lengths[i] = BinaryPrimitives.ReadInt32LittleEndian(bytes[(i * sizeof(int))..]);
            read.chunks[i] = (nint)CodecMemory.Allocate(read.lengths[i]);
            bytes.Slice(at, read.lengths[i]).CopyTo(new Span<byte>((void*)read.chunks[i], read.lengths[i]));
            at += read.lengths[i];
        }
        return read;
    }

    static InvalidDataException Damaged(string wanted) =>
        new($"Damaged bytes in a map stored as 'grid': wanted {wanted}. Pack the map again.");
}
