using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Actipress.Machine;

/// <summary>Gathers, scatters and counts the bits of words.</summary>
static class WordBits
{
    /// <summary>
    /// Compacts the bits of <paramref name="x"/> at the set bits of <paramref name="chosen"/> into the lowest bits (PEXT).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Gather(ulong x, ulong chosen) =>
        Bmi2.X64.IsSupported ? Bmi2.X64.ParallelBitExtract(x, chosen) : GatherOneByOne(x, chosen);

    /// <summary>Distributes the lowest bits of <paramref name="x"/> to the set bits of <paramref name="chosen"/> (PDEP).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Scatter(ulong x, ulong chosen) =>
        Bmi2.X64.IsSupported ? Bmi2.X64.ParallelBitDeposit(x, chosen) : ScatterOneByOne(x, chosen);

    /// <summary>Counts the set bits of four words.</summary>
    public static unsafe int Count(ulong* words) =>
        BitOperations.PopCount(words[0]) + BitOperations.PopCount(words[1]) + BitOperations.PopCount(words[2])
            + BitOperations.PopCount(words[3]);

    internal static ulong GatherOneByOne(ulong x, ulong chosen)
    {
        ulong gathered = 0;
        for (var one = 1UL; chosen != 0; chosen &= chosen - 1, one <<= 1) if ((x & chosen & 0 - chosen) != 0) gathered |= one;
        return gathered;
    }

    internal static ulong ScatterOneByOne(ulong x, ulong chosen)
    {
        ulong scattered = 0;
        for (; chosen != 0; chosen &= chosen - 1, x >>= 1) if ((x & 1) != 0) scattered |= chosen & 0 - chosen;
        return scattered;
    }
}
