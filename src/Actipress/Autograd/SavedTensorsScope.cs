using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Actipress.Autograd;

namespace Actipress;

/// <summary>A part of a forward pass whose saved tensors go through hooks. Made by <see cref="SavedTensors"/>; ends with <see cref="Dispose"/>.</summary>
public sealed class SavedTensorsScope : IDisposable
{
    [ThreadStatic] static SavedTensorsScope? innermost;
    [ThreadStatic] static int paused;
    [ThreadStatic] static bool runsApart;
    [ThreadStatic] static string? forbidden;

    readonly SavedTensorHooks hooks;
    readonly ConcurrentQueue<Exception> failures = new();
    SavedTensorsScope? outer;
    volatile bool ended;

    SavedTensorsScope(SavedTensorHooks hooks, SavedTensorsScope? outer) => (this.hooks, this.outer) = (hooks, outer);

    /// <summary>Opens a scope on this thread, inside whatever scope is open.</summary>
    /// <exception cref="InvalidOperationException">Hooks are forbidden on this thread.</exception>
    internal static SavedTensorsScope Enter(SavedTensorHooks hooks)
    {
        if (forbidden is not null) throw new InvalidOperationException(forbidden);
        ForgetEnded();
        // Scopes that have ended below open ones: two compressions that take turns leave one behind at each turn.
        for (var scope = innermost; scope?.outer is { } next;)
        {
            if (next.ended) scope.outer = next.outer;
            else scope = next;
        }
        if (hooks.WatchesOperations) OperationObserver.Watch(true);
        return innermost = new SavedTensorsScope(hooks, innermost);
    }

    /// <summary>The scope of all threads that have none of their own; null for none.</summary>
    internal static SavedTensorsScope? OfThreadsWithout { get; set; }

    /// <summary>A scope for <see cref="OfThreadsWithout"/>.</summary>
    internal static SavedTensorsScope Shared(SavedTensorHooks hooks) => new(hooks, null);

    /// <summary>The scope that this thread's saved tensors go to now; null for none.</summary>
    internal static SavedTensorsScope? Active
    {
        get
        {
            ForgetEnded();
            return paused > 0 ? null : innermost ?? OfThreadsWithout;
        }
    }

    /// <summary>The hooks of the scope that is open on this thread now; null for none.</summary>
    internal static SavedTensorHooks? ActiveHooks
    {
        get
        {
            ForgetEnded();
            return paused > 0 ? null : innermost?.hooks;
        }
    }

    /// <summary>How many scopes this thread holds, those that have ended and still lie between others too.</summary>
    internal static int Depth
    {
        get
        {
            var depth = 0;
            for (var scope = innermost; scope is not null; scope = scope.outer) depth++;
            return depth;
        }
    }

    /// <summary>Whether what this thread saves goes to a checkpoint, which keeps none of it.</summary>
    internal static bool InCheckpoint => ActiveHooks is CheckpointFrame;

    /// <summary>Runs <paramref name="action"/> as on a thread of its own that has this one scope, although a callback may be running.</summary>
    internal static void RunApart(SavedTensorHooks hooks, Action action)
    {
        var before = (paused, innermost, runsApart, forbidden);
        (paused, innermost, runsApart, forbidden) = (0, new SavedTensorsScope(hooks, null), true, null);
        try { action(); }
        finally
        {
            (paused, innermost, runsApart, forbidden) = before;
            WatchOperations();
        }
    }

    /// <summary>Whether this thread is inside <see cref="RunApart"/>.</summary>
    internal static bool RunsApart => runsApart;

    static void ForgetEnded()
    {
        if (innermost is not { ended: true } && !OperationObserver.IsUnsettled) return;
        while (innermost is { ended: true }) innermost = innermost.outer;
        WatchOperations();
    }

    // The observer is on where an open scope of this thread asks for it.
    static void WatchOperations()
    {
        var wanted = false;
        for (var scope = innermost; scope is not null && !wanted; scope = scope.outer) wanted = !scope.ended && scope.hooks.WatchesOperations;
        OperationObserver.Watch(wanted);
    }

    /// <summary>Refuses scopes on this thread until the result is disposed.</summary>
    internal static IDisposable Forbid(string why)
    {
        if (ActiveHooks is not null) throw new InvalidOperationException($"Saved-tensor hooks are active on this thread and cannot be forbidden. {why}");
        return new Forbidden(why);
    }

    sealed class Forbidden : IDisposable
    {
        readonly string? before = forbidden;
        bool ended;

        public Forbidden(string why) => forbidden = why;

        public void Dispose()
        {
            if (ended) return;
            ended = true;
            forbidden = before;
        }
    }

    /// <summary>
    /// What went wrong, in order: in pack (a compression has kept the tensor as it is; for the functions of <see cref="SavedTensors.Hook"/>
    /// the tensor is lost) or in unpack (backward has thrown).
    /// </summary>
    public IReadOnlyCollection<Exception> Failures => failures;

    internal bool HasEnded => ended;

    /// <summary>Until it is disposed nothing that this thread saves is ours.</summary>
    internal static Paused Pause()
    {
        paused++;
        return default;
    }

    internal readonly struct Paused : IDisposable
    {
        public void Dispose() => paused--;
    }

    /// <summary>Throws the first of <see cref="Failures"/>, if there is one: after a forward pass an exception of the pack function.</summary>
    public void ThrowIfFailed()
    {
        if (failures.TryPeek(out var first)) ExceptionDispatchInfo.Throw(first);
    }

    /// <summary>Ends the scope. What it packed can still be unpacked. Scopes may end in any order.</summary>
    public void Dispose()
    {
        ended = true;
        ForgetEnded();
    }

    internal SavedTensor Pack(nint native)
    {
        using var tensor = LibTorch.Wrap(native);
        var saved = Pack(tensor, hooks.Pack);
        saved.Saved = (tensor.shape, tensor.dtype);
        return saved;
    }

    /// <summary>Packs what a checkpoint's block was given, to run it again on.</summary>
    internal SavedTensor PackInput(Tensor tensor, torch.nn.Module? block) => Pack(tensor, input => hooks.PackInput(input, block));

    /// <summary>Packs what an operation inside a checkpoint's block saves and the checkpoint keeps.</summary>
    internal SavedTensor PackInside(Tensor tensor) => Pack(tensor, hooks.Pack);

    SavedTensor Pack(Tensor tensor, Func<Tensor, SavedTensor> pack)
    {
        paused++;
        try { return pack(tensor); }
        catch (Exception failure)
        {
            Record(failure, whilePacking: true);
            return hooks.NotPacked(tensor, failure);
        }
        finally { paused--; }
    }

    /// <summary>An operation has ended on this thread.</summary>
    internal static void Ended(in Frame frame, ReadOnlySpan<nint> results)
    {
        if (ActiveHooks is not { } told) return;
        paused++;
        try { told.Ended(frame, results); }
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
        // A tensor that could not be packed fails with the same exception when it is asked for.
        if (!failures.Contains(failure)) failures.Enqueue(failure);
        hooks.Failed(failure, whilePacking);
    }
}
