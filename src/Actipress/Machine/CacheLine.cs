using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Actipress.Machine;

/// <summary>A line of the processor's cache.</summary>
static unsafe class CacheLine
{
    /// <summary>
    /// How many values ahead of the current one are prefetched. The processor's own prefetcher does not recognise the rows of a block as a
    /// stream.
    /// </summary>
    public const int Ahead = 2048;

    /// <summary>Prefetches the line of <paramref name="address"/>. The address need not be mapped.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Ask(void* address)
    {
        // The line goes to the second level. The first level has few fill buffers, and the next load would wait for one of them.
        if (Sse.IsSupported) Sse.Prefetch1(address);
    }
}
