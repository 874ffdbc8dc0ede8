using Actipress.Machine;

namespace Actipress;

/// <summary>Coefficients that are gone through as often as wanted.</summary>
interface ICoefficients
{
    /// <summary>How many bits of a magnitude each pass of a search for one takes, the leading ones first: 31 in all.</summary>
    ReadOnlySpan<int> Digits { get; }

    /// <summary>Shows all coefficients, in any order, to as many tallies as threads share the work.</summary>
    /// <param name="begin">Makes a tally; called from any thread.</param>
    /// <param name="end">Receives a tally that is complete; one call at a time.</param>
    void Each<TTally>(Func<TTally> begin, Action<TTally> end) where TTally : ITally;
}

/// <summary>What is counted of coefficients, by one thread.</summary>
interface ITally
{
    void See(ReadOnlySpan<float> some);
}

/// <summary>Coefficients in memory, from the first on so many.</summary>
readonly unsafe struct CoefficientsInMemory(float* first, long count, int threads) : ICoefficients
{
    // What a thread looks at before it asks for more; of fewer it is not worth to wake another.
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
