namespace Actipress.Autograd;

/// <summary>What happens to each tensor that autograd saves while a scope with these hooks is active.</summary>
abstract class SavedTensorHooks
{
    /// <summary>Whether the hooks need the operation that saves a tensor: see <see cref="OperationObserver"/>.</summary>
    public virtual bool WatchesOperations => false;

    /// <summary>
    /// The size of the pieces in which large convolutions are computed while a scope with these hooks is open, relative to the usual size;
    /// null where convolutions are computed whole.
    /// </summary>
    public virtual double? ConvolutionPieces => null;

    /// <summary>Called in the forward pass, without gradients and with hooks off.</summary>
    /// <param name="tensor">The saved tensor itself; the caller disposes this wrapper right after.</param>
    public abstract SavedTensor Pack(Tensor tensor);

    /// <summary>
    /// As <see cref="Pack"/>, for an input of a checkpoint's block, on which the block will run again: all its values are needed.
    /// </summary>
    /// <param name="tensor">The tensor; the caller keeps it.</param>
    /// <param name="block">The block; null where it is a function.</param>
    public virtual SavedTensor PackInput(Tensor tensor, torch.nn.Module? block) => Pack(tensor);

    /// <summary>
    /// Called at the end of each operation with <see cref="Operation.TellsResults"/>, on a thread where these are the innermost hooks.
    /// </summary>
    /// <param name="frame">The operation, with its arguments.</param>
    /// <param name="results">The implementations of its results; 0 for a result that is no tensor.</param>
    public virtual void Ended(in Frame frame, ReadOnlySpan<nint> results) { }

    /// <summary>The object that is kept where <see cref="Pack"/> has failed: by default the tensor as it is.</summary>
    public virtual SavedTensor NotPacked(Tensor tensor, Exception failure) => new PassedOn(tensor);

    /// <summary>Called with an exception of pack, unpack or disposal. Must not throw.</summary>
    public virtual void Failed(Exception failure, bool whilePacking) { }
}

/// <summary>
/// The object that is kept in place of one saved tensor. libtorch disposes it when the graph no longer needs it, on any thread.
/// </summary>
abstract class SavedTensor : IDisposable
{
    /// <summary>The shape and type of the saved tensor, which its stand-in has where the tensor is lost.</summary>
    public (long[] Shape, torch.ScalarType Type)? Saved { get; set; }

    /// <summary>Called in the backward pass each time a saved tensor is needed.</summary>
    /// <returns>A tensor that the caller disposes once libtorch has a reference of its own.</returns>
    public abstract Tensor Unpack();

    /// <inheritdoc/>
    public abstract void Dispose();
}
