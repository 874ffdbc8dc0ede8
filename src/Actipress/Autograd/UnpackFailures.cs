using System.Collections.Concurrent;

namespace Actipress.Autograd;

/// <summary>
/// Hears of every saved tensor that could not be given back while it lives: on CUDA the engine's threads, not the caller's, run the
/// backward pass.
/// </summary>
sealed class UnpackFailures : IDisposable
{
    static readonly ConcurrentDictionary<UnpackFailures, bool> listening = new();

    public UnpackFailures() => listening[this] = true;

    /// <summary>The first failure: it is the cause of later ones.</summary>
    public Exception? First { get; private set; }

    public static void Tell(Exception failure)
    {
        foreach (var listener in listening.Keys) listener.First ??= failure;
    }

    public void Dispose() => listening.TryRemove(this, out _);
}
