using System.Runtime.InteropServices;

namespace Actipress.Cli;

/// <summary>Ctrl-C, or a request to terminate: the first lets a command end after the step at hand, a second one ends the process at once.</summary>
sealed class Interruption : IDisposable
{
    readonly CancellationTokenSource source = new();
    readonly PosixSignalRegistration[] signals;
    int asked;

    public Interruption() => signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, Ask), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Ask)];

    public CancellationToken Token => source.Token;

    void Ask(PosixSignalContext signal)
    {
        // What is not cancelled is left to the system, which ends the process. Two signals may be handled at once.
        signal.Cancel = Interlocked.Increment(ref asked) == 1;
        if (signal.Cancel) source.Cancel();
    }

    public void Dispose()
    {
        foreach (var signal in signals) signal.Dispose();
        source.Dispose();
    }
}
