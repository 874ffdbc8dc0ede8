using System.Numerics;
using Actipress.Grid.Bits;
using Actipress.Grid.Gpu;
using Actipress.Machine;
using ILGPU;

namespace Actipress;

/// <summary>The offset of the next bits of each stream, in bits from the start of the buffer.</summary>
struct GpuStreams
{
    public long Groups, Zeros, Masks, Signs, Levels, Escapes;

    /// <summary>The offsets of the streams of a chunk that starts at byte <c>start</c>.</summary>
    public GpuStreams(long start, int tiles, long zeroBits, GpuCounts chunk)
    {
        Groups = 8 * (start + sizeof(int));
        Zeros = Groups + 32L * tiles;
        Masks = Zeros + Whole(zeroBits);
        Signs = Masks + 8L * chunk.Masks;
        Levels = Signs + Whole(chunk.Signs);
        Escapes = Levels + Whole(chunk.LevelBits);
    }

    /// <summary>The length of a chunk in bytes.</summary>
    public static int Bytes(int tiles, long zeroBits, GpuCounts chunk) =>
        (int)((new GpuStreams(0, tiles, zeroBits, chunk).Escapes >> 3) + 2 * chunk.Escapes);

    /// <summary>The offsets behind some levels.</summary>
    public GpuStreams After(GpuCounts before)
    {
        var after = this;
        after.Masks += 8L * before.Masks;
        after.Signs += before.Signs;
        after.Levels += before.LevelBits;
        after.Escapes += 16L * before.Escapes;
        return after;
    }

    // A number of bits, rounded up to whole bytes.
    static long Whole(long bits) => bits + 7 & ~7L;
}

/// <summary>
/// The 64 levels of a quarter of a tile as bit planes, a word each: seven planes of (level - 1), one that marks the levels that are not
/// zero, and one that marks negative levels. Each test that <see cref="GridChunk"/> makes on levels is a few operations on whole words.
/// </summary>
static class GpuLevels
{
    /// <summary>The number of words of one quarter.</summary>
    public const int Planes = 9;

    const int Digits = 7, Present = 7, Negative = 8;

    /// <summary>Computes the 16 levels of thread <paramref name="lane"/> of a tile, and their bit planes.</summary>
    /// <remarks>
    /// <c>planes</c>: the bit planes of the tile's four quarters. <c>exchanged</c>: whether the coefficients are transposed.
    /// </remarks>
    public static void Round(ArrayView<float> y, int at, bool exchanged, float inverse, ArrayView<ulong> planes, int firstPlane, int lane)
    {
        ulong low = 0, high = 0;
        uint negative = 0;
        for (var i = 0; i < 16; i++)
        {
            var c = y[at + Place(16 * lane + i, exchanged)];
            var level = (int)Math.Min(Math.Abs(c) * inverse, GridLevels.Escape);
            if (level == 0) continue;
            var bits = (ulong)(level - 1);
            low |= (bits & 1 | (bits & 2) << 15 | (bits & 4) << 30 | (bits & 8) << 45) << i;
            high |= (bits >> 4 & 1 | (bits & 32) << 11 | (bits & 64) << 26 | 1UL << 48) << i;
            if (c < 0) negative |= 1u << i;
        }
        var parts = planes.Cast<ushort>();
        for (var plane = 0; plane < Digits; plane++)
            parts[Part(firstPlane, plane, lane)] = (ushort)((plane < 4 ? low : high) >> 16 * (plane & 3));
        parts[Part(firstPlane, Present, lane)] = (ushort)(high >> 48);
        parts[Part(firstPlane, Negative, lane)] = (ushort)negative;
    }

    /// <summary>Computes the 16 coefficients of thread <paramref name="lane"/> of a tile from their bit planes.</summary>
    /// <remarks><c>escapes</c>: the offset of the tile's escapes, in bits.</remarks>
    public static void Restore(
        ArrayView<ulong> planes, int firstPlane, int lane, ArrayView<uint> words, long escapes, GpuSteps steps, ArrayView<float> y, int at,
        bool exchanged)
    {
        var parts = planes.Cast<ushort>();
        uint present = parts[Part(firstPlane, Present, lane)], negative = parts[Part(firstPlane, Negative, lane)];
        ulong low = 0, high = 0;
        for (var plane = 0; plane < Digits; plane++)
        {
            var bits = (ulong)parts[Part(firstPlane, plane, lane)] << 16 * (plane & 3);
            if (plane < 4) low |= bits;
            else high |= bits;
        }
        for (var i = 0; i < 16; i++)
        {
            var value = 0f;
            if ((present >> i & 1) != 0)
            {
                var (l, h) = (low >> i, high >> i);
                var level = 1 + (int)(l & 1 | l >> 15 & 2 | l >> 30 & 4 | l >> 45 & 8 | (h & 1) << 4 | h >> 11 & 32 | h >> 26 & 64);
                value = level < GridLevels.Escape
                    ? steps.Magnitude(level) : ReadEscape(words, escapes + 16 * EscapesBefore(planes, firstPlane, 16 * lane + i));
                if ((negative >> i & 1) != 0) value = -value;
            }
            y[at + Place(16 * lane + i, exchanged)] = value;
        }
    }

    // The offset of the i-th coefficient in the order of groups.
    static int Place(int i, bool exchanged)
    {
        var place = GridLevels.Place(i);
        var (row, column) = (place >> 4, place & 15);
        return exchanged ? column * GpuTile.Pitch + row : row * GpuTile.Pitch + column;
    }

    static int Part(int firstPlane, int plane, int lane) => 4 * (firstPlane + (lane >> 2) * Planes + plane) + (lane & 3);

