using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>Devices by the names of <c>--device</c>.</summary>
public static class Devices
{
    /// <summary>The device called <c>cpu</c>, <c>cuda</c> or <c>cuda:n</c>, if it can be used.</summary>
    /// <exception cref="ArgumentException">The name is unknown, or there is no such GPU; the message lists the devices.</exception>
    public static Device Parse(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name == "cpu") return CPU;
        var index = 0;
        if (name != "cuda" && !(name.StartsWith("cuda:", StringComparison.Ordinal)
            && int.TryParse(name["cuda:".Length..], System.Globalization.NumberStyles.None, null, out index)))
            throw new ArgumentException($"No device '{name}': wanted cpu, cuda or cuda:n.");
        var count = cuda.is_available() ? cuda.device_count() : 0;
        if (index < count) return new Device(DeviceType.CUDA, index);
        throw new ArgumentException(count > 0
            ? $"No device '{name}': found {count} GPUs, cuda:0 to cuda:{count - 1}."
            : $"No device '{name}': this libtorch finds no GPU. {GpuKernels.Describe(new Device(DeviceType.CUDA, index))} " +
              "Where there is a GPU, build with TORCH_BACKEND=cuda-linux (or -p:TorchBackend=cuda-linux), or see docs/gpu.md for an "
              + "installed PyTorch's libtorch.");
    }

    /// <summary>The device of a rank. <c>cuda</c> alone gives each rank of a machine a GPU of its own.</summary>
    /// <exception cref="ArgumentException">The name is unknown, there is no such GPU, or the machine has fewer GPUs than ranks.</exception>
    public static Device Of(Distributed.Ranks ranks, string name)
    {
        ArgumentNullException.ThrowIfNull(ranks);
        return Parse(name == "cuda" && ranks.LocalSize > 1 ? $"cuda:{ranks.LocalRank}" : name);
    }

    /// <summary>The name of the device in results: <c>cpu</c>, or <c>cuda:0</c> with the GPU's name.</summary>
    public static string Name(Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return device.type == DeviceType.CUDA ? $"cuda:{Math.Max(0, device.index)}, {GpuKernels.NameOf(device)}" : "cpu";
    }

    /// <summary>
    /// A meter for the device, which the caller disposes; null where the device's figures cannot be read.
    /// </summary>
    /// <param name="device">The device to measure.</param>
    /// <param name="refusal">Why there is no meter.</param>
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

    /// <summary>A sentence that says what the figures of memory are, where they are not an allocator's own; null where they are.</summary>
    public static string? MemoryNote(Device device) =>
        AllocatorMeter.IsExactOn(device) ? null : $"Figures of memory are those of {AllocatorMeter.SourceOn(device)}.";

    /// <summary>Waits until all queued work of the device is done, for timings. On the CPU there is none.</summary>
    public static void Synchronize(Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (device.type == DeviceType.CUDA) cuda.synchronize(device);
    }
}
