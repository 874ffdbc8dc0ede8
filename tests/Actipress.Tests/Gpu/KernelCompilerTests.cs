using System.Text.RegularExpressions;

namespace Actipress.Tests.Gpu;

/// <summary>The kernels as PTX, which takes neither a GPU nor a driver to make.</summary>
public class KernelCompilerTests
{
    public static TheoryData<string> Kernels => [.. KernelCompiler.Kernels];

    [Theory, MemberData(nameof(Kernels))]
    public void Ptx_rounds_each_operation_calls_nothing_and_takes_no_branch_for_uniform(string name)
    {
        var (ptx, entry) = KernelCompiler.Compile(name, GridKernels.MostThreads);
        Assert.Contains($".visible .entry {entry}(", ptx, StringComparison.Ordinal);
        Assert.Contains(".target sm_70", ptx, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"\b(add|sub|mul|div|fma)\.(f32|f64)\b", ptx);
        Assert.DoesNotMatch(@"\.(ftz|approx)\b", ptx);
        Assert.DoesNotContain(".uni", ptx, StringComparison.Ordinal);
        Assert.DoesNotContain(".extern", ptx, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"\bcall\b", ptx);
        // Products fused onto a sum are those of a transform.
        if (name is nameof(GridKernels.Sample) or nameof(GridKernels.Measure) or nameof(GridKernels.Write) or nameof(GridKernels.Unpack) or nameof(GridKernels.Divide) or nameof(GridKernels.Combine)) Assert.Matches(@"\bfma\.rn\.f32\b", ptx);
        else Assert.DoesNotMatch(@"\bfma\b", ptx);
        if (Environment.GetEnvironmentVariable("ACTIPRESS_PTX_FOLDER") is { } folder) File.WriteAllText(Path.Combine(folder, name + ".ptx"), ptx);
    }

    [Theory, MemberData(nameof(Kernels))]
    public void Parameters_lie_as_arguments_do(string name)
    {
        var (ptx, _) = KernelCompiler.Compile(name, GridKernels.MostThreads);
        var list = ptx[ptx.IndexOf(".entry", StringComparison.Ordinal)..ptx.IndexOf(".maxntid", StringComparison.Ordinal)];
        var sizes = Regex.Matches(list, @"\.param (?:\.align \d+ \.b8 \S+\[(\d+)\]|\.[bfsu](\d+))").Select(found => found.Groups[1].Success ? int.Parse(found.Groups[1].Value) : int.Parse(found.Groups[2].Value) / 8);
        var wanted = typeof(GridKernels).GetMethod(name)!.GetParameters().Select(parameter => parameter.ParameterType.IsGenericType ? 16 : System.Runtime.InteropServices.Marshal.SizeOf(parameter.ParameterType));
        Assert.Equal(wanted, sizes);
    }
}
