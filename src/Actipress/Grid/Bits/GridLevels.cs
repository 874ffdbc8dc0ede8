namespace Actipress.Grid.Bits;

/// <summary>The levels of coefficients, and the order of a tile's levels in the streams.</summary>
/// <remarks>
/// A group is 4 x 2 neighbouring coefficients. Among the shapes of eight that were measured on a trained ResNet's maps, this one gave the
/// smallest maps.
/// </remarks>
static class GridLevels
{
    /// <summary>
    /// The highest level, the largest signed byte. A coefficient of this level is stored as a floating-point number of 16 bits.
    /// </summary>
    public const int Escape = 127;

    /// <summary>
    /// The highest levels of classes: 1, 2, 3 to 4, 5 to 8, and so on. Within a class of 2^b levels, the b lower bits of
    /// (level - 1) identify the level.
    /// </summary>
    public static ReadOnlySpan<byte> ClassTops => [1, 2, 4, 8, 16, 32, 64, Escape - 1];

    /// <summary>The index in a tile of the i-th coefficient in the order of groups.</summary>
    public static int Place(int i) => 16 * (2 * (i >> 5) + (i >> 2 & 1)) + 4 * (i >> 3 & 3) + (i & 3);
}
