using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Actipress.Autograd;

namespace Actipress;

/// <summary>
/// A part of a forward pass whose saved tensors pass hooks. <see cref="SavedTensors"/> makes it, and <see cref="Dispose"/> ends it.
/// </summary>
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
        // Scopes that have ended below open scopes. Two compressions that run in turn leave one such scope at each turn.
        for (var scope = innermost; scope?.outer is { } next;)
        {
            if (next.ended) scope.outer = next.outer;
            else scope = next;
        }
        innermost = new SavedTensorsScope(hooks, innermost);
        WatchOperations();
        return innermost;
    }

    /// <summary>The scope of all threads without a scope of their own; null for none.</summary>
    internal static SavedTensorsScope? OfThreadsWithout { get; set; }

    /// <summary>Makes a scope for <see cref="OfThreadsWithout"/>.</summary>
    internal static SavedTensorsScope Shared(SavedTensorHooks hooks) => new(hooks, null);

    /// <summary>The scope that receives this thread's saved tensors now; null for none.</summary>
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

    /// <summary>The number of scopes that this thread holds, with those that have ended and still lie between others.</summary>
    internal static int Depth
    {
        get
        {
            var depth = 0;
            for (var scope = innermost; scope is not null; scope = scope.outer) depth++;
            return depth;
        }
    }

    /// <summary>Whether this thread's saved tensors go to a checkpoint, which keeps none of them.</summary>
    internal static bool InCheckpoint => ActiveHooks is CheckpointFrame;

    /// <summary>Runs <paramref name="action"/> as if on a thread of its own that has only this scope, even within a callback.</summary>
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

    // The observer and the key of convolutions are on where an open scope of this thread needs them.
    static void WatchOperations()
    {
        OperationObserver.Watch(Open().Any(hooks => hooks.WatchesOperations));
        ConvolutionKey.Include(ConvolutionPieces is not null);
    }

    static IEnumerable<SavedTensorHooks> Open()
    {
        for (var scope = innermost; scope is not null; scope = scope.outer)
            if (!scope.ended) yield return scope.hooks;
    }

    /// <summary><see cref="SavedTensorHooks.ConvolutionPieces"/> of the innermost open scope of this thread that has it.</summary>
    internal static double? ConvolutionPieces =>
        Open().Select(hooks => hooks.ConvolutionPieces).FirstOrDefault(pieces => pieces is not null);

    /// <summary>Refuses scopes on this thread until the result is disposed.</summary>
    internal static IDisposable Forbid(string why)
    {
        if (ActiveHooks is not null)
            throw new InvalidOperationException($"Saved-tensor hooks are active on this thread and cannot be forbidden. {why}");
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
    /// The failures, in order. After a failure in pack a compression has kept the tensor as it is; for the functions of
    /// <see cref="SavedTensors.Hook"/> the tensor is lost. After a failure in unpack <c>backward()</c> has thrown.
    /// </summary>
    public IReadOnlyCollection<Exception> Failures => failures;

    internal bool HasEnded => ended;

    /// <summary>Until the result is disposed, hooks ignore the tensors that this thread saves.</summary>
    internal static Paused Pause()
    {
        paused++;
        return default;
    }

    internal readonly struct Paused : IDisposable
    {
        public void Dispose() => paused--;
    }

    /// <summary>
    /// Throws the first of <see cref="Failures"/>, if there is one. After a forward pass it is an exception of the pack function.
    /// </summary>
    public void ThrowIfFailed()
    {
        if (failures.TryPeek(out var first)) ExceptionDispatchInfo.Throw(first);
    }

    /// <summary>Ends the scope. Tensors that were packed under it can still be unpacked. Scopes may end in any order.</summary>
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

    /// <summary>Packs an input of a checkpoint's block, on which the block will run again.</summary>
    internal SavedTensor PackInput(Tensor tensor, torch.nn.Module? block) => Pack(tensor, input => hooks.PackInput(input, block));

    /// <summary>Packs a tensor that an operation inside a checkpoint's block saves and the checkpoint keeps.</summary>
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

    /// <summary>Called when an operation has ended on this thread.</summary>
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
        // A tensor that could not be packed fails with the same exception when it is unpacked.
        if (!failures.Contains(failure)) failures.Enqueue(failure);
        hooks.Failed(failure, whilePacking);
    }
}
