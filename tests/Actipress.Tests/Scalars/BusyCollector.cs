namespace Actipress.Tests.Scalars;

/// <summary>A thread that collects and finalizes without pause until it is disposed: what nobody holds is gone at once.</summary>
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
            // What a call has just made is in the youngest generation, whose collections take least time and come most often.
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
