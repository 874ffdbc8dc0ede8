namespace Actipress.Tests.Scalars;

/// <summary>
/// A thread that collects and finalizes without pause until it is disposed. Objects that nothing holds are finalized at once.
/// </summary>
sealed class BusyCollector : IDisposable
{
    readonly Thread thread;
    volatile bool ended;

    public BusyCollector()
    {
        thread = new Thread(Collect) { IsBackground = true };
        thread.Start();
    }

    void Collect()
    {
        while (!ended)
        {
            // The objects of a call are in the youngest generation, whose collections are the quickest and most frequent.
            GC.Collect(0, GCCollectionMode.Forced, blocking: true);
            GC.WaitForPendingFinalizers();
        }
    }

    public void Dispose()
    {
        ended = true;
        thread.Join();
    }
}
