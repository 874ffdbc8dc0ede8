using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Actipress.Machine;

namespace Actipress.Accounting;

/// <summary>
/// The level where the C library does not tell it: the bytes of all blocks of 16 KiB or more of libtorch's CPU allocator, and of the
/// codecs' memory.
/// </summary>
/// <remarks>
/// <see cref="AllocationWatch"/> asks for the blocks from the first read until the process ends. A block that libtorch allocated before is
/// not counted, neither while it lives nor when it is freed. So the level changes as the memory does, but it does not begin at the memory
/// that was already in use.
/// </remarks>
static unsafe class CountedBlocks
{
    const nuint Alignment = 64;

    static readonly ConcurrentDictionary<nint, long> blocks = new();
    static long bytesOfBlocks;

    /// <summary>The number of bytes that were allocated and not freed.</summary>
    public static long Bytes => Interlocked.Read(ref bytesOfBlocks) + CodecMemory.BytesHeld;

    /// <summary>Allocates a block; 0 where there is no memory for it.</summary>
    public static nint Allocate(nuint bytes)
    {
        nint block;
        try { block = (nint)NativeMemory.AlignedAlloc(bytes, Alignment); }
        catch (OutOfMemoryException) { return 0; }
        blocks[block] = (long)bytes;
        Interlocked.Add(ref bytesOfBlocks, (long)bytes);
        return block;
    }

    /// <summary>Frees a block of <see cref="Allocate"/>.</summary>
    /// <returns>False where the block is not one, and is still allocated.</returns>
    public static bool Free(nint block)
    {
        if (!blocks.TryRemove(block, out var bytes)) return false;
        Interlocked.Add(ref bytesOfBlocks, -bytes);
        NativeMemory.AlignedFree((void*)block);
        return true;
    }
}
