namespace Actipress.Grid.Bits;

/// <summary>The levels of coefficients, and the order in which a tile's are written.</summary>
/// <remarks>
/// A group of eight is 4 x 2 neighbouring coefficients: of the shapes that were measured on a trained ResNet's maps, this one took the fewest
/// bytes.
/// </remarks>
static class GridLevels
{
    /// <summary>The level from which a coefficient is stored as a number of its own: what a byte with a sign holds.</summary>
    public const int Escape = 127;

    /// <summary>
    /// The highest levels of classes: 1, 2, 3 to 4, 5 to 8, and so on. Within a class of 2^b a level is told by the b lower bits of
    /// one less than it.
    /// </summary>
    public static ReadOnlySpan<byte> ClassTops => [1, 2, 4, 8, 16, 32, 64, Escape - 1];

    /// <summary>Where in a tile the i-th coefficient in the order of groups lies.</summary>
    public static int Place(int i) => 16 * (2 * (i >> 5) + (i >> 2 & 1)) + 4 * (i >> 3 & 3) + (i & 3);
}
