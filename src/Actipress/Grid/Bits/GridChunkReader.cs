using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Machine;

namespace Actipress.Grid.Bits;

/// <summary>Reads the bits of chunks, which <see cref="GridChunk"/> writes.</summary>
sealed unsafe class GridChunkReader : IDisposable
{
    // The number of bits of a level that is not an escape.
    const int Planes = 7;

    // How far a damaged stream may be read beyond its end before the damage is detected.
    const int Slack = 256;

    readonly byte* memory;
    readonly long memoryBytes;

    /// <summary>Scratch memory: a tile of 256 values, and the coefficients of a <see cref="GridChunk.Batch"/> of tiles.</summary>
    public readonly float* X, Y;

    readonly byte* tileLevels, zeros;

    // A copy of the chunk without its zeros, with slack behind it.
    byte* copy;
    int room;

    readonly bool keepsZeros;

    /// <param name="largestZeroBits">The largest number of bits of zeros; 0 if this reader does not read them.</param>
    public GridChunkReader(int largestZeroBits)
    {
        keepsZeros = largestZeroBits > 0;
        const int WorkBytes = (1 + GridChunk.Batch) * 256 * sizeof(float) + 256;
        var zeroBytes = (largestZeroBits + 63L) / 64 * 8;
        memoryBytes = WorkBytes + zeroBytes + Slack;
        memory = (byte*)CodecMemory.AllocateAligned(memoryBytes);
        X = (float*)memory;
        Y = X + 256;
        tileLevels = (byte*)(Y + GridChunk.Batch * 256);
        zeros = memory + WorkBytes;
    }

    public void Dispose()
    {
        AllocatorMeter.LookIn();
        CodecMemory.FreeAligned(memory, memoryBytes);
        NativeMemory.Free(copy);
    }

    BitReader signReader, levelReader, zeroReader;
    uint* group;
    byte* mask, escapeAt, escapeEnd;
    int levelBytes;

    /// <summary>Starts to read a chunk.</summary>
    /// <remarks>The chunk has so many <c>tiles</c>, and so many bits of zeros.</remarks>
    /// <exception cref="InvalidDataException">The sizes of the streams contradict each other.</exception>
    public void Open(byte* bytes, int length, int tiles, int zeroBitCount)
    {
        var (groupBytes, zeroBytes) = (GridChunk.GroupBytes * tiles, (int)((zeroBitCount + 7L) / 8));
        var rest = length - sizeof(int) - groupBytes - zeroBytes;
        Expect(rest >= 0, "groups and zeros of every tile");
        if (groupBytes + rest + Slack > room) copy = (byte*)NativeMemory.Realloc(copy, (nuint)(room = groupBytes + rest + Slack));
        Unsafe.CopyBlockUnaligned(copy, bytes + sizeof(int), (uint)groupBytes);
        if (keepsZeros) Unsafe.CopyBlockUnaligned(zeros, bytes + sizeof(int) + groupBytes, (uint)zeroBytes);
        Unsafe.CopyBlockUnaligned(copy + groupBytes, bytes + length - rest, (uint)rest);
        NativeMemory.Clear(copy + groupBytes + rest, Slack);

        group = (uint*)copy;
        mask = copy + groupBytes;
        var maskBytes = 0;
        for (var i = 0; i < tiles; i++) maskBytes += BitOperations.PopCount(group[i]);
        Expect((rest -= maskBytes) >= 0, "a mask for each group");
        var keptCount = 0;
        var i8 = 0;
        for (; i8 + 8 <= maskBytes; i8 += 8) keptCount += BitOperations.PopCount(*(ulong*)(mask + i8));
        for (; i8 < maskBytes; i8++) keptCount += BitOperations.PopCount(mask[i8]);
        var signBytes = (keptCount + 7) / 8;
        levelBytes = *(int*)bytes;
        Expect(
            (rest -= signBytes) >= 0 && levelBytes >= 0 && levelBytes <= rest && (rest - levelBytes) % 2 == 0, "signs, levels and escapes");
        var signs = mask + maskBytes;
        signReader = new(signs);
        levelReader = new(signs + signBytes);
        zeroReader = new(zeros);
        escapeAt = signs + signBytes + levelBytes;
        escapeEnd = escapeAt + (rest - levelBytes);
    }

    /// <summary>Reads which of the next tile's values are not zero.</summary>
    public void ReadZeros(ulong* positive, in Places places)
    {
        var reader = zeroReader;
        if (places.AreAll)
            for (var quarter = 0; quarter < 4; quarter++) positive[quarter] = reader.Read(64);
        else
            for (var quarter = 0; quarter < 4; quarter++)
                positive[quarter] = WordBits.Scatter(reader.Read(BitOperations.PopCount(places[quarter])), places[quarter]);
        zeroReader = reader;
    }

