using System.Collections.Concurrent;
using Actipress.Codecs;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>Grid storage on an NVIDIA GPU, by the kernels of src/Actipress.Kernels.</summary>
sealed class GpuGrid : Implementation
{
    public override string Name => "grid, CUDA";

    /// <summary>Whether kernels know how to store maps: not under a transform of the user's own, nor below ratio 2, where the step has a second rule.</summary>
    public override bool Covers(ActivationCodec codec) =>
        codec is { Encoding: GridStorage, Keep: not Keep.TopK { Ratio: < 2 } } && GridFormat.Covers(codec.Transform);

    public override bool RunsOn(Device device) => CudaDevice.Of(device) is not null;

    /// <remarks>The host waits once, for <see cref="GridPackOnGpu.IsMeasured"/>.</remarks>
    public override Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why) =>
        Pack(CudaDevice.Of(map.device)!, map, codec, out why);

    /// <summary>The same on a device that the caller names.</summary>
    public static Stored? Pack(GpuDevice gpu, Tensor map, ActivationCodec codec, out LeftRaw why)
    {
        using var begun = new GridPackOnGpu(gpu, map, codec);
        return begun.Finish(map, out why);
    }

    /// <summary>A file is read to the CPU, on which no map is this implementation's.</summary>
    public override Stored Read(ref PackedReader reader, MapHeader header) =>
        throw new InvalidOperationException($"{Name} reads no files.");
}
