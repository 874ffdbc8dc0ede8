using System.Runtime.Intrinsics.X86;

namespace Actipress.Machine;

/// <summary>
/// A processor of AMD's that does not report its caches, as in some virtual machines. oneDNN 3.7.1, which libtorch 2.10 computes
/// convolutions with, then takes each cache for one byte and cuts convolutions into wrong blocks: forward passes and gradients are wrong or
/// NaN, without Actipress too. Its kernels for SSE4.1 are right there.
/// </summary>
static class HiddenCaches
{
    /// <summary>The environment variable that chooses oneDNN's kernels, which it reads once.</summary>
    public const string Variable = "ONEDNN_MAX_CPU_ISA";

    const string Right = "SSE41";

    // Functions of the instruction CPUID: the vendor, and AMD's description of the first cache.
    const int Vendor = 0, FirstCache = unchecked((int)0x8000001D);

    // The middle of "AuthenticAMD".
    const int Enti = 0x69746E65;

    static readonly Lazy<string?> fault = new(() => Fault(CpuId, Environment.GetEnvironmentVariable(Variable)));

    /// <summary>What is wrong with libtorch's convolutions here, and the way out; null where nothing is.</summary>
    public static string? Here => fault.Value;

    // Without AVX, oneDNN has no faster kernels.
    static (int Eax, int Edx)? CpuId(int function)
    {
        if (!Avx.IsSupported) return null;
        var (eax, _, _, edx) = X86Base.CpuId(function, 0);
        return (eax, edx);
    }

    /// <summary>As <see cref="Here"/>, for a processor and a value of the variable.</summary>
    internal static string? Fault(Func<int, (int Eax, int Edx)?> cpuId, string? kernels) =>
        !string.Equals(kernels, Right, StringComparison.OrdinalIgnoreCase)
        && cpuId(Vendor)?.Edx == Enti && cpuId(FirstCache)?.Eax == 0
            ? "libtorch computes wrong convolutions on this machine, with or without Actipress: its oneDNN does so where an AMD processor "
                + $"does not report its caches. Start the process with {Variable}={Right}: slower kernels, which are right."
            : null;
}
