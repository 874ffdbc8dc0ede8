using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace Actipress.Autograd;

/// <summary>A user's pair of functions, from <see cref="SavedTensors.Hook"/>.</summary>
sealed class UserHooks(Func<Tensor, object?> pack, Func<object?, Tensor> unpack) : SavedTensorHooks
{
    // The number of saved tensors that still need an object, because one object may be returned for several.
    static readonly ConditionalWeakTable<object, Saves> saves = [];

    sealed class Saves
    {
        public int Count;
        public bool Disposed;
    }

    public override SavedTensor Pack(Tensor tensor)
    {
        // An output's own graph node holds the kept object. Keeping the output with its graph would make a cycle.
        var detached = tensor.detach();
        object? kept = null;
        try
        {
            kept = pack(detached);
            return new Kept(kept, unpack);
        }
        finally
        {
            if (ReferenceEquals(kept, detached)) detached.DetachFromDisposeScope();
            else detached.Dispose();
        }
    }

    // A program may rely on its functions receiving every tensor, so that passing a tensor on as it is would go unnoticed.
    public override SavedTensor NotPacked(Tensor tensor, Exception failure) => new Lost(failure);

    sealed class Lost(Exception failure) : SavedTensor
    {
        public override Tensor Unpack()
        {
            ExceptionDispatchInfo.Throw(failure);
            return null!;
        }

        public override void Dispose() { }
    }

    sealed class Kept : SavedTensor
    {
        readonly object? kept;
        readonly Func<object?, Tensor> unpack;
        readonly Saves? users;

        public Kept(object? kept, Func<object?, Tensor> unpack)
        {
            (this.kept, this.unpack) = (kept, unpack);
            if (kept is not IDisposable) return;
            users = saves.GetOrCreateValue(kept);
            lock (users)
            {
                if (users.Disposed)
                    throw new InvalidOperationException($"The pack function returned a {kept.GetType().Name} again that was disposed with "
                        + "an earlier graph, which was the last to need it: return a new one.");
                users.Count++;
            }
            (kept as Tensor)?.DetachFromDisposeScope();
        }

        public override Tensor Unpack()
        {
            if (kept is Tensor { IsInvalid: true }) throw Disposed("The tensor that the pack function returned", "the program");
            Tensor? tensor;
            try { tensor = unpack(kept); }
            catch (Exception failure) when (DisposedTensor.Caused(failure))
            {
                throw Disposed(
                    "A tensor that the unpack function uses",
                    "the program, or by the DisposeScope in which it was made (DetachFromDisposeScope keeps it)", failure);
            }
            if (tensor is null) throw new InvalidOperationException("The unpack function returned no tensor.");
            if (tensor.IsInvalid)
                throw Disposed("The tensor that the unpack function returned", "the function itself, or by a DisposeScope in it");
            return ReferenceEquals(tensor, kept) ? tensor.alias() : tensor;
        }

        static InvalidOperationException Disposed(string what, string who, Exception? cause = null) =>
            new($"{what} had been disposed by {who} when the backward pass needed it.", cause);

        public override void Dispose()
        {
            if (users is null) return;
            lock (users)
            {
                if (--users.Count > 0) return;
                users.Disposed = true;
            }
            ((IDisposable)kept!).Dispose();
        }
    }
}
