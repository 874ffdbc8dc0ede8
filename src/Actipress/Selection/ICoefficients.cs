using Actipress.Machine;

namespace Actipress.Selection;

/// <summary>Coefficients that can be read several times.</summary>
interface ICoefficients
{
    /// <summary>The number of bits of a magnitude that each pass of a search determines, from the leading bits on: 31 in all.</summary>
    ReadOnlySpan<int> Digits { get; }

    /// <summary>Passes all coefficients, in any order, to tallies; each thread that shares the work has one tally.</summary>
    /// <param name="begin">Makes a tally; called from any thread.</param>
    /// <param name="end">Receives a tally that is complete; one call at a time.</param>
    void Each<TTally>(Func<TTally> begin, Action<TTally> end) where TTally : ITally;
}

/// <summary>A statistic of coefficients, counted by one thread.</summary>
interface ITally
{
    void See(ReadOnlySpan<float> some);
}

/// <summary>A number of coefficients in memory, from the first on.</summary>
readonly unsafe struct CoefficientsInMemory(float* first, long count, int threads) : ICoefficients
{
    // The number of coefficients that a thread takes at a time. For fewer it does not pay to wake another thread.
    const int Together = 1 << 14;

    public ReadOnlySpan<int> Digits => [TopK.FirstBits, TopK.SecondBits, TopK.ThirdBits];

    public void Each<TTally>(Func<TTally> begin, Action<TTally> end) where TTally : ITally
    {
        float* all = first;
        var length = count;
        var stretches = new CpuTeam.Shares((int)((length + Together - 1) / Together), threads);
        var gate = new Lock();
        stretches.Run(() =>
        {
            var tally = begin();
            while (stretches.Take(out var stretch, out var last))
            {
                var start = (long)stretch * Together;
                tally.See(new(all + start, (int)(Math.Min((long)last * Together, length) - start)));
            }
            lock (gate) end(tally);
        });
    }
}
