using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress;

/// <summary>An argument of a kernel: a tensor's memory, or a number or struct of numbers.</summary>
readonly struct KernelArgument
{
    KernelArgument(byte[] bytes, nint address, long length, object? value) => (Bytes, Address, Length, Value) = (bytes, address, length, value);

    /// <summary>As a kernel in PTX takes it; a buffer as its address and its length in elements, both of 64 bits.</summary>
    public byte[] Bytes { get; }

    /// <summary>Of a buffer.</summary>
    public nint Address { get; }

    /// <summary>Elements of a buffer.</summary>
    public long Length { get; }

    /// <summary>The number or struct; null for a buffer.</summary>
    public object? Value { get; }

    /// <summary>A contiguous tensor's memory, as elements of <typeparamref name="T"/>.</summary>
    public static KernelArgument Of<T>(Tensor tensor) where T : unmanaged
    {
        var (address, length) = (LibTorch.Data(tensor), tensor.Bytes() / Unsafe.SizeOf<T>());
        var bytes = new byte[2 * sizeof(long)];
        MemoryMarshal.Write(bytes, (long)address);
        MemoryMarshal.Write(bytes.AsSpan(sizeof(long)), length);
        return new(bytes, address, length, null);
    }

    /// <summary>A number, or a struct of numbers.</summary>
    public static KernelArgument Of<T>(T value) where T : unmanaged => new(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)).ToArray(), 0, 0, value);
}

/// <summary>Runs the kernels of src/Actipress.Kernels on the memory of one torch device.</summary>
abstract class GpuDevice(torch.Device device)
{
    // More than any model has kinds of maps.
    const int MostPlans = 512;

    readonly ConcurrentDictionary<(MapShape, Transform), GpuPlan> plans = [];
    readonly Lazy<Tensor> cosines = new(() => Kept(torch.tensor(GridCosines.All(), device: device)));

    /// <summary>Where tensors are.</summary>
    public torch.Device Device => device;

    /// <summary>Threads of a group: a multiple of 16, at most <see cref="KernelText.MostThreads"/>.</summary>
    public abstract int Threads { get; }

    /// <summary>Starts a kernel after what was started before on torch's current stream.</summary>
    /// <param name="kernel">Which.</param>
    /// <param name="groups">Groups of <see cref="Threads"/>.</param>
    /// <param name="arguments">As the kernel takes them.</param>
    public abstract void Launch(GridKernel kernel, int groups, params ReadOnlySpan<KernelArgument> arguments);

    /// <summary>Begins to read a tensor's bytes, as they are after what was started before on torch's current stream.</summary>
    public virtual GpuReading Read(Tensor memory)
    {
        using var local = memory.cpu();
        return new GpuReading(local.Elements<byte>().ToArray());
    }

    /// <summary>The tables of <see cref="GridCosines.All"/>.</summary>
    public Tensor Cosines => cosines.Value;

    /// <summary>What is known of all maps of a shape, made at the first.</summary>
    public GpuPlan PlanOf(MapShape shape, Transform transform)
    {
        if (plans.Count > MostPlans) plans.Clear();
        return plans.GetOrAdd((shape, transform), _ => new GpuPlan(GridFormat.Tiles(transform, shape), device));
    }

    /// <summary>A tensor that no dispose scope disposes.</summary>
    internal static Tensor Kept(Tensor tensor)
    {
        tensor.DetachFromDisposeScope();
        return tensor;
    }
}

/// <summary>Some bytes on their way from a GPU.</summary>
class GpuReading(byte[] bytes) : IDisposable
{
    /// <summary>Whether they are here.</summary>
    public virtual bool IsDone => true;

    /// <summary>The bytes, once they are here.</summary>
    public virtual byte[] Wait() => bytes;

    /// <inheritdoc/>
    public virtual void Dispose() => GC.SuppressFinalize(this);
}

/// <summary>What packing and unpacking need to know of a kind of maps.</summary>
sealed class GpuPlan
{
    public GpuPlan(GridTiles tiles, torch.Device device)
    {
        Tiles = tiles;
        var regions = MemoryMarshal.AsBytes(GpuRegion.Of(tiles).AsSpan()).ToArray();
        Regions = GpuDevice.Kept(torch.tensor(regions.Length == 0 ? [0] : regions, torch.uint8, device));
        if (tiles.Wavelet is { } wavelet)
        {
            (var maps, Sampled) = GridSample.Maps(wavelet);
            (SampledFrom, SampledElements, SampledCoefficients) = (maps.Shape.Maps, (long)Sampled * maps.Elements, Sampled * maps.Coefficients);
            (Levels, SampledLevels) = (GpuLevel.Of(wavelet), GpuLevel.Of(maps));
            unsafe { Filters = GpuDevice.Kept(torch.tensor(new Span<float>(wavelet.Low, 4 * wavelet.Taps).ToArray(), device: device)); }
            return;
        }
        (Sampled, SampledElements) = GridSample.Tiles(tiles);
        SampledCoefficients = 256 * Sampled;
    }

    public GridTiles Tiles { get; }

    /// <summary>The regions of the tiles, on the device.</summary>
    public Tensor Regions { get; }

    /// <summary>Tiles of the sample, or under a wavelet maps or strips of them.</summary>
    public int Sampled { get; }

    /// <summary>Of how many maps or strips.</summary>
    public long SampledFrom { get; }

    /// <summary>Values in them.</summary>
    public long SampledElements { get; }

    /// <summary>Coefficients of them.</summary>
    public int SampledCoefficients { get; }

    /// <summary>Under a wavelet the levels from fine to coarse; else none.</summary>
    public GpuLevel[] Levels { get; } = [];

    /// <summary>Likewise of what is sampled.</summary>
    public GpuLevel[] SampledLevels { get; } = [];

    /// <summary>Under a wavelet its filters on the device, as <see cref="GridWavelet"/> has them one after the other.</summary>
    public Tensor? Filters { get; }

    public int Stretches => checked(Tiles.Chunks * KernelText.StretchesPerChunk);
}
