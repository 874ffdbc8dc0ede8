using System.Numerics;
using System.Runtime.CompilerServices;
using Actipress.Machine;

namespace Actipress.Grid.Bits;

/// <summary>Writes the bits of up to 256 tiles: six streams that are written in parallel and stored one after the other.</summary>
/// <remarks>
/// <code>
/// groups    4 bytes a tile: bit g is set where group g holds a level that is not zero
/// zeros     only where zeros are kept: a bit for each element, set where the element is not zero
/// masks     a byte for each set bit of groups: which of the eight levels are not zero
/// signs     a bit for each level that is not zero, set for negative ones
/// levels    quarter by quarter of a tile, class by class (1, 2, 3 to 4, 5 to 8, 9 to 16, ...): a bit for each level of the class or
///           above, set where it is above; then bit by bit, from the lowest, the bits of (level - 1) below the leading one
/// escapes   two bytes for each level of 127: the coefficient's magnitude as a float of 8 bits of exponent and 8 of fraction
/// </code>
/// Bits fill bytes from the lowest; a bit stream ends with zeros up to a whole byte.
/// </remarks>
sealed unsafe class GridChunk : IDisposable
{
    /// <summary>Tiles of one chunk.</summary>
    public const int TilesPerChunk = 256;

    /// <summary>Coefficients of one chunk.</summary>
    public const int Coefficients = 256 * TilesPerChunk;

    // A writer writes whole words, so that it may write this far beyond the end of its stream.
    const int Slack = 256;

    // The largest sizes of a tile's streams: every coefficient is kept and is an escape.
    internal const int GroupBytes = 4;
    const int MaskBytes = 32, SignBytes = 32, LevelBytes = 512, EscapeBytes = 512;

    readonly byte* memory;
    readonly long memoryBytes;

    /// <summary>
    /// Tiles that go through each stage together, so that a mispredicted branch of the bit streams does not wait for arithmetic.
    /// </summary>
    public const int Batch = 8;

    /// <summary>Scratch memory: a tile of 256 values, and the coefficients of a batch of tiles.</summary>
    public readonly float* X, Y;

    readonly byte* groups, zeros, masks, signs, levels, escapes;
    readonly byte* tileLevels;
    readonly ulong* kept, negative;

    /// <param name="largestZeroBits">The largest number of bits of zeros.</param>
    public GridChunk(int largestZeroBits)
    {
        const int Tiles = GridChunk.TilesPerChunk;
        var zeroBytes = (int)((largestZeroBits + 63L) / 64 * 8);
        const int WorkBytes = 1024 + Batch * (1024 + 256 + 64);
        memoryBytes = WorkBytes + zeroBytes + (GroupBytes + MaskBytes + SignBytes + LevelBytes + EscapeBytes) * Tiles + 8 * Slack;
        memory = (byte*)CodecMemory.AllocateAligned(memoryBytes);
        X = (float*)memory;
        Y = X + 256;
        tileLevels = (byte*)(Y + Batch * 256);
        kept = (ulong*)(tileLevels + Batch * 256);
        negative = kept + Batch * 4;
        groups = memory + WorkBytes;
        zeros = groups + GroupBytes * Tiles + Slack;
        masks = zeros + zeroBytes + Slack;
        signs = masks + MaskBytes * Tiles + Slack;
        levels = signs + SignBytes * Tiles + Slack;
        escapes = levels + LevelBytes * Tiles + Slack;
    }

    public void Dispose()
    {
        AllocatorMeter.LookIn();
        CodecMemory.FreeAligned(memory, memoryBytes);
    }

    int tile;
    byte* maskEnd, escapeEnd;
    BitWriter signBits, levelBits, zeroBits;

    public void Begin()
    {
        tile = 0;
        maskEnd = masks;
        escapeEnd = escapes;
        signBits = new(signs);
        levelBits = new(levels);
        zeroBits = new(zeros);
    }

    /// <summary>Writes which of a tile's values are zero, for the values at <paramref name="places"/>.</summary>
    public void WriteZeros(ulong* positive, in Places places)
    {
        if (places.AreAll)
        {
            WriteZeros(positive);
            return;
        }
        var writer = new BitWriter(zeroBits);
        for (var quarter = 0; quarter < 4; quarter++)
            writer.Write(WordBits.Gather(positive[quarter], places[quarter]), BitOperations.PopCount(places[quarter]));
        zeroBits.Become(writer);
    }

    /// <summary>Writes which of a whole tile's values are zero.</summary>
    public void WriteZeros(ulong* positive)
    {
        var writer = new BitWriter(zeroBits);
        for (var quarter = 0; quarter < 4; quarter++) writer.Write(positive[quarter]);
        zeroBits.Become(writer);
    }

    /// <summary>Writes the levels of the coefficients of up to a <see cref="Batch"/> of tiles.</summary>
    public void Write<TFace>(float* y, int tiles, float inverse) where TFace : struct, IBitFace
    {
        for (var i = 0; i < tiles; i++) TFace.Levels(y + 256 * i, inverse, tileLevels + 256 * i, kept + 4 * i, negative + 4 * i);
        for (var i = 0; i < tiles; i++) Write<TFace>(y + 256 * i, tileLevels + 256 * i, kept + 4 * i, negative + 4 * i);
    }

