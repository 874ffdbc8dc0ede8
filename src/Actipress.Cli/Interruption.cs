using System.Runtime.InteropServices;
using Actipress.Distributed;

namespace Actipress.Cli;

/// <summary>
/// Ctrl-C, or a request to terminate. It ends a command at once, unless the command's work is worth keeping. Then the first Ctrl-C ends the
/// command after the current step, and a second one ends it at once.
/// </summary>
sealed class Interruption : IDisposable
{
    readonly CancellationTokenSource source = new();
    readonly PosixSignalRegistration[] signals;
    int asked, atWork;
    volatile bool silent;
    volatile string after = "";

    public Interruption() =>
        signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, Ask), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Ask)];

    /// <summary>The token that the first Ctrl-C during <see cref="AfterStep"/> cancels.</summary>
    public CancellationToken Token => source.Token;

    /// <summary>Until the result is disposed, Ctrl-C lets the current step end.</summary>
    /// <param name="silently">Whether no message is written, because the parent process writes it.</param>
    /// <param name="otherwise">The end of the message: what happens where the step takes too long.</param>
    public IDisposable AfterStep(bool silently = false, string otherwise = "Ctrl-C again to end now.")
    {
        (silent, after) = (silently, otherwise);
        Interlocked.Increment(ref atWork);
        return new AtWork(this);
    }

    sealed class AtWork(Interruption interruption) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref interruption.atWork);
    }

    // Of several ranks the first writes.
    static readonly bool isFirst = Ranks.Own is null or 0;

    void Ask(PosixSignalContext signal)
    {
        // A signal that is not cancelled ends the process by the system's default. Two signals may be handled at the same time.
        signal.Cancel = Volatile.Read(ref atWork) > 0 && Interlocked.Increment(ref asked) == 1;
        if (isFirst && !silent) Terminal.Say(signal.Cancel ? $"Ending after this step; {after}" : "Interrupted.");
        if (signal.Cancel) source.Cancel();
    }

    public void Dispose()
    {
        foreach (var signal in signals) signal.Dispose();
        source.Dispose();
    }
}
