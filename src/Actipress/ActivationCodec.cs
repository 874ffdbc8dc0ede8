namespace Actipress;

/// <summary>A way to store activation maps: transform, keep, encode. Immutable; compared by value.</summary>
public sealed record ActivationCodec
{
    /// <summary>The first stage.</summary>
    public required Transform Transform { get; init; }

    /// <summary>The second stage.</summary>
    public required Keep Keep { get; init; }

    /// <summary>The third stage.</summary>
    public required Encoding Encoding { get; init; }

    /// <summary>Whether a map with zeros and no negatives keeps its zeros exactly, at one bit an element. On by default.</summary>
    public bool ExactZeros { get; init; } = true;
}
