using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Accounting;

namespace Actipress.Tests.Gpu;

/// <summary>The figures of the caching allocator, read from an object with libtorch's layout.</summary>
public unsafe class CudaAllocatorTests
{
    const long MiB = 1 << 20;

    // The object's counts: the requested bytes, and the bytes rounded up to blocks of 512.
    static long requested, allocated, peak, emptied;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static byte Initialized(nint self) => 1;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void EmptyCache(nint self, ulong first, ulong second) => emptied += (first, second) == (0, 0) ? 1 : 100;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static long* Stats(long* result, nint self, sbyte device)
    {
        new Span<long>(result, 9 * 12 + 13).Fill(-7);
        // Row 4 has the bytes of blocks, and row 8 the requested bytes. A row begins with the statistic of all blocks, which begins with
        // the current and the peak value.
        (result[4 * 12], result[4 * 12 + 1]) = (allocated, peak);
        result[8 * 12] = requested;
        return result;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void ResetPeak(nint self, sbyte device) => peak = device == 3 ? allocated : -1;

    static nint MakeObject()
    {
        var table = (nint*)NativeMemory.AllocZeroed(13, (nuint)sizeof(nint));
        table[6] = (nint)(delegate* unmanaged[Cdecl]<nint, byte>)&Initialized;
        table[7] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, ulong, void>)&EmptyCache;
        table[9] = (nint)(delegate* unmanaged[Cdecl]<long*, nint, sbyte, long*>)&Stats;
        table[11] = (nint)(delegate* unmanaged[Cdecl]<nint, sbyte, void>)&ResetPeak;
        var made = (nint**)NativeMemory.Alloc((nuint)sizeof(nint));
        *made = table;
        return (nint)made;
    }

    sealed class Block : IDisposable
    {
        readonly long bytes;

        public Block(long bytes)
        {
            this.bytes = bytes;
            Count(bytes);
        }

        public void Dispose() => Count(-bytes);

        static void Count(long bytes)
        {
            requested += bytes;
            allocated += (Math.Abs(bytes) + 511) / 512 * 512 * Math.Sign(bytes);
            peak = Math.Max(peak, allocated);
        }
    }

    [Fact]
    public void Levels_and_peaks_of_several_meters_are_the_allocator_s()
    {
        (requested, allocated, peak, emptied) = (100, 512, 9 * MiB, 0);
        var allocator = new CudaAllocator(MakeObject(), 3, bytes => new Block(bytes), () => throw new InvalidOperationException());
        Assert.True(allocator.IsExact);
        using var meter = AllocatorMeter.Start(allocator);
        Assert.Equal(512, meter.LevelBytes);
        using (new Block(5 * MiB)) Assert.Equal(5 * MiB + 512, meter.LevelBytes);
        using (var later = AllocatorMeter.Start(allocator))
        {
            using (new Block(2 * MiB)) { }
            Assert.Equal((5 * MiB + 512, 2 * MiB + 512), (meter.PeakBytes, later.PeakBytes));
            later.ResetPeak();
            Assert.Equal((5 * MiB + 512, 512), (meter.PeakBytes, later.PeakBytes));
        }
        meter.ResetPeak();
        using (new Block(1)) { }
        Assert.Equal(1024, meter.PeakBytes);
        allocator.EmptyCache();
        Assert.Equal(1, emptied);
    }

    [Fact]
    public void An_allocator_of_another_layout_is_not_believed_and_the_driver_is_asked()
    {
        var level = 3 * MiB;
        // These allocators show no allocation.
        foreach (var allocator in (CudaAllocator[])[
            new(MakeObject(), 3, _ => new MemoryStream(), () => level), new(0, 3, _ => new MemoryStream(), () => level),
        ])
        {
            Assert.False(allocator.IsExact);
            level = 3 * MiB;
            using var meter = AllocatorMeter.Start(allocator);
            level = 7 * MiB;
            Assert.Equal((7 * MiB, 7 * MiB), (meter.LevelBytes, meter.PeakBytes));
            level = 4 * MiB;
            Assert.Equal((4 * MiB, 7 * MiB), (meter.LevelBytes, meter.PeakBytes));
        }
    }

    [Fact]
    public void Without_a_GPU_a_meter_of_one_says_so()
    {
        Assert.SkipWhen(torch.cuda.is_available(), "this machine has a GPU");
        Assert.Contains(
            "found 0 GPUs", Assert.Throws<PlatformNotSupportedException>(() => AllocatorMeter.Start(new torch.Device("cuda:1"))).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "wanted the CPU or a CUDA device",
            Assert.Throws<PlatformNotSupportedException>(() => AllocatorMeter.Start(new torch.Device(DeviceType.META))).Message,
            StringComparison.Ordinal);
    }

    // The functions that a device's allocator must override are the same empty function of the base class. The entry after them,
    // getMemoryInfo, is another function.
    [Fact]
    public void The_table_of_libtorch_s_device_allocators_has_the_places_that_are_called()
    {
        using (torch.zeros(1)) { }
        var table = (nint*)Actipress.Autograd.LibTorch.SymbolIn("libc10.so", "_ZTVN3c1015DeviceAllocatorE") + 2;
        var empty = table[CudaAllocator.InitializedSlot];
        foreach (var slot in (int[])[CudaAllocator.EmptyCacheSlot, 8, CudaAllocator.StatsSlot, 10, CudaAllocator.ResetPeakSlot])
            Assert.Equal(empty, table[slot]);
        foreach (var slot in (int[])[3, 4, CudaAllocator.ResetPeakSlot + 1]) Assert.NotEqual(empty, table[slot]);
    }
}
