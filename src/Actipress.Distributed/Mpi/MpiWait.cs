namespace Actipress.Distributed.Mpi;

/// <summary>Waits for requests of MPI, which makes progress while it is polled.</summary>
static class MpiWait
{
    /// <summary>Waits for all requests; false where <paramref name="patience"/> ended before.</summary>
    public static bool All(MpiLibrary mpi, Span<nint> requests, TimeSpan patience)
    {
        var backoff = new Backoff(patience);
        while (!Test(mpi, requests))
            if (!backoff.Pause()) return false;
        return true;
    }

    static bool Test(MpiLibrary mpi, Span<nint> requests)
    {
        var all = true;
        foreach (ref var request in requests) all &= mpi.Test(ref request);
        return all;
    }
}
