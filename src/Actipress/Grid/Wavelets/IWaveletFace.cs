namespace Actipress.Grid.Wavelets;

/// <summary>The arithmetic of wavelets.</summary>
unsafe interface IWaveletFace
{
    /// <summary>
    /// Applies two filters to lines: first[i] = sum_j u[j] from[j][i] and second[i] = sum_j v[j] from[j][i] for i below
    /// <paramref name="count"/>. The first product is rounded, and the others are fused onto it in their order.
    /// </summary>
    static abstract void Filter(float** from, float* u, float* v, int taps, float* first, float* second, int count);

    /// <summary>
    /// Applies both filters along a periodic row of 2 <paramref name="half"/> values, if each half fills one register: the result is that
    /// of <see cref="Filter"/> on its even and odd values. Otherwise it does nothing and returns false.
    /// </summary>
    static abstract bool DivideRow(float* x, float* u, float* v, int taps, float* low, float* high, int half);

    /// <summary>
    /// The inverse of <see cref="DivideRow"/>, with the filters of the first and of the second of two neighbouring outputs.
    /// </summary>
    static abstract bool CombineRow(float* low, float* high, float* u, float* v, int taps, float* x, int half);

    /// <summary>
    /// Divides pairs of rows of 2 <paramref name="count"/> values into the rows of the four bands, under two taps. The result is that of
    /// <see cref="Filter"/> along the columns and then along the rows.
    /// </summary>
    /// <remarks>
    /// <c>space</c> is the stride of pairs, <c>u</c> the low and <c>v</c> the high filter. The rows of each band lie one after the other.
    /// </remarks>
    static abstract void Quarter(float* upper, float* lower, long space, int pairs, float* u, float* v, in FourBands bands, int count);

    /// <summary>The inverse of <see cref="Quarter"/>.</summary>
    /// <remarks><c>u</c> and <c>v</c> are the filters of the first and of the second of two neighbouring outputs.</remarks>
    static abstract void Unite(in FourBands bands, float* u, float* v, float* upper, float* lower, long space, int pairs, int count);

    /// <summary>even[i] = x[2 i] and odd[i] = x[2 i + 1] for i below <paramref name="count"/>.</summary>
    static abstract void Split(float* x, float* even, float* odd, int count);

    /// <summary>The inverse of <see cref="Split"/>.</summary>
    static abstract void Join(float* even, float* odd, float* x, int count);

    /// <summary>Transposes 16 rows of 16 values; source and target do not overlap, and their strides are in floats.</summary>
    static abstract void Transpose(float* from, long fromStride, float* to, long toStride);
}

/// <summary>Addresses in the four bands of a plane, named by the filter along its columns and then by the filter along its rows.</summary>
readonly unsafe struct FourBands(float* lowLow, float* lowHigh, float* highLow, float* highHigh)
{
    public readonly float* LowLow = lowLow, LowHigh = lowHigh, HighLow = highLow, HighHigh = highHigh;

    /// <summary>The addresses so many values further on.</summary>
    public FourBands After(long values) => new(LowLow + values, LowHigh + values, HighLow + values, HighHigh + values);
}
