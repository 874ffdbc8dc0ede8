using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>The state of a device's default generator. TorchSharp offers only that of the CPU.</summary>
/// <remarks>
/// TorchSharp's <c>random.get_rng_state</c> and <c>set_rng_state</c> each make a generator without keeping it alive, as with scalars
/// (<see cref="HeldScalars"/>). A garbage collection at that moment ends the process. Here the generator lives until the native function
/// has returned.
/// </remarks>
static unsafe class RandomState
{
    static readonly Lazy<nint> cudaGenerator =
        new(() => LibTorch.SymbolIn("libtorch_cuda.so", "_ZN2at4cuda4detail23getDefaultCUDAGeneratorEa"));

    /// <summary>Whether the device has a generator whose state can be read.</summary>
    public static bool IsKnown(Device device) =>
        device.type == DeviceType.CPU || (device.type == DeviceType.CUDA && cudaGenerator.Value != 0);

    /// <summary>The state, which the caller disposes.</summary>
    public static Tensor Get(Device device)
    {
        var state = device.type == DeviceType.CPU ? OfCpu() : LibTorch.Take(LibTorch.Symbol("_ZNK2at9Generator9get_stateEv"), Cuda(device));
        state.DetachFromDisposeScope();
        return state;
    }

    public static void Set(Device device, Tensor state)
    {
        if (device.type == DeviceType.CPU) SetCpu(state);
        else
            ((delegate* unmanaged[Cdecl]<nint, nint, void>)LibTorch.Symbol("_ZN2at9Generator9set_stateERKNS_6TensorE"))(
                Cuda(device), state.Handle);
    }

#pragma warning disable RS0030    // Here generators are held.
    static Tensor OfCpu()
    {
        using var generator = Generator.Default;
        return generator.get_state();
    }

    static void SetCpu(Tensor state)
    {
        using var generator = Generator.Default;
        generator.set_state(state);
    }
#pragma warning restore RS0030

    static nint Cuda(Device device) => ((delegate* unmanaged[Cdecl]<sbyte, nint>)cudaGenerator.Value)((sbyte)device.index);
}
