using System.Text.RegularExpressions;
using Actipress.Gpu;

namespace Actipress.Tests.Gpu;

/// <summary>The compilation of the kernels to PTX, which needs neither a GPU nor a driver.</summary>
public class KernelCompilerTests
{
    public static TheoryData<string> Kernels => [.. Enum.GetNames<GridKernel>()];

    [Theory, MemberData(nameof(Kernels))]
    public void Ptx_in_the_library_is_what_the_kernels_compile_to(string name)
    {
        var kernel = Enum.Parse<GridKernel>(name);
        if (KernelCompiler.Compile(kernel) != KernelText.Of(kernel))
            Assert.Fail($"{name}.ptx is not what GridKernels.{name} compiles to now: ./dev kernels writes it anew.");
    }

    [Theory, MemberData(nameof(Kernels))]
    public void Ptx_rounds_each_operation_calls_nothing_and_takes_no_branch_for_uniform(string name)
    {
        var kernel = Enum.Parse<GridKernel>(name);
        var ptx = KernelText.Of(kernel);
        Assert.Contains($".visible .entry {KernelText.Entry(kernel)}(", ptx, StringComparison.Ordinal);
        Assert.Contains(".target sm_70", ptx, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"\b(add|sub|mul|div|fma)\.(f32|f64)\b", ptx);
        Assert.DoesNotMatch(@"\.(ftz|approx)\b", ptx);
        Assert.DoesNotContain(".uni", ptx, StringComparison.Ordinal);
        Assert.DoesNotContain(".extern", ptx, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"\bcall\b", ptx);
        // Products that are fused with a sum belong to a transform.
        if (kernel is GridKernel.Sample or GridKernel.Measure or GridKernel.Write or GridKernel.Unpack or GridKernel.Divide
            or GridKernel.Combine)
            Assert.Matches(@"\bfma\.rn\.f32\b", ptx);
        else Assert.DoesNotMatch(@"\bfma\b", ptx);
    }

    [Theory, MemberData(nameof(Kernels))]
    public void Parameters_lie_as_arguments_do(string name)
    {
        var ptx = KernelText.Of(Enum.Parse<GridKernel>(name));
        var list = ptx[ptx.IndexOf(".entry", StringComparison.Ordinal)..ptx.IndexOf(".maxntid", StringComparison.Ordinal)];
        var sizes = Regex.Matches(list, @"\.param (?:\.align \d+ \.b8 \S+\[(\d+)\]|\.[bfsu](\d+))")
            .Select(found => found.Groups[1].Success ? int.Parse(found.Groups[1].Value) : int.Parse(found.Groups[2].Value) / 8);
        var wanted = typeof(GridKernels).GetMethod(name)!.GetParameters().Select(parameter =>
            parameter.ParameterType.IsGenericType ? 16 : System.Runtime.InteropServices.Marshal.SizeOf(parameter.ParameterType));
        Assert.Equal(wanted, sizes);
    }
}
