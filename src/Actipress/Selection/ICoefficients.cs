namespace Actipress;

/// <summary>Coefficients that are read in their order, as often as wanted.</summary>
interface ICoefficients
{
    /// <summary>Some of them from the <paramref name="start"/>-th on, valid until the next call; none at the end.</summary>
    ReadOnlySpan<float> From(long start);
}

/// <summary>Coefficients in memory.</summary>
readonly ref struct AllAtOnce(ReadOnlySpan<float> all) : ICoefficients
{
    readonly ReadOnlySpan<float> all = all;

    public ReadOnlySpan<float> From(long start) => all[(int)start..];
}
