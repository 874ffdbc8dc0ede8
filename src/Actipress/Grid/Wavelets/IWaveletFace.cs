using Actipress.Grid.Bits;

namespace Actipress.Grid.Wavelets;

/// <summary>The arithmetic of wavelets.</summary>
unsafe interface IWaveletFace
{
    /// <summary>
    /// Two filters at once over values side by side: first[i] = sum_j u[j] from[j][i] and second[i] = sum_j v[j] from[j][i] for i
    /// below <paramref name="count"/>. The first tap is a product; the others are fused onto it in their order.
    /// </summary>
    static abstract void Filter(float** from, float* u, float* v, int taps, float* first, float* second, int count);

    /// <summary>
    /// Both filters along a periodic row of 2 <paramref name="half"/> values, where its halves fill one register each: what <see
    /// cref="Filter"/>
    /// gives over its even and odd values; else false, and nothing.
    /// </summary>
    static abstract bool DivideRow(float* x, float* u, float* v, int taps, float* low, float* high, int half);

    /// <summary>The inverse of <see cref="DivideRow"/>, with the filters that give the first and the second of two neighbours.</summary>
    static abstract bool CombineRow(float* low, float* high, float* u, float* v, int taps, float* x, int half);

    /// <summary>
    /// Two taps on columns and rows at once: of pairs of rows of 2 <paramref name="count"/> values the rows of the four bands, what
    /// <see cref="Filter"/> gives along the columns and then along the rows.
    /// </summary>
    /// <remarks>
    /// <c>space</c>: between pairs. <c>u</c> and <c>v</c>: the low and the high filter. <c>bands</c>: their rows lie one after the other.
    /// </remarks>
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
}

/// <summary>Places in the four bands of a plane, named by what they are of its columns and of its rows.</summary>
readonly unsafe struct FourBands(float* lowLow, float* lowHigh, float* highLow, float* highHigh)
{
    public readonly float* LowLow = lowLow, LowHigh = lowHigh, HighLow = highLow, HighHigh = highHigh;

    /// <summary>So many values on.</summary>
    public FourBands After(long values) => new(LowLow + values, LowHigh + values, HighLow + values, HighHigh + values);
}
