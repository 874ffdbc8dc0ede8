using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress;

/// <summary>
/// What the C allocator holds, which on the CPU is where libtorch keeps its tensors: now, and at its peak since the meter was started.
/// Unlike the process's resident set it sees every tensor exactly, whether its pages were touched or not.
/// </summary>
/// <remarks>
/// The level is glibc's <c>mallinfo2()</c>, <c>uordblks + hblkhd</c>. For the peak the meter looks in before each allocation of
/// libtorch's CPU allocator of 16 KiB or more, and before a codec frees what it worked in, so no moment is missed. Linux with glibc only. One process, one level: whatever else
/// allocates meanwhile counts too.
/// </remarks>
public sealed class AllocatorMeter : IDisposable
{
    const int Mapped = 4, UsedInArenas = 7;

    long peak;

    AllocatorMeter() => peak = CurrentBytes;

    /// <summary>Starts to follow the peak; dispose the meter to end it.</summary>
    /// <exception cref="PlatformNotSupportedException">There is no glibc, or libtorch's allocator is not the known one.</exception>
    public static AllocatorMeter Start()
    {
        var meter = new AllocatorMeter();
        AllocationWatch.Add(meter);
        return meter;
    }

    /// <summary>Bytes that the process's allocator has given out and not got back.</summary>
    /// <exception cref="PlatformNotSupportedException">There is no glibc here.</exception>
    public static long CurrentBytes
    {
        get
        {
            try
            {
                var info = mallinfo2();
                return (long)(info[UsedInArenas] + info[Mapped]);
            }
            catch (Exception missing) when (missing is DllNotFoundException or EntryPointNotFoundException)
            {
                throw new PlatformNotSupportedException("The allocator's level is not to be had here: wanted glibc 2.33 or newer with mallinfo2().", missing);
            }
        }
    }

    /// <summary>The highest level since the start or the last <see cref="ResetPeak"/>.</summary>
    public long PeakBytes
    {
        get
        {
            Reach(CurrentBytes);
            return Interlocked.Read(ref peak);
        }
    }

    /// <summary>Begins anew with the present level.</summary>
    public void ResetPeak() => Interlocked.Exchange(ref peak, CurrentBytes);

    internal void Reach(long level)
    {
        for (var known = Interlocked.Read(ref peak); known < level;)
        {
            var found = Interlocked.CompareExchange(ref peak, level, known);
            if (found == known) break;
            known = found;
        }
    }

    /// <summary>Lets running meters see the level at this moment, for memory that does not come from libtorch's allocator.</summary>
    internal static void LookIn() => AllocationWatch.LookIn();

    /// <inheritdoc/>
    public void Dispose() => AllocationWatch.Remove(this);

    // struct mallinfo2: arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost.
    [InlineArray(10)]
    struct MallocInfo
    {
        nuint first;
    }

    [DllImport("libc")]
    static extern MallocInfo mallinfo2();
}
