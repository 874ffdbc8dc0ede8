using System.Collections.Concurrent;
using Actipress.Autograd;
using Actipress.Gpu;

namespace Actipress.Accounting;

/// <summary>
/// The figures of torch's caching allocator for one CUDA device: bytes of tensors now and at most, as <c>torch.cuda.memory_allocated</c>
/// and <c>max_memory_allocated</c> give them in Python. TorchSharp offers neither.
/// </summary>
/// <remarks>
/// <para>libc10 exports <c>c10::GetAllocator</c>; what it gives for CUDA is a <c>c10::DeviceAllocator</c>, whose virtual functions are called by
/// their places in its table. <c>getDeviceStats</c> fills nine rows of three statistics (all blocks, small ones, large ones) of four
/// numbers (current, peak, allocated, freed); row 4 is bytes of blocks, row 8 bytes as asked for. A tensor of a known size proves that
/// before it is relied on.</para>
/// <para>Where the proof fails the level is what the driver says is not free: of all processes, the allocator's cache included, and the peak
/// is the highest level at the moments when somebody looked.</para>
/// </remarks>
sealed unsafe class CudaAllocator
{
    // Of c10::Allocator: two destructors, allocate, is_simple_data_ptr, raw_deleter, copy_data; of c10::DeviceAllocator: initialized,
    // emptyCache, recordStream, getDeviceStats, resetAccumulatedStats, resetPeakStats, getMemoryInfo.
    internal const int InitializedSlot = 6, EmptyCacheSlot = 7, StatsSlot = 9, ResetPeakSlot = 11;
    const int WordsOfRow = 3 * 4, AllocatedRow = 4, RequestedRow = 8, CurrentWord = 0, PeakWord = 1;

    // More than the structure has.
    const int StatsWords = 512;

    const int ProofBytes = 3 << 20;

    static readonly ConcurrentDictionary<int, Lazy<CudaAllocator>> devices = new();

    readonly nint allocator;
    readonly Func<long>? driverLevel;
    readonly sbyte index;
    readonly List<AllocatorMeter> meters = [];
    readonly Lock gate = new();

    /// <summary>The figures for <c>cuda:index</c>.</summary>
    /// <exception cref="PlatformNotSupportedException">There is no such device.</exception>
    public static CudaAllocator Of(int index) => devices.GetOrAdd(Math.Max(0, index), one => new(() => Open(one))).Value;

    static CudaAllocator Open(int index)
    {
        var count = torch.cuda.is_available() ? torch.cuda.device_count() : 0;
        if (index >= count) throw new PlatformNotSupportedException($"No allocator of cuda:{index} here: found {count} GPUs that libtorch can use.");
        var device = new torch.Device(DeviceType.CUDA, index);
        using (torch.zeros(1, device: device)) { }
        var getAllocator = (delegate* unmanaged[Cdecl]<sbyte*, nint>)LibTorch.SymbolIn("libc10.so", "_ZN3c1012GetAllocatorERKNS_10DeviceTypeE");
        var cudaType = (sbyte)DeviceType.CUDA;
        var allocator = getAllocator == null ? 0 : getAllocator(&cudaType);
        return new CudaAllocator(allocator, index, bytes => torch.empty(bytes, torch.uint8, device), () =>
        {
            var driver = CudaDriver.Here;
            var (free, total) = driver.Memory(driver.Context(index));
            return total - free;
        });
    }

    /// <param name="allocator">A <c>c10::DeviceAllocator</c>; 0 for none.</param>
    /// <param name="index">Of the device.</param>
    /// <param name="allocate">Makes a tensor of so many bytes there.</param>
    /// <param name="driverLevel">The driver's bytes that are not free.</param>
    public CudaAllocator(nint allocator, int index, Func<long, IDisposable> allocate, Func<long> driverLevel)
    {
        (this.allocator, this.index) = (allocator, (sbyte)index);
        if (!Proven(allocate)) this.driverLevel = driverLevel;
    }

    bool Proven(Func<long, IDisposable> allocate)
    {
        if (allocator == 0 || ((delegate* unmanaged[Cdecl]<nint, byte>)Function(InitializedSlot))(allocator) != 1) return false;
        var (requested, allocated) = (Stat(RequestedRow, CurrentWord), Stat(AllocatedRow, CurrentWord));
        using (allocate(ProofBytes))
        {
            // A block may be larger than what was asked for, by what is not worth splitting off.
            if (Stat(RequestedRow, CurrentWord) - requested != ProofBytes || Stat(AllocatedRow, CurrentWord) - allocated is < ProofBytes or > 2 * ProofBytes) return false;
            ResetPeakOfAllocator();
            if (Stat(AllocatedRow, PeakWord) != Stat(AllocatedRow, CurrentWord)) return false;
        }
        return (Stat(RequestedRow, CurrentWord), Stat(AllocatedRow, CurrentWord)) == (requested, allocated) && Stat(AllocatedRow, PeakWord) > allocated;
    }

    /// <summary>Whether the figures are the allocator's own; else they are the driver's.</summary>
    public bool IsExact => driverLevel is null;

    /// <summary>Bytes of tensors on the device; where that is not to be had, bytes that the driver calls used.</summary>
    public long CurrentBytes => driverLevel is null ? Stat(AllocatedRow, CurrentWord) : driverLevel();

    /// <summary>Gives memory that no tensor uses back to the driver, for other processes.</summary>
    public void EmptyCache()
    {
        if (allocator == 0) throw LibTorch.Unsupported("no allocator of CUDA tensors", "that of libtorch 2.10.0");
        ((delegate* unmanaged[Cdecl]<nint, ulong, ulong, void>)Function(EmptyCacheSlot))(allocator, 0, 0);
    }

    /// <summary>A meter follows the peak from here on.</summary>
    public void Add(AllocatorMeter meter)
    {
        lock (gate)
        {
            Tell(begin: true);
            meters.Add(meter);
        }
    }

    public void Remove(AllocatorMeter meter)
    {
        lock (gate) meters.Remove(meter);
    }

    /// <summary>Tells meters of the highest level since the last time; the allocator has one peak, and they have theirs.</summary>
    /// <param name="begin">Whether a peak of its own begins for one of them.</param>
    public void Tell(bool begin)
    {
        lock (gate)
        {
            var highest = driverLevel is null ? Stat(AllocatedRow, PeakWord) : driverLevel();
            foreach (var meter in meters) meter.Reach(highest);
            if (begin && driverLevel is null) ResetPeakOfAllocator();
        }
    }

    void ResetPeakOfAllocator() => ((delegate* unmanaged[Cdecl]<nint, sbyte, void>)Function(ResetPeakSlot))(allocator, index);

    nint Function(int slot) => (*(nint**)allocator)[slot];

    long Stat(int row, int word)
    {
        var stats = stackalloc long[StatsWords];
        ((delegate* unmanaged[Cdecl]<long*, nint, sbyte, long*>)Function(StatsSlot))(stats, allocator, index);
        return stats[row * WordsOfRow + word];
    }
}
