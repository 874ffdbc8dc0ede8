using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Accounting;

/// <summary>Reports the allocations of libtorch's CPU allocator to C# while a meter or a timeline is running.</summary>
/// <remarks>
/// The allocator is one object. It receives a copy of its virtual table with two replaced slots: a few instructions each that call C# and
/// then jump to libtorch's own function. A meter learns the size of an allocation before it is made. While a timeline is running, C# makes
/// the allocation itself, so that its address is known, with a deleter that reports its end.
/// </remarks>
static unsafe class AllocationWatch
{
    // class Allocator: complete destructor, deleting destructor, allocate(n), is_simple_data_ptr, raw_deleter(), copy_data
    const int AllocateSlot = 2, RawDeleterSlot = 4, Slots = 6;
    const int SmallestSeen = 16 << 10, Alignment = 64;

    // c10::DataPtr: the data, a unique_ptr (its deleter first), the device.
    const int DataWord = 0, DeleterWord = 1, ContextWord = 2, DeviceWord = 3, DataWords = 4;

    static readonly Lock gate = new();
    static volatile AllocatorMeter[] meters = [];
    static volatile MemoryTimeline[] timelines = [];
    static nint** allocator;
    static nint* ownTable, watchedTable;
    static nint deleter, device;
    static byte* traced;

    // libtorch's deleter calls free: the memory must come from the same library.
    static readonly delegate* unmanaged[Cdecl]<nint*, nuint, nuint, int> aligned =
        (delegate* unmanaged[Cdecl]<nint*, nuint, nuint, int>)CAllocator.Symbol("posix_memalign");

    public static void Add(AllocatorMeter meter) => Change(() => meters = [.. meters, meter]);

    public static void Remove(AllocatorMeter meter) => Change(() => meters = [.. meters.Where(other => other != meter)]);

    public static void Add(MemoryTimeline timeline) => Change(() => timelines = [.. timelines, timeline]);

    public static void Remove(MemoryTimeline timeline) => Change(() => timelines = [.. timelines.Where(other => other != timeline)]);

    /// <summary>Lets running meters read the current level.</summary>
    public static void LookIn()
    {
        if (meters.Length + timelines.Length == 0) return;
        var level = Look(0);
        foreach (var timeline in timelines) timeline.LookedIn(level);
    }

    static void Change(Action change)
    {
        lock (gate)
        {
            if (watchedTable == null) Prepare();
            change();
            *traced = (byte)(timelines.Length > 0 ? 1 : 0);
            *allocator = meters.Length + timelines.Length > 0 ? watchedTable : ownTable;
        }
    }

    static void Prepare()
    {
        var getAllocator = (delegate* unmanaged[Cdecl]<nint>)LibTorch.Symbol("_ZN3c1015GetCPUAllocatorEv");
        allocator = (nint**)getAllocator();
        ownTable = *allocator;
        var ownDeleter = LearnDataPointer();
        var code = new MachineCode();
        traced = (byte*)NativeMemory.AllocZeroed(1);

        // deleter(data): calls C# if a timeline runs, and then libtorch's own deleter.
        deleter = code.Here;
        code.Add([0x48, 0xB8], (nint)traced);                                                           // mov rax, traced
        // cmp byte [rax], 0; je own; push rdi
        code.Add([0x80, 0x38, 0x00, 0x74, 0x0E, 0x57]);
        code.Add([0x48, 0xB8], (nint)(delegate* unmanaged[Cdecl]<nint, void>)&Freeing);                 // mov rax, Freeing
        code.Add([0xFF, 0xD0, 0x5F]);                                                                   // call rax; pop rdi
        code.Add([0x48, 0xB8], ownDeleter);                                                             // own: mov rax, ownDeleter
        code.Add([0xFF, 0xE0]);                                                                         // jmp rax

        // libtorch's allocator may throw a C++ exception (out of memory), which must not pass through C#. So C# is called first. Unless C#
        // has made the allocation itself, a jump enters the allocator as if it had been called directly.
        var allocate = code.Here;
        code.Add([0x57, 0x56, 0x52, 0x48, 0x89, 0xD6]);                                                 // push rdi, rsi, rdx; mov rsi, rdx
        code.Add([0x48, 0xB8], (nint)(delegate* unmanaged[Cdecl]<nint*, nuint, byte>)&Allocating);      // mov rax, Allocating
        // call rax; pop rdx, rsi, rdi; test al, al; jnz made
        code.Add([0xFF, 0xD0, 0x5A, 0x5E, 0x5F, 0x84, 0xC0, 0x75, 0x0C]);
        code.Add([0x48, 0xB8], ownTable[AllocateSlot]);                                                 // mov rax, allocate
        code.Add([0xFF, 0xE0, 0x48, 0x89, 0xF8, 0xC3]);                                                 // jmp rax; made: mov rax, rdi; ret

        var rawDeleter = code.Here;
        code.Add([0x48, 0xB8], deleter);                                                                // mov rax, deleter
        code.Add([0xC3]);                                                                               // ret
        code.Seal();

        // A virtual table has two words before it: the offset to the top of the object, and its type.
        var copy = (nint*)NativeMemory.Alloc(Slots + 2, (nuint)sizeof(nint));
        for (var word = 0; word < Slots + 2; word++) copy[word] = ownTable[word - 2];
        copy[2 + AllocateSlot] = allocate;
        copy[2 + RawDeleterSlot] = rawDeleter;
        watchedTable = copy + 2;
    }

    // Tests the layout of the result of allocate(), and returns libtorch's own deleter.
    static nint LearnDataPointer()
    {
        var words = stackalloc nint[DataWords];
        ((delegate* unmanaged[Cdecl]<nint*, nint, nuint, nint>)ownTable[AllocateSlot])(words, (nint)allocator, 256);
        var own = ((delegate* unmanaged[Cdecl]<nint, nint>)ownTable[RawDeleterSlot])((nint)allocator);
        if (words[DataWord] == 0 || words[DataWord] != words[ContextWord] || words[DeleterWord] != own)
            throw new PlatformNotSupportedException("The allocator's peak is not to be had here: libtorch's allocator returns something "
                + "else than wanted. Use TorchSharp 0.107.0.");
        device = words[DeviceWord];
        ((delegate* unmanaged[Cdecl]<nint, void>)own)(words[DataWord]);
        return own;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static byte Allocating(nint* result, nuint bytes)
    {
        if (bytes < SmallestSeen || bytes > long.MaxValue) return 0;
        var level = Look((long)bytes);
        var running = timelines;
        if (running.Length == 0) return 0;
        nint data;
        if (aligned(&data, Alignment, bytes) != 0) return 0;    // libtorch's own allocator will report the failure
        (result[DataWord], result[DeleterWord], result[ContextWord], result[DeviceWord]) = (data, deleter, data, device);
        foreach (var timeline in running) timeline.Allocated(data, (long)bytes, level);
        return 1;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Freeing(nint data)
    {
        foreach (var timeline in timelines) timeline.Freed(data);
    }

    static long Look(long more)
    {
        var level = AllocatorMeter.CurrentBytes + more;
        foreach (var meter in meters) meter.Reach(level);
        return level;
    }
}