    void Write<TFace>(float* y, byte* tileLevels, ulong* kept, ulong* negative) where TFace : struct, IBitFace
    {
        BitWriter signWriter = new(signBits), levelWriter = new(levelBits);
        var mask = maskEnd;
        uint groupBits = 0;
        for (var quarter = 0; quarter < 4; quarter++)
        {
            var present = kept[quarter];
            if (present == 0) continue;
            var some = NotEmpty(present);
            *(ulong*)mask = WordBits.Gather(present, Whole(some));
            mask += BitOperations.PopCount(some);
            groupBits |= (uint)WordBits.Gather(some, Lowest) << 8 * quarter;
            signWriter.Write(WordBits.Gather(negative[quarter], present), BitOperations.PopCount(present));
            // Most levels are 1 or 2. Where all are 1, the second class writes nothing.
            ulong aboveOne = TFace.Above(tileLevels + 64 * quarter, 1), alive = TFace.Above(tileLevels + 64 * quarter, 2);
            levelWriter.Write(WordBits.Gather(aboveOne, present), BitOperations.PopCount(present));
            levelWriter.Write(WordBits.Gather(alive, aboveOne), BitOperations.PopCount(aboveOne));
            for (var c = 2; c < GridLevels.ClassTops.Length && alive != 0; c++)
            {
                var above = TFace.Above(tileLevels + 64 * quarter, GridLevels.ClassTops[c]);
                levelWriter.Write(WordBits.Gather(above, alive), BitOperations.PopCount(alive));
                if ((alive & ~above) is var here && here != 0)
                    for (var bit = 0; bit < c - 1; bit++)
                        levelWriter.Write(WordBits.Gather(TFace.Plane(tileLevels + 64 * quarter, bit), here), BitOperations.PopCount(here));
                alive = above;
            }
            if (alive != 0) WriteEscapes(y + 64 * quarter, alive);
        }
        signBits.Become(signWriter);
        levelBits.Become(levelWriter);
        maskEnd = mask;
        ((uint*)groups)[tile++] = groupBits;
    }

    void WriteEscapes(float* y, ulong escaped)
    {
        for (; escaped != 0; escaped &= escaped - 1)
        {
            var magnitude = BitConverter.SingleToUInt32Bits(y[GridLevels.Place(BitOperations.TrailingZeroCount(escaped))]) & 0x7FFFFFFF;
            *(ushort*)escapeEnd = (ushort)(magnitude + 0x4000 >> 15);
            escapeEnd += 2;
        }
    }

    // A mask of the lowest bit of each byte.
    internal const ulong Lowest = 0x0101010101010101;

    // Sets the lowest bit of each byte that is not zero.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ulong NotEmpty(ulong bytes) => ((bytes & 0x7F * Lowest) + 0x7F * Lowest | bytes) >> 7 & Lowest;

    // Sets all bits of the bytes whose lowest bit is set.
    internal static ulong Whole(ulong lowest) => lowest * 0xFF;

    /// <summary>Returns the chunk's bytes, in memory of <see cref="CodecMemory.Allocate"/>.</summary>
    public byte* Finish(out int length) => Finish(zeros, zeroBits.End(), out length);

    /// <summary>
    /// Returns the chunk's bytes with a stream of zeros that was written elsewhere: the bytes from <paramref name="zeros"/> to
    /// <paramref name="zeroEnd"/>.
    /// </summary>
    public byte* Finish(byte* zeros, byte* zeroEnd, out int length)
    {
        byte* signEnd = signBits.End(), levelEnd = levelBits.End();
        var sections = (zeroEnd - zeros) + (maskEnd - masks) + (signEnd - signs) + (levelEnd - levels) + (escapeEnd - escapes);
        length = checked((int)(sizeof(int) + 4 * tile + sections));
        var bytes = (byte*)CodecMemory.Allocate(length);
        var at = bytes;
        *(int*)at = (int)(levelEnd - levels);
        at += sizeof(int);
        Append(groups, groups + 4 * tile);
        Append(zeros, zeroEnd);
        Append(masks, maskEnd);
        Append(signs, signEnd);
        Append(levels, levelEnd);
        Append(escapes, escapeEnd);
        return bytes;

        void Append(byte* from, byte* end)
        {
            Unsafe.CopyBlockUnaligned(at, from, (uint)(end - from));
            at += end - from;
        }
    }

    struct BitWriter(byte* to)
    {
        byte* to = to;
        ulong bits;
        long count;

        // The fields are copied one by one, because the compiler keeps a struct that is copied whole in memory.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public BitWriter(in BitWriter from) : this(from.to) => (bits, count) = (from.bits, from.count);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Become(BitWriter from)
        {
            to = from.to;
            bits = from.bits;
            count = from.count;
        }

        // length is 0 to 64, and next has no set bit beyond it.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Write(ulong next, int length)
        {
            bits |= next << (int)count;
            *(ulong*)to = bits;
            var rest = Beyond(next);
            count += length;
            // This has no branch, which would often be mispredicted.
            var full = count >> 6;
            to += full << 3;
            bits ^= (bits ^ rest) & (ulong)-full;
            count &= 63;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Write(ulong next)
        {
            *(ulong*)to = bits | next << (int)count;
            to += sizeof(ulong);
            bits = Beyond(next);
        }

        // The bits that do not fit in the word: a shift by 64 - count, which may be 64.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        readonly ulong Beyond(ulong next) => next >> 1 >> (63 ^ (int)count);

        public readonly byte* End()
        {
            *(ulong*)to = bits;
            return to + (count + 7) / 8;
        }
    }
}
