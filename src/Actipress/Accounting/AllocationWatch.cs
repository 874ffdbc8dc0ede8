using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Accounting;

/// <summary>Reports the allocations of libtorch's CPU allocator to C# while a meter or a timeline is running.</summary>
/// <remarks>
/// The allocator is one object. It receives a copy of its virtual table with two replaced slots: a few instructions each that call C# and
/// then jump to libtorch's own function. A meter learns the size of an allocation before it is made. While a timeline is running, or where
/// blocks are counted, C# makes the allocation itself, so that its address is known, with a deleter that reports its end.
/// </remarks>
static unsafe class AllocationWatch
{
    // class Allocator: two destructors (one on Windows), allocate(n), is_simple_data_ptr, raw_deleter(), copy_data
    static readonly int allocateSlot = CppAbi.IsMicrosofts ? 1 : 2, rawDeleterSlot = allocateSlot + 2, slots = allocateSlot + 4;

    const int SmallestSeen = 16 << 10, Alignment = 64;

    // What the deleter of a block does that C# made: frees it as libtorch frees its own, or asks C# first, or nothing, as the process ends.
    const byte Frees = 0, Asks = 1, Leaves = 2;

    // c10::DataPtr: the data, a unique_ptr (its deleter first), the device.
    const int DataWord = 0, DeleterWord = 1, ContextWord = 2, DeviceWord = 3, DataWords = 4;

    static readonly Lock gate = new();
    static volatile AllocatorMeter[] meters = [];
    static volatile MemoryTimeline[] timelines = [];
    static nint** allocator;
    static nint* ownTable, watchedTable;
    static nint deleter, device;
    static byte* atEnd;
    static volatile bool counts;

    // libtorch's deleter calls free: the memory must come from the same library.
    static readonly delegate* unmanaged[Cdecl]<nint*, nuint, nuint, int> aligned =
        (delegate* unmanaged[Cdecl]<nint*, nuint, nuint, int>)CAllocator.Symbol("posix_memalign");

    /// <summary>Counts the blocks from now on, by <see cref="CountedBlocks"/>.</summary>
    /// <exception cref="PlatformNotSupportedException">libtorch's allocator is not the known one.</exception>
    public static void Count()
    {
        if (counts) return;
        Change(() => counts = true);
        // Native code that runs after C# has ended cannot call it.
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Leave();
    }

