namespace Actipress;

/// <summary>Receives the bands of one large map, or of a part of it: a row or a part of one at a time, those of each band in their order.</summary>
abstract unsafe class GridBandRows : IDisposable
{
    // A band's rows are passed on when there are at least so many coefficients, or its last ones.
    const int Enough = 256 * GridChunk.Batch;

    readonly GridMemory memory;
    readonly Band[] bands;

    struct Band
    {
        public float* Rows;
        public int Count;

        // Which coefficient of the map the first one here is.
        public long At;
    }

    protected GridBandRows(GridWavelet wavelet)
    {
        memory = new([.. wavelet.Bands.Select(band => Math.Min(Enough + (wavelet.IsLine ? Math.Min(band.Extents.Width, GridWavelet.Segment) : band.Extents.Width), band.Elements + 256))]);
        bands = new Band[wavelet.Bands.Length];
        for (var i = 0; i < bands.Length; i++) bands[i] = new Band { Rows = memory[i] };
    }

    public virtual void Dispose() => memory.Dispose();

    /// <summary>The next row of a band will begin with this coefficient of the map.</summary>
    public void Begin(int band, long coefficient) => (bands[band].At, bands[band].Count) = (coefficient, 0);

    /// <summary>Where the next row of a band is to be written.</summary>
    public float* Next(int band) => bands[band].Rows + bands[band].Count;

    /// <summary>So many of its coefficients are.</summary>
    public void Wrote(int band, int count)
    {
        ref var some = ref bands[band];
        some.Count += count;
        if (some.Count >= Enough) Pass(ref some, last: false);
    }

    /// <summary>All are.</summary>
    public void End()
    {
        foreach (ref var some in bands.AsSpan()) Pass(ref some, last: true);
    }

    void Pass(ref Band some, bool last)
    {
        var taken = Take(some.At, some.Rows, some.Count, last);
        some.At += taken;
        some.Count -= taken;
        if (some.Count > 0) Buffer.MemoryCopy(some.Rows + taken, some.Rows, some.Count * sizeof(float), some.Count * sizeof(float));
    }

    /// <summary>Takes the next coefficients of a band, all of them or, where these are not its last ones, all but fewer than 256; tells how many.</summary>
    /// <remarks><c>at</c>: which coefficient of the map the first one is.</remarks>
    protected abstract int Take(long at, float* coefficients, int count, bool last);
}
