using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>Devices by name, as <c>--device</c> takes them.</summary>
public static class Devices
{
    /// <summary>The device called <c>cpu</c>, <c>cuda</c> or <c>cuda:n</c>, if it can be used.</summary>
    /// <exception cref="ArgumentException">Another name, or no such GPU; the message says what there is.</exception>
    public static Device Parse(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name == "cpu") return CPU;
        var index = 0;
        if (name != "cuda" && !(name.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(name["cuda:".Length..], System.Globalization.NumberStyles.None, null, out index)))
            throw new ArgumentException($"No device '{name}': wanted cpu, cuda or cuda:n.");
        var count = cuda.is_available() ? cuda.device_count() : 0;
        if (index < count) return new Device(DeviceType.CUDA, index);
        throw new ArgumentException(count > 0
            ? $"No device '{name}': found {count} GPUs, cuda:0 to cuda:{count - 1}."
            : $"No device '{name}': this libtorch finds no GPU. {GpuKernels.Describe(new Device(DeviceType.CUDA, index))} " +
              "Where there is a GPU, build with TORCH_BACKEND=cuda-linux (or -p:TorchBackend=cuda-linux), or see docs/gpu.md for an installed PyTorch's libtorch.");
    }

    /// <summary>Likewise; <c>cuda</c> alone is a GPU of its own for each rank of a machine.</summary>
    /// <exception cref="ArgumentException">Another name, no such GPU, or fewer GPUs than the machine has ranks.</exception>
    public static Device Of(Distributed.Ranks ranks, string name)
    {
        ArgumentNullException.ThrowIfNull(ranks);
        return Parse(name == "cuda" && ranks.LocalSize > 1 ? $"cuda:{ranks.LocalRank}" : name);
    }

    /// <summary>The device as results name it: <c>cpu</c>, or <c>cuda:0</c> with its GPU's name.</summary>
    public static string Name(Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return device.type == DeviceType.CUDA ? $"cuda:{Math.Max(0, device.index)}, {GpuKernels.NameOf(device)}" : "cpu";
    }

    /// <summary>A meter for the device, for the caller to dispose; null where its figures are not to be had, as under a preloaded jemalloc.</summary>
    /// <param name="device">Whose memory.</param>
    /// <param name="refusal">Why there is none.</param>
    public static AllocatorMeter? Meter(Device device, out string? refusal)
    {
        refusal = null;
        try { return AllocatorMeter.Start(device); }
        catch (PlatformNotSupportedException unknown)
        {
            refusal = unknown.Message;
            return null;
        }
    }

    /// <summary>Waits until everything that was started on the device is done: for timings. On the CPU it is.</summary>
    public static void Synchronize(Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (device.type == DeviceType.CUDA) cuda.synchronize(device);
    }
}
