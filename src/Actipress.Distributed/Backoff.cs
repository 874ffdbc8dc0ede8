using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Actipress.Distributed;

/// <summary>
/// Polls with pauses, so that threads that compute keep the core, and with a time limit.
/// </summary>
struct Backoff(TimeSpan patience)
{
    // Most small messages arrive within the first tries. Later each sleep is twice as long as the one before, between these bounds.
    const int TriesAtOnce = 50, ShortestMicroseconds = 20, LongestMicroseconds = 200;

    readonly long begun = Stopwatch.GetTimestamp();
    int tries;
    uint microseconds = ShortestMicroseconds;

    /// <summary>Waits before the next try; false where the time limit is reached.</summary>
    public bool Pause()
    {
        if (++tries < TriesAtOnce) return true;
        if (Stopwatch.GetElapsedTime(begun) > patience) return false;
        _ = Sleep(microseconds);
        microseconds = Math.Min(LongestMicroseconds, 2 * microseconds);
        return true;
    }

    [DllImport("libc", EntryPoint = "usleep")]
    static extern int Sleep(uint microseconds);
}
