using System.Runtime.InteropServices;

namespace Actipress.Cli;

/// <summary>
/// Ctrl-C, or a request to terminate. It ends a command at once, unless the command is at work on something worth keeping: then the
/// first one lets it end after the step at hand, and a second one ends it at once.
/// </summary>
sealed class Interruption : IDisposable
{
    readonly CancellationTokenSource source = new();
    readonly PosixSignalRegistration[] signals;
    int asked, atWork;
    volatile bool silent;

    public Interruption() => signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, Ask), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Ask)];

    /// <summary>Cancelled by the first Ctrl-C that comes during <see cref="AfterStep"/>.</summary>
    public CancellationToken Token => source.Token;

    /// <summary>Until the result is disposed, Ctrl-C lets the step at hand end.</summary>
    /// <param name="silently">Without a word: in a process whose parent says it.</param>
    public IDisposable AfterStep(bool silently = false)
    {
        silent = silently;
        Interlocked.Increment(ref atWork);
        return new AtWork(this);
    }

    sealed class AtWork(Interruption interruption) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref interruption.atWork);
    }

    void Ask(PosixSignalContext signal)
    {
        // What is not cancelled is left to the system, which ends the process. Two signals may be handled at once.
        signal.Cancel = Volatile.Read(ref atWork) > 0 && Interlocked.Increment(ref asked) == 1;
        if (!silent) Terminal.Say(signal.Cancel ? "Ending after this step; Ctrl-C again to end now." : "Interrupted.");
        if (signal.Cancel) source.Cancel();
    }

    public void Dispose()
    {
        foreach (var signal in signals) signal.Dispose();
        source.Dispose();
    }
}
