using System.Runtime.InteropServices;

namespace Actipress.Machine;

/// <summary>
/// The codecs' native memory: packed maps and workspaces. Its bytes are counted, because some systems' C libraries do not tell theirs.
/// </summary>
static unsafe class CodecMemory
{
    const nuint CacheLine = 64;

    static long bytesHeld;

    /// <summary>The number of bytes that are allocated and were not freed.</summary>
    public static long BytesHeld => Interlocked.Read(ref bytesHeld);

    /// <summary>Allocates memory, which the caller frees by <see cref="Free"/>.</summary>
    public static void* Allocate(long bytes)
    {
        var memory = NativeMemory.Alloc((nuint)bytes);
        Interlocked.Add(ref bytesHeld, bytes);
        return memory;
    }

    /// <summary>Frees memory of <see cref="Allocate"/>, or does nothing for null.</summary>
    public static void Free(void* memory, long bytes)
    {
        if (memory == null) return;
        NativeMemory.Free(memory);
        Interlocked.Add(ref bytesHeld, -bytes);
    }

    /// <summary>Allocates memory that begins at a cache line, which the caller frees by <see cref="FreeAligned"/>.</summary>
    public static void* AllocateAligned(long bytes)
    {
        var memory = NativeMemory.AlignedAlloc((nuint)bytes, CacheLine);
        Interlocked.Add(ref bytesHeld, bytes);
        return memory;
    }

    /// <summary>Frees memory of <see cref="AllocateAligned"/>, or does nothing for null.</summary>
    public static void FreeAligned(void* memory, long bytes)
    {
        if (memory == null) return;
        NativeMemory.AlignedFree(memory);
        Interlocked.Add(ref bytesHeld, -bytes);
    }
}
