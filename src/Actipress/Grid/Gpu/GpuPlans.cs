using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Gpu;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;

namespace Actipress.Grid.Gpu;

/// <summary>
/// What the kernels of grid storage need on a device beside the maps: tables of cosines, and a plan of each kind of maps.
/// </summary>
sealed class GpuPlans
{
    // No model has so many kinds of maps.
    const int MostPlans = 512;

    static readonly ConditionalWeakTable<GpuDevice, GpuPlans> ofDevices = [];

    readonly ConcurrentDictionary<(MapShape, Transform), GpuPlan> plans = [];
    readonly Lazy<Tensor> cosines;
    readonly torch.Device device;

    GpuPlans(GpuDevice gpu)
    {
        device = gpu.Device;
        cosines = new(() => GpuDevice.Kept(torch.tensor(GridCosines.All(), device: gpu.Device)));
    }

    /// <summary>The plans of a device, which live as long as it does.</summary>
    public static GpuPlans On(GpuDevice gpu) => ofDevices.GetValue(gpu, one => new(one));

    /// <summary>The tables of <see cref="GridCosines.All"/>.</summary>
    public Tensor Cosines => cosines.Value;

    /// <summary>The plan of all maps of a shape, made at the first.</summary>
    public GpuPlan Of(MapShape shape, Transform transform)
    {
        if (plans.Count > MostPlans) plans.Clear();
        return plans.GetOrAdd((shape, transform), _ => new GpuPlan(GridFormat.Tiles(transform, shape), device));
    }
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

    public int Stretches => checked(Tiles.Chunks * KernelSizes.StretchesPerChunk);
}
