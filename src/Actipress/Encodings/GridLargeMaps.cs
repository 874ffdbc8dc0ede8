namespace Actipress;

/// <summary>The coefficients of some large maps, which are computed anew each time that they are gone through.</summary>
/// <param name="wavelet">How maps divide.</param>
/// <param name="values">The first element of all maps.</param>
/// <param name="maps">Their numbers.</param>
/// <param name="threads">That go through them.</param>
sealed unsafe class GridLargeMaps<TFace, TCells>(GridWavelet wavelet, void* values, long[] maps, int threads) : ICoefficients where TFace : struct, IGridFace where TCells : struct, IGridCells
{
    // A pass costs the transform, so there are few of them.
    public ReadOnlySpan<int> Digits => [16, 15];

    public void Each<TTally>(Func<TTally> begin, Action<TTally> end) where TTally : ITally
    {
        var parts = wavelet.PartsFor(threads, maps.Length);
        var work = new CpuTeam.Shares(maps.Length * parts, threads);
        var gate = new Lock();
        work.Run(() =>
        {
            var tally = begin();
            using (var bands = GridAnalysis.Of<TFace, TCells>(wavelet, values))
            using (var rows = new Rows<TTally>(wavelet, tally))
                for (int share = 0, last = 0; share < last || work.Take(out share, out last); share++)
                {
                    bands.Divide(maps[share / parts], share % parts, parts, rows);
                    rows.End();
                }
            lock (gate) end(tally);
        });
    }

    sealed class Rows<TTally>(GridWavelet wavelet, TTally tally) : GridBandRows(wavelet) where TTally : ITally
    {
        protected override int Take(long at, float* coefficients, int count, bool last)
        {
            tally.See(new(coefficients, count));
            return count;
        }
    }
}
