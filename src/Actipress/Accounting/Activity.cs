namespace Actipress.Accounting;

/// <summary>What runs at a moment of a step.</summary>
/// <param name="Backward">Whether in the backward pass.</param>
/// <param name="Layer">Whose, by name and type; in the backward pass that of the map that was asked for last. Null where none is known.</param>
readonly record struct Activity(bool Backward, string? Layer)
{
    public override string ToString() => (Backward ? "backward pass" : "forward pass") + (string.IsNullOrEmpty(Layer) ? "" : $" of {Layer}");
}
