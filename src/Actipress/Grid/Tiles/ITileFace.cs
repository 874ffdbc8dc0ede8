namespace Actipress.Grid.Tiles;

/// <summary>The arithmetic of a tile's 256 values.</summary>
unsafe interface ITileFace
{
    /// <summary>Transforms a tile; the coefficients are stored transposed.</summary>
    /// <remarks>
    /// <c>from</c> has 16 rows of 16 values, <c>stride</c> apart: <c>x</c> itself, or a whole tile of one slice in the map. <c>x</c> has
    /// room for 256 values and is overwritten. <c>y</c> receives 256 coefficients.
    /// </remarks>
    static abstract void Forward(float* from, long stride, float* x, float* y, TileTransform transform, GridTiles.Region? region);

    /// <summary>The inverse of <see cref="Forward"/>.</summary>
    /// <remarks>
    /// <c>y</c> has 256 coefficients and is overwritten. <c>x</c> receives 256 values. <c>groups</c> has a bit for each group of eight
    /// coefficients that may differ from zero.
    /// </remarks>
    static abstract void Inverse(float* y, float* x, TileTransform transform, GridTiles.Region? region, uint groups);

    /// <summary>Examines a tile: its zeros, its signs, and whether it can be packed.</summary>
    /// <remarks>
    /// <c>from</c> has 16 rows of 16 values, <c>stride</c> apart. <c>positive</c> receives four words with a bit for each value, set where
    /// the value is not zero; all bits are set where <c>anyNegative</c> already was, since zeros are not kept then. <c>anyNegative</c>
    /// becomes true where a value is below zero.
    /// </remarks>
    /// <returns>Whether every value is a number of at most <see cref="GridFormat.Largest"/>.</returns>
    static abstract bool Look(float* from, long stride, ulong* positive, ref bool anyNegative);

    /// <summary>Copies a tile. A value whose bit is not set becomes zero, and any other at least <paramref name="smallest"/>.</summary>
    /// <remarks><c>to</c> has 16 rows of 16 values, <c>stride</c> apart.</remarks>
    static abstract void Restore(float* x, ulong* positive, float smallest, float* to, long stride);
}
