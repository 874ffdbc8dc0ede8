using Actipress.Accounting;
using Actipress.Autograd;

namespace Actipress;

/// <summary>
/// Measures the memory that the allocator holds: the current level, and the peak since the meter was started. On the CPU libtorch keeps its
/// tensors in the C allocator. Unlike the process's resident set, the level counts every tensor exactly, whether its pages were touched or
/// not.
/// </summary>
/// <remarks>
/// The level is glibc's <c>mallinfo2()</c>, <c>uordblks + hblkhd</c>. For the peak the meter reads the level before each allocation of 16
/// KiB or more of libtorch's CPU allocator, and before a codec frees its workspace, so that no peak is missed. A process has one level, so
/// that all other allocations of the process count too. Where glibc's level says nothing of tensors, which is so on Windows and under a
/// preloaded allocator such as tcmalloc or jemalloc, the level is a count of libtorch's blocks of 16 KiB or more and of the codecs' memory,
/// from the first read on. On a CUDA device the level is that of torch's caching allocator, where its figures can be read; otherwise it is
/// the memory that the driver reports as used: see <see cref="SourceOn"/>.
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

    /// <summary>Starts to measure the peak, until the meter is disposed.</summary>
    /// <param name="device">The device whose memory is measured: the CPU (the default), or a CUDA device.</param>
    /// <exception cref="PlatformNotSupportedException">
    /// libtorch's allocator is not the known one, or there is no such device.
    /// </exception>
    public static AllocatorMeter Start(torch.Device? device = null)
    {
        var cuda = CudaOf(device ?? torch.CPU);
        return Start(cuda);
    }

    internal static AllocatorMeter Start(CudaAllocator? cuda)
    {
        var meter = new AllocatorMeter(cuda);
        if (cuda is null) AllocationWatch.Add(meter);
        else cuda.Add(meter);
        return meter;
    }

    static CudaAllocator? CudaOf(torch.Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return device.type switch
        {
            DeviceType.CPU => null,
            DeviceType.CUDA => CudaAllocator.Of(device.index),
            _ => throw new PlatformNotSupportedException($"No allocator's figures of {device}: wanted the CPU or a CUDA device."),
        };
    }

    /// <summary>The number of bytes that a device's allocator has handed out and that were not freed.</summary>
    /// <param name="device">The CPU, or a CUDA device.</param>
    /// <exception cref="PlatformNotSupportedException">Its figures are not to be had here.</exception>
    public static long BytesOn(torch.Device device) => CudaOf(device)?.CurrentBytes ?? CurrentBytes;

    /// <summary>The source of a device's figures, in words.</summary>
    /// <param name="device">The CPU, or a CUDA device.</param>
    /// <exception cref="PlatformNotSupportedException">Its figures are not to be had here.</exception>
    public static string SourceOn(torch.Device device) => CudaOf(device) switch
    {
        null when CAllocator.Refusal is { } why => $"libtorch's blocks of 16 KiB or more and the codecs' memory, counted, since {why}",
        null => "the C allocator, exactly",
        { IsExact: true } => "torch's caching allocator, exactly",
        _ => "the driver's used memory, of all processes, at the moments when it is read",
    };

    /// <summary>Whether a device's figures are an allocator's own, to the byte.</summary>
    /// <param name="device">The CPU, or a CUDA device.</param>
    /// <exception cref="PlatformNotSupportedException">Its figures are not to be had here.</exception>
    public static bool IsExactOn(torch.Device device) => CudaOf(device)?.IsExact ?? CAllocator.Refusal is null;

    /// <summary>
    /// Returns the memory of a CUDA device that no tensor uses to the driver, as <c>torch.cuda.empty_cache()</c> in Python. Does nothing on
    /// the CPU.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <exception cref="PlatformNotSupportedException">There is no such device.</exception>
    public static void EmptyCache(torch.Device device) => CudaOf(device)?.EmptyCache();

    /// <summary>The current number of allocated bytes on the meter's device.</summary>
    public long LevelBytes => cuda?.CurrentBytes ?? CurrentBytes;

    /// <summary>
    /// The number of bytes that the process's C allocator has handed out and that were not freed; or those that were counted so far.
    /// </summary>
    /// <remarks>
    /// The first read makes and disposes a tensor of 64 MiB, whose pages it does not touch, to test that the level changes with it.
    /// </remarks>
    /// <exception cref="PlatformNotSupportedException">
    /// Blocks would have to be counted, and libtorch's allocator is not the known one.
    /// </exception>
    public static long CurrentBytes
    {
        get
        {
            if (CAllocator.Refusal is null) return CAllocator.Level;
            AllocationWatch.Count();
            return CountedBlocks.Bytes;
        }
    }

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

    /// <summary>Resets the peak to the current level.</summary>
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
    /// Runs all pending finalizers, so that memory that they free does not distort the next measurement. This takes a full garbage
    /// collection: call it before a measurement, not in a training loop.
    /// </summary>
    public static void Settle()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        FinalizedHandles.Free(atOnce: true);
    }

    /// <summary>Lets running meters read the current level, for memory that does not come from libtorch's allocator.</summary>
    internal static void LookIn() => AllocationWatch.LookIn();

    /// <inheritdoc/>
    public void Dispose()
    {
        if (cuda is null) AllocationWatch.Remove(this);
        else cuda.Remove(this);
    }
}
