using static TorchSharp.torch;

namespace Actipress;

/// <summary>The second stage: which coefficients are kept (paper, Section 3.2).</summary>
public abstract record Keep
{
    /// <summary>Those of <paramref name="coefficients"/> that are kept; the caller disposes the result.</summary>
    /// <param name="coefficients">Flat float32, finite; not disposed.</param>
    /// <param name="elements">N: elements of the map, which may be slightly fewer than its coefficients.</param>
    internal abstract Kept Select(Tensor coefficients, long elements);

    /// <summary>How many those are; null where the coefficients themselves decide.</summary>
    internal abstract long? Count(long coefficients, long elements);

    /// <summary>Every coefficient.</summary>
    public sealed record Everything : Keep
    {
        internal override Kept Select(Tensor coefficients, long elements) => new(null, coefficients.alias());

        internal override long? Count(long coefficients, long elements) => coefficients;
    }

    /// <summary>The k = floor(N / ratio) largest by magnitude, the lowest index winning a tie; at ratio 1 all of them.</summary>
    /// <param name="Ratio">The compression ratio, lambda in the paper: 1 or more.</param>
    public sealed record TopK(double Ratio) : Keep
    {
        internal override Kept Select(Tensor coefficients, long elements) => Actipress.TopK.Select(coefficients, Count(coefficients.NumberOfElements, elements)!.Value);

        internal override long? Count(long coefficients, long elements) => Ratio == 1 ? coefficients : Actipress.TopK.Count(elements, Ratio);
    }

    /// <summary>Those whose magnitude is above a threshold.</summary>
    /// <param name="Threshold">Zero or more.</param>
    public sealed record Above(float Threshold) : Keep
    {
        internal override Kept Select(Tensor coefficients, long elements)
        {
            using var magnitudes = coefficients.abs();
            using var above = magnitudes.Gt(Threshold);
            return Kept.Where(above, coefficients);
        }

        internal override long? Count(long coefficients, long elements) => null;
    }
}

/// <summary>Coefficients that were kept: where they were, and what they are.</summary>
/// <param name="Positions">int64 (k), rising; null where all were kept.</param>
/// <param name="Values">float32 (k).</param>
readonly record struct Kept(Tensor? Positions, Tensor Values) : IDisposable
{
    /// <summary>The coefficients where <paramref name="chosen"/>, a bool tensor, is true.</summary>
    public static Kept Where(Tensor chosen, Tensor coefficients)
    {
        using var found = chosen.nonzero();
        var positions = found.reshape(-1);
        return new(positions, coefficients.index_select(0, positions));
    }

    public void Dispose()
    {
        Positions?.Dispose();
        Values.Dispose();
    }
}
