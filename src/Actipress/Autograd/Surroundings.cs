using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>What a block's run depends on beside its inputs and parameters: the random states and autocast.</summary>
sealed class Surroundings : IDisposable
{
    readonly (Device Device, Tensor State)[] randomAtFirst;
    readonly Autocast autocast = Autocast.Here();
    (Device Device, Tensor State)[] random;

    Surroundings(IEnumerable<Device> devices)
    {
        randomAtFirst = [.. devices.Append(CPU).DistinctBy(device => (device.type, device.index)).Where(RandomState.IsKnown).Select(device => (device, RandomState.Get(device)))];
        random = randomAtFirst;
    }

    /// <summary>Those of this thread at this moment, with the random states of <paramref name="devices"/> and the CPU.</summary>
    public static Surroundings Here(IEnumerable<Device> devices) => new(devices);

    /// <summary>Forgets the states of generators that have not been used since.</summary>
    public void ForgetUnused()
    {
        random = [.. randomAtFirst.Where(kept =>
        {
            using var now = RandomState.Get(kept.Device);
            if (!now.Equals(kept.State)) return true;
            kept.State.Dispose();
            return false;
        })];
    }

    /// <summary>Brings them back until the result is disposed.</summary>
    public IDisposable Again() => new Back(this);

    public void Dispose()
    {
        foreach (var (_, state) in random) state.Dispose();
    }

    sealed class Back : IDisposable
    {
        readonly (Device Device, Tensor State)[] now;
        readonly IDisposable autocast;

        public Back(Surroundings then)
        {
            now = Array.ConvertAll(then.random, kept => (kept.Device, RandomState.Get(kept.Device)));
            foreach (var (device, state) in then.random) RandomState.Set(device, state);
            autocast = then.autocast.Again();
        }

        public void Dispose()
        {
            autocast.Dispose();
            foreach (var (device, state) in now)
            {
                RandomState.Set(device, state);
                state.Dispose();
            }
        }
    }
}

/// <summary>The state of a device's default generator. TorchSharp offers that of the CPU only.</summary>
static unsafe class RandomState
{
    static readonly Lazy<nint> cudaGenerator = new(() => LibTorch.SymbolIn("libtorch_cuda.so", "_ZN2at4cuda4detail23getDefaultCUDAGeneratorEa"));

    /// <summary>Whether the device has a generator that can be asked.</summary>
    public static bool IsKnown(Device device) => device.type == DeviceType.CPU || (device.type == DeviceType.CUDA && cudaGenerator.Value != 0);

    /// <summary>The state, which the caller disposes.</summary>
    public static Tensor Get(Device device)
    {
        var state = device.type == DeviceType.CPU ? get_rng_state() : LibTorch.Take(
            (delegate* unmanaged[Cdecl]<nint, nint, nint>)LibTorch.Symbol("_ZNK2at9Generator9get_stateEv"), Cuda(device));
        state.DetachFromDisposeScope();
        return state;
    }

    public static void Set(Device device, Tensor state)
    {
        if (device.type == DeviceType.CPU) set_rng_state(state);
        else ((delegate* unmanaged[Cdecl]<nint, nint, void>)LibTorch.Symbol("_ZN2at9Generator9set_stateERKNS_6TensorE"))(Cuda(device), state.Handle);
    }

    static nint Cuda(Device device) => ((delegate* unmanaged[Cdecl]<sbyte, nint>)cudaGenerator.Value)((sbyte)device.index);
}