    static float ReadEscape(ArrayView<uint> words, long at) => Interop.IntAsFloat((uint)(GpuBits.Read(words, at) & 0xFFFF) << 15);

    static int EscapesBefore(ArrayView<ulong> planes, int firstPlane, int i)
    {
        var before = 0;
        for (var quarter = 0; quarter < i >> 6; quarter++) before += BitOperations.PopCount(Escaped(planes, firstPlane + quarter * Planes));
        return before + BitOperations.PopCount(Escaped(planes, firstPlane + (i >> 6) * Planes) & (1UL << (i & 63)) - 1);
    }

    // The levels above class c: (level - 1) has a bit in plane c or a higher plane. Only 127 is above the last class.
    static ulong Above(ArrayView<ulong> planes, int first, int c)
    {
        if (c == Digits) return Escaped(planes, first);
        ulong above = 0;
        for (var plane = c; plane < Digits; plane++) above |= planes[first + plane];
        return above;
    }

    static ulong Escaped(ArrayView<ulong> planes, int first)
    {
        var escaped = ~planes[first];
        for (var plane = 1; plane < Digits; plane++) escaped &= planes[first + plane];
        return escaped;
    }

    /// <summary>The number of bits and bytes that a quarter takes in each stream.</summary>
    public static GpuCounts Count(ArrayView<ulong> planes, int first)
    {
        var present = planes[first + Present];
        var counts = new GpuCounts { Masks = BitOperations.PopCount(GridChunk.NotEmpty(present)), Signs = BitOperations.PopCount(present) };
        var alive = present;
        for (var c = 0; c <= Digits && alive != 0; c++)
        {
            var above = Above(planes, first, c);
            counts.LevelBits += BitOperations.PopCount(alive);
            if (c > 1) counts.LevelBits += (c - 1) * BitOperations.PopCount(alive & ~above);
            alive = above;
        }
        counts.Escapes = BitOperations.PopCount(alive);
        return counts;
    }

    /// <summary>Writes a quarter of a tile.</summary>
    /// <remarks>
    /// <c>to</c>: the offsets of its masks, signs, levels and escapes. <c>groups</c>: the offset of its eight bits of groups. <c>y</c>: the
    /// tile's coefficients.
    /// </remarks>
    public static void Write(
        ArrayView<ulong> planes, int first, ArrayView<uint> words, GpuStreams to, long groups, ArrayView<float> y, int at, bool exchanged,
        int quarter)
    {
        var present = planes[first + Present];
        if (present == 0) return;
        var some = GridChunk.NotEmpty(present);
        GpuBits.Write(words, groups, WordBits.GatherOneByOne(some, GridChunk.Lowest));
        GpuBits.Write(words, to.Masks, WordBits.GatherOneByOne(present, GridChunk.Whole(some)));
        GpuBits.Write(words, to.Signs, WordBits.GatherOneByOne(planes[first + Negative], present));
        var alive = present;
        for (var c = 0; c <= Digits && alive != 0; c++)
        {
            var above = Above(planes, first, c);
            GpuBits.Write(words, to.Levels, WordBits.GatherOneByOne(above, alive));
            to.Levels += BitOperations.PopCount(alive);
            var here = alive & ~above;
            for (var bit = 0; bit < c - 1 && here != 0; bit++)
            {
                GpuBits.Write(words, to.Levels, WordBits.GatherOneByOne(planes[first + bit], here));
                to.Levels += BitOperations.PopCount(here);
            }
            alive = above;
        }
        for (; alive != 0; alive &= alive - 1, to.Escapes += 16)
        {
            var magnitude =
                Interop.FloatAsInt(y[at + Place(64 * quarter + BitOperations.TrailingZeroCount(alive), exchanged)]) & 0x7FFFFFFF;
            GpuBits.Write(words, to.Escapes, magnitude + 0x4000 >> 15);
        }
    }

    /// <summary>Reads a quarter's bit planes. Returns the number of bits and bytes that it takes in each stream.</summary>
    /// <remarks><c>groups</c>: the quarter's eight bits of groups.</remarks>
    public static GpuCounts Read(ArrayView<uint> words, GpuStreams from, uint groups, ArrayView<ulong> planes, int first)
    {
        for (var plane = 0; plane < Planes; plane++) planes[first + plane] = 0;
        if (groups == 0) return default;
        var some = WordBits.ScatterOneByOne(groups, GridChunk.Lowest);
        var present = WordBits.ScatterOneByOne(GpuBits.Read(words, from.Masks), GridChunk.Whole(some));
        planes[first + Present] = present;
        planes[first + Negative] = WordBits.ScatterOneByOne(GpuBits.Read(words, from.Signs), present);
        var counts = new GpuCounts { Masks = BitOperations.PopCount(some), Signs = BitOperations.PopCount(present) };
        var alive = present;
        for (var c = 0; c <= Digits && alive != 0; c++)
        {
            var above = WordBits.ScatterOneByOne(GpuBits.Read(words, from.Levels + counts.LevelBits), alive);
            counts.LevelBits += BitOperations.PopCount(alive);
            var here = alive & ~above;
            // In a level of the class, (level - 1) has the bit of the class, and lower bits, which the stream holds.
            if (c > 0) planes[first + c - 1] |= here;
            for (var bit = 0; bit < c - 1 && here != 0; bit++)
            {
                planes[first + bit] |= WordBits.ScatterOneByOne(GpuBits.Read(words, from.Levels + counts.LevelBits), here);
                counts.LevelBits += BitOperations.PopCount(here);
            }
            alive = above;
        }
        // An escape is the level 127: (level - 1) has every bit but the lowest.
        for (var plane = 1; plane < Digits; plane++) planes[first + plane] |= alive;
        counts.Escapes = BitOperations.PopCount(alive);
        return counts;
    }
}
