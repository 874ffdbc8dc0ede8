using System.Collections.Concurrent;
using Actipress.Autograd;
using Actipress.Gpu;

namespace Actipress.Accounting;

/// <summary>
/// The figures of torch's caching allocator for one CUDA device: the current and the highest number of bytes of tensors, as
/// <c>torch.cuda.memory_allocated</c> and <c>max_memory_allocated</c> in Python. TorchSharp offers neither.
/// </summary>
/// <remarks>
/// <para>libc10 exports <c>c10::GetAllocator</c>. For CUDA this function returns a <c>c10::DeviceAllocator</c>, whose virtual functions are
/// called by their positions in its table. <c>getDeviceStats</c> fills nine rows of three statistics (all, small and large blocks) of four
/// numbers (current, peak, allocated, freed). Row 4 is the bytes of blocks; row 8 is the requested bytes. A tensor of known size tests this
/// layout first.</para>
/// <para>Where the test fails, the level is the memory that the driver reports as not free, of all processes and with the allocator's
/// cache. The peak is then the highest level that was read.</para>
/// </remarks>
sealed unsafe class CudaAllocator
{
    // c10::Allocator has two destructors, allocate, is_simple_data_ptr, raw_deleter and copy_data. c10::DeviceAllocator adds initialized,
    // emptyCache, recordStream, getDeviceStats, resetAccumulatedStats, resetPeakStats and getMemoryInfo.
    internal const int InitializedSlot = 6, EmptyCacheSlot = 7, StatsSlot = 9, ResetPeakSlot = 11;
    const int WordsOfRow = 3 * 4, AllocatedRow = 4, RequestedRow = 8, CurrentWord = 0, PeakWord = 1;

    // A number of words that is larger than the structure.
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
        if (index >= count)
            throw new PlatformNotSupportedException($"No allocator of cuda:{index} here: found {count} GPUs that libtorch can use.");
        var device = new torch.Device(DeviceType.CUDA, index);
        using (torch.zeros(1, device: device)) { }
        var getAllocator =
            (delegate* unmanaged[Cdecl]<sbyte*, nint>)LibTorch.SymbolIn("libc10.so", "_ZN3c1012GetAllocatorERKNS_10DeviceTypeE");
        var cudaType = (sbyte)DeviceType.CUDA;
        var allocator = getAllocator == null ? 0 : getAllocator(&cudaType);
        return new CudaAllocator(allocator, index, bytes => torch.empty(bytes, torch.uint8, device), () =>
        {
            var driver = CudaDriver.Here;
            var (free, total) = driver.Memory(driver.Context(index));
            return total - free;
        });
    }

    /// <param name="allocator">The address of a <c>c10::DeviceAllocator</c>; 0 for none.</param>
    /// <param name="index">The index of the device.</param>
    /// <param name="allocate">Makes a tensor of a number of bytes on the device.</param>
    /// <param name="driverLevel">Reads the number of bytes that the driver reports as not free.</param>
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
            // A block may be larger than the request, where the rest is too small to be split off.
            if (Stat(RequestedRow, CurrentWord) - requested != ProofBytes
                || Stat(AllocatedRow, CurrentWord) - allocated is < ProofBytes or > 2 * ProofBytes)
                return false;
            ResetPeakOfAllocator();
            if (Stat(AllocatedRow, PeakWord) != Stat(AllocatedRow, CurrentWord)) return false;
        }
        return (Stat(RequestedRow, CurrentWord), Stat(AllocatedRow, CurrentWord)) == (requested, allocated)
            && Stat(AllocatedRow, PeakWord) > allocated;
    }

    /// <summary>Whether the figures are the allocator's own; otherwise they are the driver's.</summary>
    public bool IsExact => driverLevel is null;

    /// <summary>
    /// The bytes of tensors on the device; where the allocator's figures cannot be read, the bytes that the driver reports as used.
    /// </summary>
    public long CurrentBytes => driverLevel is null ? Stat(AllocatedRow, CurrentWord) : driverLevel();

    /// <summary>Returns the memory that no tensor uses to the driver, for other processes.</summary>
    public void EmptyCache()
    {
        if (allocator == 0) throw LibTorch.Unsupported("no allocator of CUDA tensors", "that of libtorch 2.10.0");
        ((delegate* unmanaged[Cdecl]<nint, ulong, ulong, void>)Function(EmptyCacheSlot))(allocator, 0, 0);
    }

    /// <summary>Registers a meter, which learns of peaks from now on.</summary>
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

    /// <summary>Reports the highest level since the last call to all meters. The allocator has one peak; each meter has its own.</summary>
    /// <param name="begin">Whether one of the meters begins a new peak.</param>
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