    static void Leave()
    {
        lock (gate)
        {
            *atEnd = Leaves;
            *allocator = ownTable;
        }
    }

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
            *atEnd = timelines.Length > 0 || counts ? Asks : Frees;
            *allocator = meters.Length + timelines.Length > 0 || counts ? watchedTable : ownTable;
        }
    }

    static void Prepare()
    {
        var getAllocator = (delegate* unmanaged[Cdecl]<nint>)LibTorch.Symbol("_ZN3c1015GetCPUAllocatorEv");
        allocator = (nint**)getAllocator();
        ownTable = *allocator;
        var ownDeleter = LearnDataPointer();
        var code = new MachineCode();
        atEnd = (byte*)NativeMemory.AllocZeroed(1);

        deleter = code.Here;
        AddDeleter(code, ownDeleter);
        var allocate = code.Here;
        AddAllocate(code, ownTable[allocateSlot]);
        var rawDeleter = code.Here;
        code.Add([0x48, 0xB8], deleter);                                                                // mov rax, deleter
        code.Add([0xC3]);                                                                               // ret
        code.Seal();

        var (before, all) = (CppAbi.WordsBeforeTable, CppAbi.WordsBeforeTable + slots);
        var copy = (nint*)NativeMemory.Alloc((nuint)all, (nuint)sizeof(nint));
        for (var word = 0; word < all; word++) copy[word] = ownTable[word - before];
        copy[before + allocateSlot] = allocate;
        copy[before + rawDeleterSlot] = rawDeleter;
        watchedTable = copy + before;
    }

    // deleter(data): asks C# where it is told to, which may have freed the block; otherwise libtorch's own deleter does.
    static void AddDeleter(MachineCode code, nint own)
    {
        code.Add([0x48, 0xB8], (nint)atEnd);                                                            // mov rax, atEnd
        if (CppAbi.IsMicrosofts)
        {
            code.Add([0x80, 0x38, Frees, 0x74, 0x1F, 0x80, 0x38, Leaves, 0x74, 0x26]);                  // cmp [rax]; je own; cmp; je end
            code.Add([0x51, 0x48, 0x83, 0xEC, 0x20]);                                                   // push rcx; sub rsp, 32
            code.Add([0x48, 0xB8], (nint)(delegate* unmanaged[Cdecl]<nint, byte>)&Freeing);             // mov rax, Freeing
            code.Add([0xFF, 0xD0, 0x48, 0x83, 0xC4, 0x20, 0x59]);                                       // call rax; add rsp, 32; pop rcx
        }
        else
        {
            code.Add([0x80, 0x38, Frees, 0x74, 0x17, 0x80, 0x38, Leaves, 0x74, 0x1E]);                  // cmp [rax]; je own; cmp; je end
            code.Add([0x57]);                                                                           // push rdi
            code.Add([0x48, 0xB8], (nint)(delegate* unmanaged[Cdecl]<nint, byte>)&Freeing);             // mov rax, Freeing
            code.Add([0xFF, 0xD0, 0x5F]);                                                               // call rax; pop rdi
        }
        code.Add([0x84, 0xC0, 0x75, 0x0C]);                                                             // test al, al; jnz end
        code.Add([0x48, 0xB8], own);                                                                    // own: mov rax, own
        code.Add([0xFF, 0xE0, 0xC3]);                                                                   // jmp rax; end: ret
    }

    // libtorch's allocator may throw a C++ exception (out of memory), which must not pass through C#. So C# is called first. Unless C# has
    // made the allocation itself, a jump enters the allocator as if it had been called directly.
    static void AddAllocate(MachineCode code, nint own)
    {
        var allocating = (nint)(delegate* unmanaged[Cdecl]<nint*, nuint, byte>)&Allocating;
        if (CppAbi.IsMicrosofts)
        {
            code.Add([0x51, 0x52, 0x41, 0x50, 0x48, 0x83, 0xEC, 0x20]);                                 // push rcx, rdx, r8; sub rsp, 32
            code.Add([0x48, 0x89, 0xD1, 0x4C, 0x89, 0xC2]);                                             // mov rcx, rdx; mov rdx, r8
            code.Add([0x48, 0xB8], allocating);                                                         // mov rax, Allocating
            // call rax; add rsp, 32; pop r8, rdx, rcx
            code.Add([0xFF, 0xD0, 0x48, 0x83, 0xC4, 0x20, 0x41, 0x58, 0x5A, 0x59]);
        }
        else
        {
            code.Add([0x57, 0x56, 0x52, 0x48, 0x89, 0xD6]);                                             // push rdi, rsi, rdx; mov rsi, rdx
            code.Add([0x48, 0xB8], allocating);                                                         // mov rax, Allocating
            code.Add([0xFF, 0xD0, 0x5A, 0x5E, 0x5F]);                                                   // call rax; pop rdx, rsi, rdi
        }
        code.Add([0x84, 0xC0, 0x75, 0x0C]);                                                             // test al, al; jnz made
        code.Add([0x48, 0xB8], own);                                                                    // mov rax, own
        // jmp rax; made: mov rax, result; ret
        code.Add(CppAbi.IsMicrosofts ? [0xFF, 0xE0, 0x48, 0x89, 0xD0, 0xC3] : [0xFF, 0xE0, 0x48, 0x89, 0xF8, 0xC3]);
    }

    // Tests the layout of the result of allocate(), and returns libtorch's own deleter.
    static nint LearnDataPointer()
    {
        var words = stackalloc nint[DataWords];
        CppAbi.Call(ownTable[allocateSlot], (nint)allocator, (nint)words, 256);
        var own = ((delegate* unmanaged[Cdecl]<nint, nint>)ownTable[rawDeleterSlot])((nint)allocator);
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
        var running = timelines;
        var level = counts ? 0 : Look((long)bytes);
        if (running.Length == 0 && !counts) return 0;
        var data = counts ? CountedBlocks.Allocate(bytes) : Allocate(bytes);
        if (data == 0) return 0;    // libtorch's own allocator will report the failure
        if (counts) level = Look(0);
        (result[DataWord], result[DeleterWord], result[ContextWord], result[DeviceWord]) = (data, deleter, data, device);
        foreach (var timeline in running) timeline.Allocated(data, (long)bytes, level);
        return 1;
    }

    static nint Allocate(nuint bytes)
    {
        nint block;
        return aligned(&block, Alignment, bytes) == 0 ? block : 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static byte Freeing(nint data)
    {
        foreach (var timeline in timelines) timeline.Freed(data);
        return (byte)(counts && CountedBlocks.Free(data) ? 1 : 0);
    }

    static long Look(long more)
    {
        var level = AllocatorMeter.CurrentBytes + more;
        foreach (var meter in meters) meter.Reach(level);
        return level;
    }
}
