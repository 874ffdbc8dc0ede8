namespace Actipress.Grid.Tiles;

/// <summary>What is done with the 256 values of a tile.</summary>
unsafe interface ITileFace
{
    /// <summary>Y = T X of a tile, stored with rows and columns exchanged.</summary>
    /// <remarks><c>from</c>: 16 rows of 16 values, <c>stride</c> apart; <c>x</c>, or a whole tile of one slice. <c>x</c>: room for 256 values; overwritten. <c>y</c>: receives 256 coefficients.</remarks>
    static abstract void Forward(float* from, long stride, float* x, float* y, TileTransform transform, GridTiles.Region? region);

    /// <summary>X = T^-1 Y.</summary>
    /// <remarks><c>y</c>: 256 coefficients; overwritten. <c>x</c>: receives 256 values. <c>groups</c>: a bit for each group of eight that may be other than zero.</remarks>
    static abstract void Inverse(float* y, float* x, TileTransform transform, GridTiles.Region? region, uint groups);

    /// <summary>Tells what a tile holds.</summary>
    /// <remarks><c>from</c>: 16 rows of 16 values, <c>stride</c> apart. <c>positive</c>: receives a bit for each value, set where it is not zero, and where a negative one was seen before, since zeros do not matter then: 4 words. <c>anyNegative</c>: set where a value is below zero.</remarks>
    /// <returns>Whether every value is a number of at most <see cref="GridFormat.Largest"/>.</returns>
    static abstract bool Look(float* from, long stride, ulong* positive, ref bool anyNegative);

    /// <summary>Copies a tile, values to zero where their bit is not set, and the others raised to at least <paramref name="smallest"/>.</summary>
    /// <remarks><c>to</c>: 16 rows of 16 values, <c>stride</c> apart.</remarks>
    static abstract void Restore(float* x, ulong* positive, float smallest, float* to, long stride);
}
