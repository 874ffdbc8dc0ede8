using Actipress.Accounting;

namespace Actipress;

/// <summary>
/// What the allocator holds: now, and at its peak since the meter was started. On the CPU libtorch keeps its tensors in the C allocator.
/// Unlike the process's resident set it sees every tensor exactly, whether its pages were touched or not.
/// </summary>
/// <remarks>
/// The level is glibc's <c>mallinfo2()</c>, <c>uordblks + hblkhd</c>. For the peak the meter looks in before each allocation of
/// libtorch's CPU allocator of 16 KiB or more, and before a codec frees what it worked in, so no moment is missed. Linux with glibc
/// only, and not under a preloaded allocator such as tcmalloc or jemalloc. One process, one level: whatever else allocates meanwhile
/// counts too. Of a CUDA device the level is that of torch's caching allocator, exactly where its figures can be
/// had, else what the driver calls used: see <see cref="SourceOn"/>.
/// </remarks>
public sealed class AllocatorMeter : IDisposable
{
    readonly CudaAllocator? cuda;
    long peak;

    AllocatorMeter(CudaAllocator? cuda)
    {
        this.cuda = cuda;
        peak = LevelBytes;
    }

    /// <summary>Starts to follow the peak; dispose the meter to end it.</summary>
    /// <param name="device">Whose memory: the CPU, or a CUDA device. By default the CPU.</param>
    /// <exception cref="PlatformNotSupportedException">There is no glibc, the process allocates with another library, or libtorch's allocator is not the known one; or no such device.</exception>
    public static AllocatorMeter Start(torch.Device? device = null)
    {
        var cuda = CudaOf(device);
        return Start(cuda);
    }

    internal static AllocatorMeter Start(CudaAllocator? cuda)
    {
        var meter = new AllocatorMeter(cuda);
        if (cuda is null) AllocationWatch.Add(meter);
        else cuda.Add(meter);
        return meter;
    }

    static CudaAllocator? CudaOf(torch.Device? device) => (device?.type ?? DeviceType.CPU) switch
    {
        DeviceType.CPU => null,
        DeviceType.CUDA => CudaAllocator.Of(device!.index),
        _ => throw new PlatformNotSupportedException($"No allocator's figures of {device}: wanted the CPU or a CUDA device."),
    };

    /// <summary>Bytes that a device's allocator has given out and not got back.</summary>
    /// <param name="device">The CPU, or a CUDA device.</param>
    /// <exception cref="PlatformNotSupportedException">Its figures are not to be had here.</exception>
    public static long BytesOn(torch.Device device) => CudaOf(device)?.CurrentBytes ?? CurrentBytes;

    /// <summary>Where a device's figures come from, in words.</summary>
    /// <param name="device">The CPU, or a CUDA device.</param>
    /// <exception cref="PlatformNotSupportedException">Its figures are not to be had here.</exception>
    public static string SourceOn(torch.Device device) => CudaOf(device) switch
    {
        null => "the C allocator, exactly",
        { IsExact: true } => "torch's caching allocator, exactly",
        _ => "the driver's used memory, of all processes, at the moments when it is read",
    };

    /// <summary>Gives memory of a CUDA device that no tensor uses back to the driver, as <c>torch.cuda.empty_cache()</c> does in Python; on the CPU does nothing.</summary>
    /// <param name="device">The device.</param>
    /// <exception cref="PlatformNotSupportedException">There is no such device.</exception>
    public static void EmptyCache(torch.Device device) => CudaOf(device)?.EmptyCache();

    /// <summary>Bytes that are given out now on the meter's device.</summary>
    public long LevelBytes => cuda?.CurrentBytes ?? CurrentBytes;

    /// <summary>Bytes that the process's C allocator has given out and not got back.</summary>
    /// <remarks>The first reading makes and disposes a tensor of 64 MiB, whose pages it does not touch, to see that the level follows.</remarks>
    /// <exception cref="PlatformNotSupportedException">
    /// There is no glibc here, or the process allocates with another library, such as a preloaded tcmalloc or jemalloc; the message names it.
    /// </exception>
    public static long CurrentBytes => CAllocator.CurrentBytes;

    /// <summary>The highest level since the start or the last <see cref="ResetPeak"/>.</summary>
    public long PeakBytes
    {
        get
        {
            cuda?.Tell(begin: false);
            Reach(LevelBytes);
            return Interlocked.Read(ref peak);
        }
    }

    /// <summary>Begins anew with the present level.</summary>
    public void ResetPeak()
    {
        cuda?.Tell(begin: true);
        Interlocked.Exchange(ref peak, LevelBytes);
    }

    internal void Reach(long level)
    {
        for (var known = Interlocked.Read(ref peak); known < level;)
        {
            var found = Interlocked.CompareExchange(ref peak, level, known);
            if (found == known) break;
            known = found;
        }
    }

    /// <summary>
    /// Lets finalizers free what was left to them, so that what they free is not taken for part of what is measured next. Takes a full
    /// garbage collection: before a measurement, not in a training loop.
    /// </summary>
    public static void Settle()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    /// <summary>Lets running meters see the level at this moment, for memory that does not come from libtorch's allocator.</summary>
    internal static void LookIn() => AllocationWatch.LookIn();

    /// <inheritdoc/>
    public void Dispose()
    {
        if (cuda is null) AllocationWatch.Remove(this);
        else cuda.Remove(this);
    }
}
