namespace Actipress.Grid.Wavelets;

/// <summary>The even and the odd elements of a row, with a periodic halo on both sides as wide as the taps of a wavelet reach.</summary>
readonly unsafe struct GridRow
{
    readonly int reach;

    // For each tap, the input of the first output; the inputs of the next outputs follow it.
    readonly float** from;

    public readonly float* Even, Odd;

    /// <param name="memory">As many floats as <see cref="Floats"/> returns.</param>
    /// <param name="width">The length of the longest row.</param>
    /// <param name="taps">The wavelet's number of taps.</param>
    public GridRow(float* memory, int width, int taps)
    {
        reach = taps / 4;
        Even = memory + taps / 2;
        Odd = Even + Line(width, taps);
        from = (float**)(memory + 2 * Line(width, taps));
        for (var j = 0; j < taps; j++)
        {
            var i = taps / 2 - j;
            from[j] = (i % 2 == 0 ? Even : Odd) + (i >> 1);
        }
    }

    static long Line(int width, int taps) => (width + 1L + taps + 15) / 16 * 16;

    /// <summary>The floats of memory that a row needs.</summary>
    public static long Floats(int width, int taps) => 2 * Line(width, taps) + taps * (sizeof(float*) / sizeof(float));

    /// <summary>
    /// Applies both filters along a row of <paramref name="n"/> elements. Where n is odd, the row has room for one element more.
    /// </summary>
    public void Divide<TFace>(GridWavelet wavelet, float* x, int n, float* low, float* high) where TFace : struct, IWaveletFace
    {
        var half = HalfOf(x, n);
        if (TFace.DivideRow(x, wavelet.Low, wavelet.High, wavelet.Taps, low, high, half)) return;
        Take<TFace>(x, half);
        TFace.Filter(from, wavelet.Low, wavelet.High, wavelet.Taps, low, high, half);
    }

    // An odd row is made even by repeating its last element.
    static int HalfOf(float* x, int n)
    {
        if (n % 2 != 0) x[n] = x[n - 1];
        return (n + 1) / 2;
    }

    void Take<TFace>(float* x, int half) where TFace : struct, IWaveletFace
    {
        TFace.Split(x, Even, Odd, half);
        Continue(half);
    }

    /// <summary>Fills the halos of both, which have <paramref name="half"/> elements.</summary>
    public void Continue(int half)
    {
        Continue(Even, half);
        Continue(Odd, half);
    }

    void Continue(float* period, int n)
    {
        for (var k = 1; k <= reach; k++) (period[-k], period[n - 1 + k]) = (period[n - k], period[k - 1]);
    }
}
