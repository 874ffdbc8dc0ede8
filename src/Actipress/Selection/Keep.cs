namespace Actipress;

/// <summary>The second stage: which coefficients are kept (paper, Section 3.2).</summary>
public abstract record Keep
{
    /// <summary>Every coefficient.</summary>
    public sealed record Everything : Keep;

    /// <summary>The k = floor(N / ratio) largest by magnitude, the lowest index winning a tie; N counts the map's elements.</summary>
    /// <param name="Ratio">The compression ratio, lambda in the paper: 1 or more.</param>
    public sealed record TopK(double Ratio) : Keep;

    /// <summary>Those whose magnitude is above a threshold.</summary>
    /// <param name="Threshold">Zero or more.</param>
    public sealed record Above(float Threshold) : Keep;
}
