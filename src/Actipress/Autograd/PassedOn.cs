namespace Actipress.Autograd;

/// <summary>A saved tensor that is kept as it is.</summary>
/// <param name="tensor">The tensor; not disposed.</param>
/// <param name="weightOf">The layer whose weight the tensor is; null where the layer is not known, or the tensor is no weight.</param>
sealed class PassedOn(Tensor tensor, string? weightOf = null) : SavedTensor
{
    readonly UnchangedTensor held = new(tensor, weightOf);
    public override Tensor Unpack() => held.Again();
    public override void Dispose() => held.Dispose();
}