    /// <summary>Skips bits of zeros.</summary>
    public void SkipZeros(int bits) => zeroReader.At += bits;

    /// <summary>Reads the next tiles' coefficients.</summary>
    /// <returns>A word for each tile, with a bit for each group that holds a level other than zero.</returns>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public uint* Read<TFace>(float* y, int tiles, Magnitudes* magnitudes) where TFace : struct, IBitFace
    {
        var read = group;
        for (var i = 0; i < tiles; i++) Read<TFace>(y + 256 * i, magnitudes);
        return read;
    }

    void Read<TFace>(float* y, Magnitudes* magnitudes) where TFace : struct, IBitFace
    {
        BitReader signs = signReader, levels = levelReader;
        var masks = mask;
        var planes = stackalloc ulong[Planes];
        var groupBits = *group++;
        for (var quarter = 0; quarter < 4; quarter++, groupBits >>= 8)
        {
            var coefficients = y + 64 * quarter;
            if ((byte)groupBits == 0)
            {
                new Span<float>(coefficients, 64).Clear();
                continue;
            }
            var some = WordBits.Scatter((byte)groupBits, GridChunk.Lowest);
            var present = WordBits.Scatter(*(ulong*)masks, GridChunk.Whole(some));
            masks += BitOperations.PopCount(some);
            Expect(GridChunk.NotEmpty(present) == some, "masks that are not empty");
            Expect(levels.At <= 8L * levelBytes, "levels for every mask");
            var below = WordBits.Scatter(signs.Read(BitOperations.PopCount(present)), present);
            // Most levels are 1 or 2.
            var aboveOne = WordBits.Scatter(levels.Read(BitOperations.PopCount(present)), present);
            var alive = WordBits.Scatter(levels.Read(BitOperations.PopCount(aboveOne)), aboveOne);
            if (alive == 0)
            {
                TFace.Values(present, aboveOne, below, magnitudes, coefficients);
                continue;
            }
            // The class is the leading bit of (level - 1); the stream holds the bits below it.
            new Span<ulong>(planes, Planes).Clear();
            planes[0] = aboveOne & ~alive;
            var c = 2;
            for (; c < GridLevels.ClassTops.Length && alive != 0; c++)
            {
                var above = WordBits.Scatter(levels.Read(BitOperations.PopCount(alive)), alive);
                if ((alive & ~above) is var here && here != 0)
                {
                    for (var bit = 0; bit < c - 1; bit++) planes[bit] |= WordBits.Scatter(levels.Read(BitOperations.PopCount(here)), here);
                    planes[c - 1] = here;
                }
                alive = above;
            }
            TFace.Compose(present, below, planes, c - 1, tileLevels);
            TFace.Values(tileLevels, GridLevels.ClassTops[c - 1], magnitudes, coefficients);
            for (; alive != 0; alive &= alive - 1)
            {
                var place = BitOperations.TrailingZeroCount(alive);
                coefficients[GridLevels.Place(place)] = ReadEscape((below >> place & 1) != 0);
            }
        }
        signReader = signs;
        levelReader = levels;
        mask = masks;
    }

    float ReadEscape(bool below)
    {
        Expect(escapeAt < escapeEnd, "a value for every escape");
        var value = BitConverter.UInt32BitsToSingle((uint)*(ushort*)escapeAt << 15);
        escapeAt += 2;
        Expect(float.IsFinite(value), "finite values");
        return below ? -value : value;
    }

    /// <summary>Checks that everything was read.</summary>
    public void Close() => Expect(
        (levelReader.At + 7) / 8 == levelBytes && escapeAt == escapeEnd, "levels and escapes for every mask and none beside");

    static void Expect(bool holds, string wanted)
    {
        if (!holds) Refuse(wanted);
    }

    static void Refuse(string wanted) =>
        throw new InvalidDataException($"Damaged bytes in a map stored as 'grid': wanted {wanted}. Pack the map again.");

    struct BitReader(byte* from)
    {
        readonly byte* from = from;

        public long At;

        /// <summary>Returns the next 64 bits and advances by <paramref name="length"/> bits.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public ulong Read(int length)
        {
            var next = from + (At >> 3);
            var shift = (int)(At & 7);
            At += length;
            return *(ulong*)next >> shift | *(ulong*)(next + 8) << 1 << (63 ^ shift);
        }
    }
}
