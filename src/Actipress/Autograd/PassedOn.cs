namespace Actipress.Autograd;

/// <summary>A saved tensor that is kept as it is.</summary>
sealed class PassedOn(Tensor tensor) : SavedTensor
{
    readonly HeldRaw held = new(tensor);
    public override Tensor Unpack() => held.Unpack();
    public override void Dispose() => held.Dispose();
}
