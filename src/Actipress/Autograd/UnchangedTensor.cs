namespace Actipress.Autograd;

/// <summary>A saved tensor that is kept as it is, with libtorch's own protection against changes in place.</summary>
sealed class UnchangedTensor : IDisposable
{
    readonly Tensor tensor;
    readonly long version;
    readonly string? weight;

    /// <param name="saved">The tensor; not disposed.</param>
    /// <param name="weightOf">
    /// The layer whose weight the tensor is, for error messages; null where the layer is not known, or the tensor is no weight.
    /// </param>
    public UnchangedTensor(Tensor saved, string? weightOf = null)
    {
        tensor = saved.detach();
        tensor.DetachFromDisposeScope();
        version = LibTorch.Version(saved);
        if (weightOf is not null) weight = $"A weight of {weightOf}";
        else if (LibTorch.IsParameterOrView(saved)) weight = "A weight";
    }

    public long Bytes => tensor.Bytes();

    /// <summary>Returns the tensor again, for the caller to dispose.</summary>
    /// <exception cref="InvalidOperationException">The tensor was changed in place since it was saved.</exception>
    public Tensor Again()
    {
        if (LibTorch.Version(tensor) == version) return tensor.alias();
        throw new InvalidOperationException(
            $"{weight ?? "A tensor"} of shape ({string.Join(", ", tensor.shape)}) that the backward pass needs " +
            "has been changed in place since the forward pass: " +
            $"found version {LibTorch.Version(tensor)}, wanted {version}. " +
            (weight is null ? "Replace the in-place operation."
                : "That is what optimizer.step() does: call backward() before it, or run the forward pass again. StepInBackward does it " +
                  "as soon as the weight's gradient is whole: run one backward pass for each forward pass, and clone a weight where it " +
                  "is detached."));
    }

    public void Dispose() => tensor.Dispose();
}
