namespace Actipress.Accounting;

/// <summary>The computation that runs at a moment of a step.</summary>
/// <param name="Backward">Whether it belongs to the backward pass.</param>
/// <param name="Layer">
/// Its layer by name and type; in the backward pass the layer of the last map that was unpacked. Null where no layer is known.
/// </param>
readonly record struct Activity(bool Backward, string? Layer)
{
    public override string ToString() =>
        (Backward ? "backward pass" : "forward pass") + (string.IsNullOrEmpty(Layer) ? "" : $" of {Layer}");
}
