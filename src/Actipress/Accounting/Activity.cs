namespace Actipress.Accounting;

/// <summary>What runs at a moment of a step.</summary>
/// <param name="Backward">Whether in the backward pass.</param>
/// <param name="Layer">Whose; in the backward pass that of the map that was asked for last.</param>
readonly record struct Activity(bool Backward, Layer? Layer)
{
    public override string ToString() => (Backward ? "backward pass" : "forward pass") + (Layer is null || Layer.ToString().Length == 0 ? "" : $" of {Layer}");
}
