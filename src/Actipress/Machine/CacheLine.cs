using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Actipress.Machine;

/// <summary>A line of the processor's cache.</summary>
static unsafe class CacheLine
{
    /// <summary>Values ahead that are asked for: rows of a block are no stream that the processor foresees.</summary>
    public const int Ahead = 2048;

    /// <summary>Asks for the line that <paramref name="address"/> lies in; it may lie in no memory at all.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Ask(void* address)
    {
        // Into the second level: the first has places for a few lines on their way, and the next request would wait for one.
        if (Sse.IsSupported) Sse.Prefetch1(address);
    }
}
