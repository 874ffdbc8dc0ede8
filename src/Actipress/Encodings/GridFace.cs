using Actipress.Grid;

namespace Actipress;

/// <summary>What levels stand for: 0, and (level + offset) step with one offset for level 1 and one for all others.</summary>
unsafe struct GridMagnitudes
{
    const int Listed = 16;

    fixed float lowest[Listed], few[8];
    readonly float other, step;

    public GridMagnitudes(float step, float first, float other)
    {
        (this.step, this.other) = (step, other);
        for (var level = 1; level < Listed; level++) lowest[level] = (level + (level == 1 ? first : other)) * step;
        // Of 1 and 2, and of these below zero.
        (few[1], few[3]) = (lowest[1], lowest[2]);
        (few[5], few[7]) = (-lowest[1], -lowest[2]);
    }

    public readonly float this[int level] => level < Listed ? lowest[level] : (level + other) * step;

    /// <summary>Of every level but 0 and 1.</summary>
    public readonly (float Offset, float Step) Others => (other, step);

    /// <summary>Of the sixteen lowest levels. Valid while this does not move.</summary>
    public float* Lowest => (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref lowest[0]);

    /// <summary>Of levels up to 2 at the place 1 + 2 (where it is 2) + 4 (where it is below zero). Valid while this does not move.</summary>
    public float* Few => (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref few[0]);
}

/// <summary>The arithmetic of tiles and wavelets. Faces differ in speed only: every one gives the same bits.</summary>
unsafe interface IGridFace
{
    /// <summary>Y = T X of a tile, stored with rows and columns exchanged.</summary>
    /// <remarks><c>from</c>: 16 rows of 16 values, <c>stride</c> apart; <c>x</c>, or a whole tile of one slice. <c>x</c>: room for 256 values; overwritten. <c>y</c>: receives 256 coefficients.</remarks>
    static abstract void Forward(float* from, long stride, float* x, float* y, TileTransform transform, GridTiles.Region? region);

    /// <summary>X = T^-1 Y.</summary>
    /// <remarks><c>y</c>: 256 coefficients; overwritten. <c>x</c>: receives 256 values. <c>groups</c>: a bit for each group of eight that may be other than zero.</remarks>
    static abstract void Inverse(float* y, float* x, TileTransform transform, GridTiles.Region? region, uint groups);

    /// <summary>
    /// Two filters at once over values side by side: first[i] = sum_j u[j] from[j][i] and second[i] = sum_j v[j] from[j][i] for i
    /// below <paramref name="count"/>. The first tap is a product; the others are fused onto it in their order.
    /// </summary>
    static abstract void Filter(float** from, float* u, float* v, int taps, float* first, float* second, int count);

    /// <summary>
    /// Both filters along a periodic row of 2 <paramref name="half"/> values, where its halves fill one register each: what <see cref="Filter"/>
    /// gives over its even and odd values; else false, and nothing.
    /// </summary>
    static abstract bool DivideRow(float* x, float* u, float* v, int taps, float* low, float* high, int half);

    /// <summary>The inverse of <see cref="DivideRow"/>, with the filters that give the first and the second of two neighbours.</summary>
    static abstract bool CombineRow(float* low, float* high, float* u, float* v, int taps, float* x, int half);

    /// <summary>
    /// Two taps on columns and rows at once: of pairs of rows of 2 <paramref name="count"/> values the rows of the four bands, what
    /// <see cref="Filter"/> gives along the columns and then along the rows.
    /// </summary>
    /// <remarks><c>space</c>: between pairs. <c>u</c> and <c>v</c>: the low and the high filter. <c>bands</c>: their rows lie one after the other.</remarks>
    static abstract void Quarter(float* upper, float* lower, long space, int pairs, float* u, float* v, in FourBands bands, int count);

    /// <summary>The inverse of <see cref="Quarter"/>.</summary>
    /// <remarks><c>u</c> and <c>v</c>: the filters that give the first and the second of two neighbours.</remarks>
    static abstract void Unite(in FourBands bands, float* u, float* v, float* upper, float* lower, long space, int pairs, int count);

    /// <summary>even[i] = x[2 i] and odd[i] = x[2 i + 1] for i below <paramref name="count"/>.</summary>
    static abstract void Split(float* x, float* even, float* odd, int count);

    /// <summary>The inverse of <see cref="Split"/>.</summary>
    static abstract void Join(float* even, float* odd, float* x, int count);

    /// <summary>16 rows of 16 values, at these distances; they do not overlap.</summary>
    static abstract void Transpose(float* from, long fromStride, float* to, long toStride);

    /// <summary>
    /// The level of each coefficient, min(floor(|y| inverse), <see cref="GridFormat.Escape"/>), in the order of groups.
    /// </summary>
    /// <remarks><c>levels</c>: receives 256 bytes. <c>kept</c>: receives a bit for each level that is not zero: 4 words. <c>negative</c>: receives a bit for each of those whose coefficient is negative: 4 words.</remarks>
    static abstract void Levels(float* y, float inverse, byte* levels, ulong* kept, ulong* negative);

    /// <summary>A bit for each of 64 levels that is more than <paramref name="m"/>.</summary>
    static abstract ulong Above(byte* levels, int m);

    /// <summary>64 levels where they are present, else zero, each with its top bit where it is to be below zero.</summary>
    /// <remarks><c>planes</c>: <c>count</c> words of bits of one less than each, the lowest first.</remarks>
    static abstract void Compose(ulong present, ulong below, ulong* planes, int count, byte* levels);

    /// <summary>Of 64 levels the <paramref name="bit"/>-th bit of one less than each.</summary>
    static abstract ulong Plane(byte* levels, int bit);

    /// <summary>What 64 levels with their signs stand for, in rows of 16.</summary>
    /// <remarks><c>highest</c>: no level is above it.</remarks>
    static abstract void Values(byte* levels, int highest, GridMagnitudes* magnitudes, float* y);

    /// <summary>The same of 64 levels of at most 2, from a bit for each that is not zero, that is 2, and that is below zero.</summary>
    static abstract void Values(ulong present, ulong two, ulong below, GridMagnitudes* magnitudes, float* y);

    /// <summary>Tells what a tile holds.</summary>
    /// <remarks><c>from</c>: 16 rows of 16 values, <c>stride</c> apart. <c>positive</c>: receives a bit for each value, set where it is not zero, and where a negative one was seen before, since zeros do not matter then: 4 words. <c>anyNegative</c>: set where a value is below zero.</remarks>
    /// <returns>Whether every value is a number of at most <see cref="GridFormat.Largest"/>.</returns>
    static abstract bool Look(float* from, long stride, ulong* positive, ref bool anyNegative);

    /// <summary>Copies a tile, values to zero where their bit is not set, and the others raised to at least <paramref name="smallest"/>.</summary>
    /// <remarks><c>to</c>: 16 rows of 16 values, <c>stride</c> apart.</remarks>
    static abstract void Restore(float* x, ulong* positive, float smallest, float* to, long stride);
}

/// <summary>Places in the four bands of a plane, named by what they are of its columns and of its rows.</summary>
readonly unsafe struct FourBands(float* lowLow, float* lowHigh, float* highLow, float* highHigh)
{
    public readonly float* LowLow = lowLow, LowHigh = lowHigh, HighLow = highLow, HighHigh = highHigh;

    /// <summary>So many values on.</summary>
    public FourBands After(long values) => new(LowLow + values, LowHigh + values, HighLow + values, HighHigh + values);
}
