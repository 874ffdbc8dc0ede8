using System.Collections.Concurrent;
using Actipress.Autograd;

namespace Actipress;

/// <summary>A part of a forward pass whose saved tensors go through hooks. Made by <see cref="SavedTensors"/>; ends with <see cref="Dispose"/>.</summary>
public sealed class SavedTensorsScope : IDisposable
{
    [ThreadStatic] static SavedTensorsScope? innermost;
    [ThreadStatic] static int paused;

    readonly SavedTensorHooks hooks;
    readonly ConcurrentQueue<Exception> failures = new();
    readonly SavedTensorsScope? outer;
    volatile bool ended;

    SavedTensorsScope(SavedTensorHooks hooks, SavedTensorsScope? outer) => (this.hooks, this.outer) = (hooks, outer);

    /// <summary>Opens a scope on this thread, inside whatever scope is open.</summary>
    internal static SavedTensorsScope Enter(SavedTensorHooks hooks)
    {
        ForgetEnded();
        return innermost = new SavedTensorsScope(hooks, innermost);
    }

    /// <summary>The scope that this thread's saved tensors go to now; null for none.</summary>
    internal static SavedTensorsScope? Active
    {
        get
        {
            ForgetEnded();
            return paused > 0 ? null : innermost;
        }
    }

    static void ForgetEnded()
    {
        while (innermost is { ended: true }) innermost = innermost.outer;
    }

    /// <summary>What went wrong in pack (the tensor was kept as it is) or in unpack (backward has thrown), in order.</summary>
    public IReadOnlyCollection<Exception> Failures => failures;

    /// <summary>Ends the scope. What it packed can still be unpacked. Scopes may end in any order.</summary>
    public void Dispose() => ended = true;

    internal SavedTensor Pack(nint native)
    {
        paused++;
        try
        {
            using var tensor = LibTorch.Wrap(native);
            try { return hooks.Pack(tensor); }
            catch (Exception failure)
            {
                Record(failure, whilePacking: true);
                return new Raw(tensor);
            }
        }
        finally { paused--; }
    }

    internal void Unpack(SavedTensor saved, nint result)
    {
        paused++;
        try
        {
            using var tensor = saved.Unpack();
            LibTorch.Return(tensor, result);
        }
        finally { paused--; }
    }

    internal void Record(Exception failure, bool whilePacking)
    {
        failures.Enqueue(failure);
        hooks.Failed(failure, whilePacking);
    }

    /// <summary>A tensor kept as it is.</summary>
    sealed class Raw : SavedTensor
    {
        readonly Tensor tensor;
        public Raw(Tensor saved)
        {
            tensor = saved.detach();
            tensor.DetachFromDisposeScope();
        }
        public override Tensor Unpack() => tensor.alias();
        public override void Dispose() => tensor.Dispose();
    }
}
