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

/// <summary>Coefficients in memory.</summary>
readonly ref struct AllAtOnce(ReadOnlySpan<float> all) : ICoefficients
{
    readonly ReadOnlySpan<float> all = all;

    public ReadOnlySpan<int> Digits => [TopK.FirstBits, TopK.SecondBits, TopK.ThirdBits];

    public void Each<TTally>(Func<TTally> begin, Action<TTally> end) where TTally : ITally
    {
        var tally = begin();
        tally.See(all);
        end(tally);
    }
}
