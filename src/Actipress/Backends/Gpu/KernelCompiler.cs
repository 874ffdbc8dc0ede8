using System.Collections.Concurrent;
using System.Reflection;
using System.Text.RegularExpressions;
using ILGPU;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace Actipress;

/// <summary>Turns <see cref="GridKernels"/> into PTX, which needs neither a GPU nor a driver.</summary>
static partial class KernelCompiler
{
    /// <summary>The oldest GPU that the PTX is for, which newer ones run too: Volta.</summary>
    public const int OldestMajor = 7, OldestMinor = 0;

    /// <summary>The names of the kernels.</summary>
    public static IReadOnlyList<string> Kernels { get; } =
    [
        nameof(GridKernels.Sample), nameof(GridKernels.Tally), nameof(GridKernels.Narrow), nameof(GridKernels.Settle),
        nameof(GridKernels.Measure), nameof(GridKernels.Lay), nameof(GridKernels.Write), nameof(GridKernels.Unpack),
        nameof(GridKernels.Look), nameof(GridKernels.Divide), nameof(GridKernels.KeepZeros), nameof(GridKernels.Combine),
    ];

    static readonly ConcurrentDictionary<(string Name, int Threads), (string Ptx, string Entry)> compiled = new();

    /// <summary>A kernel's PTX and the name of its entry; the same for every GPU, so compiled once.</summary>
    /// <param name="name">One of <see cref="Kernels"/>.</param>
    /// <param name="threads">Threads of each group.</param>
    public static (string Ptx, string Entry) Compile(string name, int threads) => compiled.GetOrAdd((name, threads), _ => CompileNow(name, threads));

    static (string Ptx, string Entry) CompileNow(string name, int threads)
    {
        using var context = Context.Create(builder => builder.Optimize(OptimizationLevel.O2));
        context.GetIntrinsicManager().RegisterMethod(
            typeof(GpuMath).GetMethod(nameof(GpuMath.Fused))!, new PTXIntrinsic(typeof(GpuMath), nameof(GpuMath.FusedInPtx), IntrinsicImplementationMode.Redirect));
        using var backend = new PTXBackend(context, new CudaArchitecture(OldestMajor, OldestMinor), CudaInstructionSet.ISA_70, null!);
        var method = typeof(GridKernels).GetMethod(name, BindingFlags.Public | BindingFlags.Static)!;
        var kernel = (PTXCompiledKernel)backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(method), new KernelSpecialization(threads, 1));
        return (Mended(kernel.PTXAssembly), kernel.Name);
    }

    // Where an operation does not say how it rounds, the driver may fuse a product and a sum into one rounding; and ILGPU says of branches
    // that threads decide differently that they do not.
    static string Mended(string ptx) => UnroundedOperation().Replace(ptx, "$1.rn.$2").Replace(".uni", "", StringComparison.Ordinal);

    [GeneratedRegex(@"\b(add|sub|mul)\.(f32|f64)\b")]
    private static partial Regex UnroundedOperation();
}
