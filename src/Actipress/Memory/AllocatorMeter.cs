using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

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

/// <summary>Calls C# before every allocation of libtorch's CPU allocator, while a meter is running.</summary>
static unsafe class AllocationWatch
{
    // class Allocator: complete destructor, deleting destructor, allocate(n), ...
    const int AllocateSlot = 2, CopiedSlots = 8;
    const int SmallestSeen = 16 << 10;

    static readonly Lock gate = new();
    static volatile AllocatorMeter[] meters = [];
    static nint** allocator;
    static nint* ownTable, watchedTable;

    public static void Add(AllocatorMeter meter)
    {
        lock (gate)
        {
            if (watchedTable == null) Prepare();
            meters = [.. meters, meter];
            *allocator = watchedTable;
        }
    }

    public static void Remove(AllocatorMeter meter)
    {
        lock (gate)
        {
            meters = [.. meters.Where(other => other != meter)];
            if (meters.Length == 0 && allocator != null) *allocator = ownTable;
        }
    }

    static void Prepare()
    {
        var getAllocator = (delegate* unmanaged[Cdecl]<nint>)LibTorch.Symbol("_ZN3c1015GetCPUAllocatorEv");
        allocator = (nint**)getAllocator();
        ownTable = *allocator;
        var copy = (nint*)NativeMemory.Alloc(CopiedSlots + 2, (nuint)sizeof(nint));
        for (var word = 0; word < CopiedSlots + 2; word++) copy[word] = ownTable[word - 2];
        copy[2 + AllocateSlot] = Trampoline(ownTable[AllocateSlot]);
        watchedTable = copy + 2;
    }

    // libtorch's allocator may throw a C++ exception (out of memory), which must not pass through C#. So C# is called before it, with
    // the size asked for, and the allocator is entered by a jump, as if it had been called directly.
    static nint Trampoline(nint allocate)
    {
        ReadOnlySpan<byte> before = [0x57, 0x56, 0x52, 0x48, 0x89, 0xD7, 0x48, 0xB8];    // push rdi, rsi, rdx; mov rdi, rdx; mov rax, ...
        ReadOnlySpan<byte> after = [0xFF, 0xD0, 0x5A, 0x5E, 0x5F, 0x48, 0xB8];           // call rax; pop rdx, rsi, rdi; mov rax, ...
        ReadOnlySpan<byte> jump = [0xFF, 0xE0];                                          // jmp rax
        const int Readable = 1, Writable = 2, Executable = 4, Private = 2, Anonymous = 0x20, PageBytes = 4096;
        var page = mmap(0, PageBytes, Readable | Writable, Private | Anonymous, -1, 0);
        if (page == -1) throw new PlatformNotSupportedException("The allocator's peak is not to be had here: the system gave no memory page for code.");
        var code = new Span<byte>((void*)page, PageBytes);
        before.CopyTo(code);
        code = code[before.Length..];
        MemoryMarshal.Write(code, (nint)(delegate* unmanaged[Cdecl]<nuint, void>)&Allocating);
        code = code[sizeof(nint)..];
        after.CopyTo(code);
        code = code[after.Length..];
        MemoryMarshal.Write(code, allocate);
        jump.CopyTo(code[sizeof(nint)..]);
        if (mprotect(page, PageBytes, Readable | Executable) != 0)
            throw new PlatformNotSupportedException("The allocator's peak is not to be had here: the system forbids executable pages.");
        return page;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Allocating(nuint bytes)
    {
        if (bytes >= SmallestSeen) Look((long)bytes);
    }

    public static void LookIn()
    {
        if (meters.Length > 0) Look(0);
    }

    static void Look(long more)
    {
        var level = AllocatorMeter.CurrentBytes + more;
        foreach (var meter in meters) meter.Reach(level);
    }

    [DllImport("libc")]
    static extern nint mmap(nint address, nint length, int protection, int flags, int file, nint offset);

    [DllImport("libc")]
    static extern int mprotect(nint address, nint length, int protection);
}
