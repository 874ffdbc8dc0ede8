using Actipress.Saving;

namespace Actipress.Autograd;

/// <summary>A saved tensor that is kept as it is.</summary>
/// <param name="tensor">The tensor; not disposed.</param>
/// <param name="weightOf">The layer whose weight it is; null where that is not known, or it is none.</param>
sealed class PassedOn(Tensor tensor, Layer? weightOf = null) : SavedTensor
{
    readonly HeldRaw held = new(tensor, weightOf);
    public override Tensor Unpack() => held.Unpack();
    public override void Dispose() => held.Dispose();
}
