namespace Actipress.Autograd;

/// <summary>What happens to each tensor that autograd saves while a scope with these hooks is active.</summary>
abstract class SavedTensorHooks
{
    /// <summary>Whether it wants to know which operation saves: see <see cref="OperationObserver"/>.</summary>
    public virtual bool WatchesOperations => false;

    /// <summary>Called in the forward pass, without gradients and with hooks off.</summary>
    /// <param name="tensor">The saved tensor itself; the caller disposes this wrapper right after.</param>
    public abstract SavedTensor Pack(Tensor tensor);

    /// <summary>As <see cref="Pack"/>, for a tensor that a checkpoint's block was given and is to run on again: all its values are needed.</summary>
    /// <param name="tensor">The tensor; the caller keeps it.</param>
    /// <param name="block">The block; null where it is a function.</param>
    public virtual SavedTensor PackInput(Tensor tensor, torch.nn.Module? block) => Pack(tensor);

    /// <summary>
    /// Told of each operation's end on a thread where these are the innermost hooks, where <see cref="Operation.TellsResults"/>.
    /// </summary>
    /// <param name="frame">The operation, with its arguments.</param>
    /// <param name="results">The implementations of its results; 0 for what is no tensor.</param>
    public virtual void Ended(in Frame frame, ReadOnlySpan<nint> results) { }

    /// <summary>What is kept in place of a tensor that <see cref="Pack"/> has failed for: by default the tensor as it is.</summary>
    public virtual SavedTensor NotPacked(Tensor tensor, Exception failure) => new PassedOn(tensor);

    /// <summary>Told of an exception in pack or in unpack or disposal. Must not throw.</summary>
    public virtual void Failed(Exception failure, bool whilePacking) { }
}

/// <summary>What is kept of one saved tensor. libtorch disposes it when the graph no longer needs it, on any thread.</summary>
abstract class SavedTensor : IDisposable
{
    /// <summary>The shape and type of the tensor that was saved: those of its stand-in where it is lost.</summary>
    public (long[] Shape, torch.ScalarType Type)? Saved { get; set; }

    /// <summary>Called in the backward pass, once for each time that a saved tensor is needed.</summary>
    /// <returns>A tensor that the caller disposes once libtorch has a reference of its own.</returns>
    public abstract Tensor Unpack();

    /// <inheritdoc/>
    public abstract void Dispose();
}
