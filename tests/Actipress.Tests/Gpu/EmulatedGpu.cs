using System.Linq.Expressions;
using System.Reflection;
using Actipress.Gpu;
using ILGPU;
using ILGPU.Backends.EntryPoints;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using static TorchSharp.torch;

namespace Actipress.Tests.Gpu;

/// <summary>
/// Runs the GPU's kernels on ILGPU's CPU accelerator, one CPU thread for each GPU thread, on the memory of torch's CPU tensors.
/// </summary>
sealed class EmulatedGpu : GpuDevice, IDisposable
{
    const int Sixteens = 1;

    readonly Context context = Context.Create(builder => builder.AddCPU(16 * Sixteens));
    readonly CPUAccelerator accelerator;
    readonly Dictionary<GridKernel, (MethodInfo Method, Delegate Launch)> kernels = [];

    public EmulatedGpu() : base(CPU) => accelerator = context.CreateCPUAccelerator(0);

    public override int Threads => 16 * Sixteens;

    public override void Launch(GridKernel kernel, int groups, params ReadOnlySpan<KernelArgument> arguments)
    {
        if (!kernels.TryGetValue(kernel, out var known))
        {
            var method = typeof(GridKernels).GetMethod(kernel.ToString())!;
            var types = method.GetParameters().Select(parameter => parameter.ParameterType);
            var launcher = Expression.GetActionType([typeof(AcceleratorStream), typeof(KernelConfig), .. types]);
            var loaded = accelerator.LoadKernel(accelerator.CompileKernel(EntryPointDescription.FromExplicitlyGroupedKernel(method)));
            var create = typeof(Kernel).GetMethods()
                .Single(candidate => candidate.Name == nameof(Kernel.CreateLauncherDelegate) && candidate.IsGenericMethod);
            known = kernels[kernel] = (method, (Delegate)create.MakeGenericMethod(launcher).Invoke(loaded, null)!);
        }
        var parameters = known.Method.GetParameters();
        Assert.Equal(parameters.Length, arguments.Length);
        List<MemoryBuffer> buffers = [];
        object[] values =
        [
            accelerator.DefaultStream, new KernelConfig(groups, Threads),
            .. arguments.ToArray()
                .Select((argument, i) => argument.Value ?? View(argument, parameters[i].ParameterType.GetGenericArguments()[0])),
        ];
        known.Launch.DynamicInvoke(values);
        accelerator.Synchronize();
        foreach (var buffer in buffers) buffer.Dispose();

        object View(KernelArgument argument, Type element)
        {
            var make = typeof(EmulatedGpu).GetMethod(nameof(ViewOf), BindingFlags.NonPublic | BindingFlags.Instance)!
                .MakeGenericMethod(element);
            return make.Invoke(this, [argument, buffers])!;
        }
    }

    ArrayView<T> ViewOf<T>(KernelArgument argument, List<MemoryBuffer> buffers) where T : unmanaged
    {
        var buffer = CPUMemoryBuffer.Create(accelerator, argument.Address, argument.Length, Interop.SizeOf<T>());
        buffers.Add(buffer);
        return buffer.AsArrayView<T>(0, argument.Length);
    }

    public void Dispose()
    {
        accelerator.Dispose();
        context.Dispose();
    }
}

static class EmulatedDevices
{
    /// <summary>Adds a device with this number of threads.</summary>
    public static Context.Builder AddCPU(this Context.Builder builder, int threads) =>
        builder.CPU(new CPUDevice(numThreadsPerWarp: 16, numWarpsPerMultiprocessor: threads / 16, numMultiprocessors: 1));
}
