namespace Actipress.Selection;

/// <summary>The second stage: which coefficients are kept (paper, Section 3.2).</summary>
abstract record Keep
{
    /// <summary>Selects the kept ones of <paramref name="coefficients"/>; the caller disposes the result.</summary>
    /// <param name="coefficients">Flat float32, finite; not disposed.</param>
    /// <param name="elements">N: elements of the map, which may be slightly fewer than its coefficients.</param>
    internal abstract Kept Select(Tensor coefficients, long elements);

    /// <summary>The number of kept coefficients; null where it depends on the coefficients.</summary>
    internal abstract long? Count(long coefficients, long elements);

    /// <summary>Keeps every coefficient.</summary>
    public sealed record Everything : Keep
    {
        internal override Kept Select(Tensor coefficients, long elements) => new(null, coefficients.alias());

        internal override long? Count(long coefficients, long elements) => coefficients;
    }

    /// <summary>Keeps the coefficients of largest magnitude: one in <paramref name="Ratio"/>.</summary>
    /// <remarks>
    /// Compact storage and the paper's keep exactly k = floor(N / ratio), at least one, where the lowest index wins a tie; at ratio 1 they
    /// keep all. Grid storage, the default, estimates the k-th largest magnitude from a sample of a large map's tiles and keeps every
    /// coefficient that reaches it, which are about k. A small map is its own sample. Near ratio 1 the threshold has a lower bound, at
    /// which one coefficient in 64 is an escape.
    /// </remarks>
    /// <param name="Ratio">The compression ratio, lambda in the paper: 1 or more.</param>
    public sealed record TopK(double Ratio) : Keep
    {
        internal override Kept Select(Tensor coefficients, long elements) =>
            Selection.TopK.Select(coefficients, Count(coefficients.NumberOfElements, elements)!.Value);

        internal override long? Count(long coefficients, long elements) =>
            Ratio == 1 ? coefficients : Selection.TopK.Count(elements, Ratio);
    }

    /// <summary>Keeps the coefficients whose magnitude is above a threshold.</summary>
    /// <param name="Threshold">The threshold: zero or more.</param>
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

/// <summary>The kept coefficients: their positions and values.</summary>
/// <param name="Positions">int64 (k), rising; null where all were kept.</param>
/// <param name="Values">float32 (k).</param>
readonly record struct Kept(Tensor? Positions, Tensor Values) : IDisposable
{
    /// <summary>Takes the coefficients where <paramref name="chosen"/>, a bool tensor, is true.</summary>
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
