using System.Collections.Concurrent;

namespace Actipress.Autograd;

/// <summary>
/// Records the saved tensors that could not be unpacked in this thread's backward pass, while this object lives. A backward pass runs on
/// the thread that called it. For tensors on a GPU it runs on the engine's own threads, which serve every backward pass.
/// </summary>
sealed class UnpackFailures : IDisposable
{
    // The name that libtorch gives its engine's threads.
    const string EngineThread = "pt_autograd";

    static readonly ConcurrentDictionary<UnpackFailures, bool> listening = new();
    [ThreadStatic] static UnpackFailures? innermost;

    readonly UnpackFailures? outer = innermost;
    Exception? here, onTheEnginesThreads;

    public UnpackFailures()
    {
        innermost = this;
        listening[this] = true;
    }

    /// <summary>
    /// The first failure on this thread, which is the cause of later ones; where there is none, the first on an engine's thread, which may
    /// belong to a backward pass that another thread runs at the same time.
    /// </summary>
    public Exception? First => here ?? onTheEnginesThreads;

    /// <summary>Records a failure in a callback on this thread.</summary>
    public static void Tell(Exception failure)
    {
        if (innermost is { } own) own.here ??= failure;
        else if (!listening.IsEmpty && IsEngineThread())
            foreach (var listener in listening.Keys) listener.onTheEnginesThreads ??= failure;
        else CauseOfFailure.Of(failure);
    }

    /// <summary>Records a failure in a callback on this thread, and makes this thread's backward pass throw at its end.</summary>
    /// <param name="failure">The failure.</param>
    /// <param name="why">The text of libtorch's error, of up to 15 letters.</param>
    public static void FailBackward(Exception failure, string why = "tensor is lost")
    {
        Tell(failure);
        LibTorch.FailBackward(why);
    }

    // On Windows libtorch's threads have no names.
    static bool IsEngineThread()
    {
        if (!OperatingSystem.IsLinux()) return false;
        try { return File.ReadAllText("/proc/thread-self/comm").StartsWith(EngineThread, StringComparison.Ordinal); }
        catch (IOException) { return false; }
    }

    public void Dispose()
    {
        innermost = outer;
        listening.TryRemove(this, out _);
    }
}
