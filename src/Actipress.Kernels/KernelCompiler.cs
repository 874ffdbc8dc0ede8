using System.Reflection;
using System.Text.RegularExpressions;
using Actipress.Gpu;
using ILGPU;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace Actipress;

/// <summary>Compiles <see cref="GridKernels"/> to PTX. This needs neither a GPU nor a driver.</summary>
static partial class KernelCompiler
{
    /// <summary>A kernel's PTX, which is the same for every GPU from <see cref="KernelText.OldestMajor"/> on.</summary>
    public static string Compile(GridKernel kernel)
    {
        using var context = Context.Create(builder => builder.Optimize(OptimizationLevel.O2));
        context.GetIntrinsicManager().RegisterMethod(
            typeof(GpuMath).GetMethod(nameof(GpuMath.Fused))!,
            new PTXIntrinsic(typeof(GpuMath), nameof(GpuMath.FusedInPtx), IntrinsicImplementationMode.Redirect));
        var oldest = new CudaArchitecture(KernelText.OldestMajor, KernelText.OldestMinor);
        using var backend = new PTXBackend(context, oldest, CudaInstructionSet.ISA_70, null!);
        var method = typeof(GridKernels).GetMethod(kernel.ToString(), BindingFlags.Public | BindingFlags.Static)!;
        var compiled =
            backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(method), new KernelSpecialization(KernelText.MostThreads, 1));
        return Mended(((PTXCompiledKernel)compiled).PTXAssembly);
    }

    // Where an operation does not state its rounding, the driver may fuse a product and a sum into one rounding; so the rounding is added.
    // ILGPU marks branches as uniform that are divergent; so the mark is removed. ILGPU numbers names through the whole process; here each
    // text has numbers of its own.
    static string Mended(string ptx)
    {
        ptx = UnroundedOperation().Replace(ptx, "$1.rn.$2").Replace(".uni", "", StringComparison.Ordinal).ReplaceLineEndings("\n");
        var labels = new Dictionary<string, int>();
        ptx = Label().Replace(ptx, found =>
        {
            if (!labels.TryGetValue(found.Value, out var number)) labels.Add(found.Value, number = labels.Count);
            return $"L_{number}";
        });
        return Parameter().Replace(ptx, "$1");
    }

    [GeneratedRegex(@"\b(add|sub|mul)\.(f32|f64)\b")]
    private static partial Regex UnroundedOperation();

    [GeneratedRegex(@"\bL_\d+\b")]
    private static partial Regex Label();

    [GeneratedRegex(@"\b(_[A-Za-z]+)_\d+\b")]
    private static partial Regex Parameter();
}
