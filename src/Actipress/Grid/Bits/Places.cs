using System.Numerics;

namespace Actipress.Grid.Bits;

/// <summary>A set of places in a tile, one bit a place: the first rows and columns, or the first places.</summary>
[System.Runtime.CompilerServices.InlineArray(4)]
struct Places
{
    ulong first;

    public Places(int rows, int columns)
    {
        for (var row = 0; row < rows; row++) this[row / 4] |= ((1UL << columns) - 1) << 16 * (row % 4);
    }

    /// <summary>The first <paramref name="count"/> places, row-major.</summary>
    public Places(int count)
    {
        for (var quarter = 0; quarter < 4; quarter++)
            this[quarter] = count >= 64 * (quarter + 1) ? ~0UL : (1UL << Math.Max(0, count - 64 * quarter)) - 1;
    }

    /// <summary>Whether the set holds every place.</summary>
    public readonly bool AreAll => (this[0] & this[1] & this[2] & this[3]) == ~0UL;

    public readonly int Count => BitOperations.PopCount(this[0]) + BitOperations.PopCount(this[1]) + BitOperations.PopCount(this[2])
        + BitOperations.PopCount(this[3]);
}
