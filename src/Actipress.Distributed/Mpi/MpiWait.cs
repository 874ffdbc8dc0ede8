using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Actipress.Distributed.Mpi;

/// <summary>Waits for requests of MPI without taking the processor from the threads that compute, and not for ever.</summary>
/// <param name="mpi">The library.</param>
static class MpiWait
{
    // Within the first tests most small messages arrive. Then sleeps of this many microseconds, each twice the one before.
    const int TestsAtOnce = 50, ShortestMicroseconds = 20, LongestMicroseconds = 200;

    [DllImport("libc", EntryPoint = "usleep")]
    static extern int Sleep(uint microseconds);

    /// <summary>Waits for all; false where <paramref name="patience"/> ended before.</summary>
    public static bool All(MpiLibrary mpi, Span<nint> requests, TimeSpan patience)
    {
        var begun = Stopwatch.GetTimestamp();
        uint microseconds = ShortestMicroseconds;
        for (var tests = 0; !Test(mpi, requests); tests++)
        {
            if (tests < TestsAtOnce) continue;
            if (Stopwatch.GetElapsedTime(begun) > patience) return false;
            _ = Sleep(microseconds);
            microseconds = Math.Min(LongestMicroseconds, 2 * microseconds);
        }
        return true;
    }

    static bool Test(MpiLibrary mpi, Span<nint> requests)
    {
        var all = true;
        foreach (ref var request in requests) all &= mpi.Test(ref request);
        return all;
    }
}
