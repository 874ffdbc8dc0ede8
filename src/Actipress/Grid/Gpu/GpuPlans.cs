using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Gpu;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;

namespace Actipress.Grid.Gpu;

/// <summary>The tables of the kernels of grid storage on a device: cosines, and a plan for each shape and transform.</summary>
sealed class GpuPlans
{
    // No model has this many shapes of maps.
    const int MostPlans = 512;

    static readonly ConditionalWeakTable<GpuDevice, GpuPlans> ofDevices = [];

    readonly ConcurrentDictionary<(MapShape, Transform), GpuPlan> plans = [];
    readonly Lazy<Tensor> cosines;
    readonly torch.Device device;

    GpuPlans(GpuDevice gpu)
    {
        device = gpu.Device;
        cosines = new(() => torch.tensor(GridCosines.All(), device: gpu.Device).DetachFromDisposeScope());
    }

    /// <summary>The plans of a device, which live as long as the device.</summary>
    public static GpuPlans On(GpuDevice gpu) => ofDevices.GetValue(gpu, one => new(one));

    /// <summary>The tables of <see cref="GridCosines.All"/>.</summary>
    public Tensor Cosines => cosines.Value;

    /// <summary>The plan of a shape and transform, which is made at the first call.</summary>
    public GpuPlan Of(MapShape shape, Transform transform)
    {
        if (plans.Count > MostPlans) plans.Clear();
        return plans.GetOrAdd((shape, transform), _ => new GpuPlan(GridFormat.Tiles(transform, shape), device));
    }
}

/// <summary>The plan of packing and unpacking maps of one shape by one transform.</summary>
sealed class GpuPlan
{
    public GpuPlan(GridTiles tiles, torch.Device device)
    {
        Tiles = tiles;
        var regions = MemoryMarshal.AsBytes(GpuRegion.Of(tiles).AsSpan()).ToArray();
        Regions = torch.tensor(regions.Length == 0 ? [0] : regions, torch.uint8, device).DetachFromDisposeScope();
        if (tiles.Wavelet is { } wavelet)
        {
            (var maps, Sampled) = GridSample.Maps(wavelet);
            (SampledFrom, SampledElements, SampledCoefficients) =
                (maps.Shape.Maps, (long)Sampled * maps.Elements, Sampled * maps.Coefficients);
            (Levels, SampledLevels) = (GpuLevel.Of(wavelet), GpuLevel.Of(maps));
            float[] filters;
            unsafe { filters = new Span<float>(wavelet.Low, 4 * wavelet.Taps).ToArray(); }
            Filters = torch.tensor(filters, device: device).DetachFromDisposeScope();
            return;
        }
        (Sampled, SampledElements) = GridSample.Tiles(tiles);
        SampledCoefficients = 256 * Sampled;
    }

    public GridTiles Tiles { get; }

    /// <summary>The regions of the tiles, on the device.</summary>
    public Tensor Regions { get; }

    /// <summary>The number of tiles of the sample; under a wavelet the number of maps or of strips of maps.</summary>
    public int Sampled { get; }

    /// <summary>The number of maps or strips from which the sample is chosen.</summary>
    public long SampledFrom { get; }

    /// <summary>The number of values of the sample.</summary>
    public long SampledElements { get; }

    /// <summary>The number of coefficients of the sample.</summary>
    public int SampledCoefficients { get; }

    /// <summary>The levels of a wavelet from fine to coarse; empty for other transforms.</summary>
    public GpuLevel[] Levels { get; } = [];

    /// <summary>The levels of the sampled maps or strips.</summary>
    public GpuLevel[] SampledLevels { get; } = [];

    /// <summary>The filters of a wavelet on the device, in the order of <see cref="GridWavelet"/>.</summary>
    public Tensor? Filters { get; }

    public int Stretches => checked(Tiles.Chunks * KernelSizes.StretchesPerChunk);
}
