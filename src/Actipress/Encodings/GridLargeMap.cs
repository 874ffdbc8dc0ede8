namespace Actipress;

/// <summary>The coefficients of one large map, which are computed anew each time that they are gone through.</summary>
sealed unsafe class GridLargeMap<TFace, TCells>(GridWavelet wavelet, void* maps, long map, int threads) : ICoefficients where TFace : struct, IGridFace where TCells : struct, IGridCells
{
    // A pass costs the transform, so there are few of them.
    public ReadOnlySpan<int> Digits => [16, 15];

    public void Each<TTally>(Func<TTally> begin, Action<TTally> end) where TTally : ITally
    {
        var parts = Math.Min(threads, wavelet.Parts);
        var work = new CpuTeam.Shares(parts, threads);
        var gate = new Lock();
        work.Run(() =>
        {
            var tally = begin();
            using (var bands = new GridAnalysis<TFace, TCells>(wavelet, maps))
            using (var rows = new Rows<TTally>(wavelet, tally))
                for (int part = 0, last = 0; part < last || work.Take(out part, out last); part++)
                {
                    bands.Divide(map, part, parts, rows);
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
