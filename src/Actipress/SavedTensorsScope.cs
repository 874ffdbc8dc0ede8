using System.Collections.Concurrent;
using Actipress.Autograd;

namespace Actipress;

/// <summary>A part of a forward pass whose saved tensors go through hooks. Made by <see cref="SavedTensors"/>; ends with <see cref="Dispose"/>.</summary>
public sealed class SavedTensorsScope : IDisposable
{
    [ThreadStatic] static SavedTensorsScope? innermost;
    [ThreadStatic] static int paused;
    [ThreadStatic] static bool runsApart;

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

    /// <summary>Whether what this thread saves goes to a checkpoint, which keeps none of it.</summary>
    internal static bool InCheckpoint => Active?.hooks is CheckpointFrame;

    /// <summary>Runs <paramref name="action"/> as on a thread of its own that has this one scope, although a callback may be running.</summary>
    internal static void RunApart(SavedTensorHooks hooks, Action action)
    {
        var before = (paused, innermost, runsApart);
        (paused, innermost, runsApart) = (0, new SavedTensorsScope(hooks, null), true);
        try { action(); }
        finally { (paused, innermost, runsApart) = before; }
    }

    /// <summary>Whether this thread is inside <see cref="RunApart"/>.</summary>
    internal static bool RunsApart => runsApart;

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
        using var tensor = LibTorch.Wrap(native);
        return Pack(tensor, hooks.Pack);
    }

    /// <summary>Packs what a checkpoint's block was given, to run it again on.</summary>
    internal SavedTensor PackInput(Tensor tensor, torch.nn.Module? block) => Pack(tensor, input => hooks.PackInput(input, block));

    SavedTensor Pack(Tensor tensor, Func<Tensor, SavedTensor> pack)
    {
        paused++;
        try { return pack(tensor); }
        catch (Exception failure)
        {
            Record(failure, whilePacking: true);
            return new PassedOn(tensor);
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
}
