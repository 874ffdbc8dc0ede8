using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Gpu;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Grid.Gpu;

/// <summary>Grid storage on an NVIDIA GPU, by the kernels of src/Actipress.Kernels.</summary>
sealed class GpuGrid : Implementation
{
    static readonly ConcurrentDictionary<int, Lazy<(CudaDevice? Device, PlatformNotSupportedException? Refusal)>> devices = new();

    public override string Name => "grid, CUDA";

    /// <summary>
    /// Whether the kernels cover a codec: not a transform of the user's own, and no ratio below 2, where the step has a second rule.
    /// </summary>
    public override bool Covers(ActivationCodec codec) =>
        codec is { Encoding: GridStorage, Keep: not Keep.TopK { Ratio: < 2 } } && GridFormat.Covers(codec.Transform);

    public override bool RunsOn(Device device) => DeviceOf(device) is not null;

    /// <summary>The device of a tensor for the kernels; null where it is no CUDA device, or where the kernels do not run on it.</summary>
    public static CudaDevice? DeviceOf(Device device) => device.type == DeviceType.CUDA ? Open(Math.Max(0, device.index)).Device : null;

    /// <summary>Why the kernels do not run on <c>cuda:index</c>; null where they run.</summary>
    public static string? Refusal(int index) => Open(index).Refusal is { } refusal
        ? $"{refusal.Message} Maps on cuda:{index} go through torch's own operations, which is slower." : null;

    // A device is tried once in the life of the process. Where the kernels do not run, every map goes through torch's operations.
    static (CudaDevice? Device, PlatformNotSupportedException? Refusal) Open(int index) => devices.GetOrAdd(index, _ => new(() =>
    {
        try
        {
            var device = CudaDevice.Open(index);
            SelfCheck(device);
            return (device, null);
        }
        catch (PlatformNotSupportedException refusal) { return (null, refusal); }
        catch (TypeInitializationException failure) when (failure.InnerException is PlatformNotSupportedException refusal)
        {
            return (null, refusal);
        }
        catch (ExternalException failure) { return (null, new PlatformNotSupportedException(failure.Message, failure)); }
    })).Value;

    /// <remarks>The host waits once, for <see cref="GridPackOnGpu.IsMeasured"/>.</remarks>
    public override Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why) =>
        Pack(DeviceOf(map.device)!, map, codec, out why);

    /// <summary>Packs a map on a given device.</summary>
    public static Stored? Pack(GpuDevice gpu, Tensor map, ActivationCodec codec, out LeftRaw why)
    {
        using var begun = new GridPackOnGpu(gpu, map, codec);
        return begun.Finish(map, out why);
    }

    /// <summary>Packs and unpacks known maps on the device and on the CPU, and compares bytes and values.</summary>
    /// <exception cref="PlatformNotSupportedException">Bytes or values differ.</exception>
    public static void SelfCheck(GpuDevice gpu)
    {
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        var onCpu = new CpuGrid();
        // The maps have whole, ragged and small blocks, volumes, more tiles than one chunk, and whole maps under a wavelet.
        foreach (var (extents, text) in ((long[], string)[])
            [
                ([2, 3, 48, 40], "dct:10"), ([3, 20, 7, 7], "dct:4"), ([2, 5, 9, 17], "dct:4,block=8"), ([70, 1000], "st:10"),
                ([5, 21, 20], "wt:haar:10"),
            ])
        {
            var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
            var header = new MapHeader(codec, extents, float32);
            var wave = HeldScalars.Arange(extents.Aggregate(1L, (a, b) => a * b), float32).Mul_(0.37f).sin_().view(extents);
            foreach (var map in (Tensor[])[wave, wave.relu()])
            {
                using var expected = onCpu.Pack(map, codec, PackLimits.None, out _)!;
                using var packed = Pack(gpu, map.to(gpu.Device), codec, out var why);
                if (packed is null) throw Wrong($"a map of {string.Join(" x ", extents)} left raw ({why})");
                if (!packed.ToBytes().AsSpan().SequenceEqual(expected.ToBytes()))
                    throw Wrong($"other bytes of a map of {string.Join(" x ", extents)} under {text}");
                using Tensor back = packed.Unpack(header), local = back.cpu(), wanted = expected.Unpack(header);
                if (!local.Equals(wanted)) throw Wrong($"other values of a map of {string.Join(" x ", extents)} under {text}");
            }
        }

        PlatformNotSupportedException Wrong(string found) => new(
            $"The kernels are not used on {gpu.Device}: a trial found {found}, wanted what the CPU makes of it. Please report this with "
                + "the GPU's name.");
    }
}
