using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Actipress.Distributed;

/// <summary>
/// Waits for what must be asked for again and again, without taking the core from the threads that compute, and not for ever.
/// </summary>
struct Backoff(TimeSpan patience)
{
    // Most small messages arrive within the first tries. After them each sleep lasts twice as long as the one before, between these bounds.
    const int TriesAtOnce = 50, ShortestMicroseconds = 20, LongestMicroseconds = 200;

    readonly long begun = Stopwatch.GetTimestamp();
    int tries;
    uint microseconds = ShortestMicroseconds;

    /// <summary>Before the next try; false where the patience has ended.</summary>
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
