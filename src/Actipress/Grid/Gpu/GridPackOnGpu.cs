using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Gpu;
using Actipress.Grid.Wavelets;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Grid.Gpu;

/// <summary>
/// The packing of a map into grid storage on a GPU. The map is read once to find the step and to measure the size, which is copied to the
/// host without waiting. When the size is known, the host allocates the result, and the map is read again and written.
/// </summary>
sealed class GridPackOnGpu : IDisposable
{
    // The number of values of a thread where each value is independent, and the largest useful number of groups of any GPU.
    const int ValuesPerThread = 8, MostGroups = 1 << 16;

    // The number of coefficients of units that are in memory together, but at least those of one unit.
    const long CoefficientsTogether = 8 << 20;

    readonly GpuDevice gpu;
    readonly ActivationCodec codec;
    readonly GpuPlan plan;
    readonly GpuMap layout;
    readonly Tensor? stateMemory;
    readonly GpuReading reading;
    Tensor? stretches, starts, levelBits;

    /// <summary>Begins packing, without waiting.</summary>
    /// <param name="gpu">The map's device.</param>
    /// <param name="map">Not disposed; must stay as it is until <see cref="Finish"/>.</param>
    /// <param name="codec">One that <see cref="GpuGrid.Covers"/> knows.</param>
    public GridPackOnGpu(GpuDevice gpu, Tensor map, ActivationCodec codec)
    {
        if (map.device_type != gpu.Device.type || Math.Max(0, map.device_index) != Math.Max(0, gpu.Device.index))
            throw new ArgumentException(
                $"A map on {map.device} was given to the kernels of {gpu.Device}: move it there first.", nameof(map));
        (this.gpu, this.codec, plan) = (gpu, codec, GpuPlans.On(gpu).Of(MapShape.Of(map.shape), codec.Transform));
        layout = new GpuMap(plan.Tiles, map.dtype);
        try
        {
            stretches = empty(Math.Max(1, plan.Stretches) * Unsafe.SizeOf<GpuCounts>(), uint8, gpu.Device).DetachFromDisposeScope();
            starts = empty(plan.Tiles.Chunks, int64, gpu.Device).DetachFromDisposeScope();
            levelBits = empty(layout.Tiles, int16, gpu.Device).DetachFromDisposeScope();
            stateMemory = zeros(Unsafe.SizeOf<GpuState>(), uint8, gpu.Device).DetachFromDisposeScope();
            using var contiguous = map.contiguous();
            KernelArgument values = KernelArgument.Of<byte>(contiguous);
            FindStep(gpu, plan, codec.Keep, values, layout, State);
            if (plan.Tiles.Wavelet is not null)
                gpu.Launch(GridKernel.Look, Groups(gpu, layout.Elements), values, KernelArgument.Of(layout), State);
            foreach (var (coefficients, part, groups) in Parts(gpu, plan, values, layout))
                gpu.Launch(
                    GridKernel.Measure, groups, coefficients, KernelArgument.Of(part), Regions, Cosines, Counts,
                    KernelArgument.Of<ushort>(levelBits), State);
            gpu.Launch(
                GridKernel.Lay, 1, KernelArgument.Of(layout), Regions, Counts, KernelArgument.Of(plan.Tiles.Chunks),
                KernelArgument.Of(codec.ExactZeros ? 1 : 0), Places, State);
            reading = gpu.Read(stateMemory);
        }
        catch
        {
            DisposeTensors();
            throw;
        }
    }

    KernelArgument State => KernelArgument.Of<GpuState>(stateMemory!);
    KernelArgument Regions => KernelArgument.Of<GpuRegion>(plan.Regions);
    KernelArgument Cosines => KernelArgument.Of<float>(GpuPlans.On(gpu).Cosines);
    KernelArgument Counts => KernelArgument.Of<GpuCounts>(stretches!);
    KernelArgument Places => KernelArgument.Of<long>(starts!);

    /// <summary>Whether <see cref="Finish"/> need not wait.</summary>
    public bool IsMeasured => reading.IsDone;

    /// <summary>
    /// Waits until the map is measured, and queues its writing. Null, with a reason, where the map is better left as it is. It may be
    /// called once.
    /// </summary>
    /// <param name="map">The same map as in the constructor.</param>
    /// <param name="why">Why nothing was packed.</param>
    public Stored? Finish(Tensor map, out LeftRaw why)
    {
        var found = MemoryMarshal.Read<GpuState>(reading.Wait());
        why = LeftRaw.NotFinite;
        if (found.NotFinite != 0) return null;
        why = LeftRaw.NotSmaller;
        var wordBytes = (found.Bytes + KernelSizes.Slack + 3) / 4 * 4;
        if (!codec.EvenIfLarger && wordBytes + stretches!.Bytes() + starts!.Bytes() + levelBits!.Bytes() >= map.Bytes()) return null;
        using var contiguous = map.contiguous();
        KernelArgument values = KernelArgument.Of<byte>(contiguous);
        var words = zeros(wordBytes, uint8, gpu.Device);
        try
        {
            var bytes = KernelArgument.Of<uint>(words);
            foreach (var (coefficients, part, groups) in Parts(gpu, plan, values, layout))
                gpu.Launch(GridKernel.Write, groups, coefficients, KernelArgument.Of(part), Regions, Cosines, Counts, Places, State, bytes);
            if (plan.Tiles.Wavelet is { } wavelet && found.HasZeros != 0)
                gpu.Launch(
                    GridKernel.KeepZeros, checked((int)wavelet.Units), values, KernelArgument.Of(layout), Regions, Counts, Places, State,
                    bytes);
        }
        catch
        {
            words.Dispose();
            throw;
        }
        why = LeftRaw.No;
        var grid = new GridOnGpu(gpu, found, words, stretches!, starts!, levelBits!);
        stretches = starts = levelBits = null;
        return grid;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        reading.Dispose();
        DisposeTensors();
    }

    void DisposeTensors()
    {
        stateMemory?.Dispose();
        stretches?.Dispose();
        starts?.Dispose();
        levelBits?.Dispose();
    }

    // Computes the step and the offsets from a sample.
    static void FindStep(GpuDevice gpu, GpuPlan plan, Keep keep, KernelArgument values, GpuMap layout, KernelArgument state)
    {
        using var coefficients = plan.Tiles.Wavelet is not null
            ? Divided(
                gpu, plan, plan.SampledLevels, values, layout,
                new GpuUnits { Maps = plan.Sampled, ChosenFrom = plan.SampledFrom, MapsPerUnit = plan.Sampled }, plan.SampledCoefficients)
            : empty(plan.SampledCoefficients, float32, gpu.Device);
        using var histogramMemory = zeros(KernelSizes.Bins, int32, gpu.Device);
        KernelArgument sample = KernelArgument.Of<float>(coefficients), histograms = KernelArgument.Of<int>(histogramMemory),
            count = KernelArgument.Of(plan.SampledCoefficients);
        var groups = Groups(gpu, plan.SampledCoefficients);
        if (plan.Tiles.Wavelet is null)
            gpu.Launch(
                GridKernel.Sample, Groups(plan.Sampled, gpu.Threads / 16), values, KernelArgument.Of(layout),
                KernelArgument.Of<GpuRegion>(plan.Regions), KernelArgument.Of<float>(GpuPlans.On(gpu).Cosines),
                KernelArgument.Of(plan.Sampled), sample);
        if (keep is Keep.TopK top)
        {
            gpu.Launch(GridKernel.Tally, groups, sample, count, histograms, state);
            var wanted = KernelArgument.Of((int)Math.Min(TopK.Count(plan.SampledElements, top.Ratio), plan.SampledCoefficients));
            for (var pass = 1; pass <= 2; pass++)
                gpu.Launch(GridKernel.Narrow, groups, sample, count, wanted, KernelArgument.Of(pass), histograms, state);
        }
        var given = keep is Keep.Above above ? Math.Max(above.Threshold, GridSample.SmallestStep) : 0;
        gpu.Launch(GridKernel.Settle, groups, sample, count, KernelArgument.Of(given), histograms, state);
    }

    // The inputs of kernels that work on tiles, with their numbers of groups: the whole map, or under a wavelet the coefficients of some
    // units at a time.
    static IEnumerable<(KernelArgument Values, GpuMap Layout, int Groups)> Parts(
        GpuDevice gpu, GpuPlan plan, KernelArgument values, GpuMap layout)
    {
        if (plan.Tiles.Wavelet is null)
        {
            yield return (values, layout, plan.Stretches);
            yield break;
        }
        foreach (var (units, firstUnit, count) in Batches(layout, plan.Tiles.Wavelet))
        {
            var room = count * (long)layout.TilesPerUnit * 256;
            using var coefficients = Divided(gpu, plan, plan.Levels, values, layout, units, room);
            yield return (
                KernelArgument.Of<byte>(coefficients), layout.OfCoefficients(firstUnit, room),
                count * layout.ChunksPerUnit * KernelSizes.StretchesPerChunk);
        }
    }

    internal static IEnumerable<(GpuUnits Units, int First, int Count)> Batches(GpuMap layout, GridWavelet wavelet)
    {
        var together = (int)Math.Max(1, CoefficientsTogether / (256L * layout.TilesPerUnit));
        for (var first = 0; first < wavelet.Units; first += together)
        {
            var count = (int)Math.Min(together, wavelet.Units - first);
            var firstMap = first * wavelet.MapsPerUnit;
            yield return (new GpuUnits
            {
                Maps = Math.Min(layout.Maps - firstMap, count * wavelet.MapsPerUnit),
                FirstMap = firstMap,
                MapsPerUnit = wavelet.MapsPerUnit,
                TilesPerUnit = layout.TilesPerUnit,
            }, first, count);
        }
    }

    // Computes the coefficients of whole maps, with zeros where a unit's last tile has none; the caller disposes them.
    static Tensor Divided(GpuDevice gpu, GpuPlan plan, GpuLevel[] levels, KernelArgument values, GpuMap layout, GpuUnits units, long room)
    {
        var coefficients = zeros(room, float32, gpu.Device);
        Tensor? whole = null;
        try
        {
            foreach (var level in levels)
            {
                var low = empty(level.Coarsest != 0 ? 1 : (long)units.Maps * level.HalfElements, float32, gpu.Device);
                gpu.Launch(
                    GridKernel.Divide, Groups(gpu, (long)units.Maps * level.HalfElements), values, KernelArgument.Of(layout),
                    KernelArgument.Of(units), KernelArgument.Of(level), KernelArgument.Of<float>(plan.Filters!),
                    KernelArgument.Of<float>(whole ?? low), KernelArgument.Of<float>(low), KernelArgument.Of<float>(coefficients));
                whole?.Dispose();
                whole = low;
            }
            return coefficients;
        }
        catch
        {
            coefficients.Dispose();
            throw;
        }
        finally { whole?.Dispose(); }
    }

    internal static int Groups(GpuDevice gpu, long values) =>
        (int)Math.Min(MostGroups, (values + gpu.Threads * ValuesPerThread - 1) / (gpu.Threads * ValuesPerThread));

    static int Groups(int count, int each) => (count + each - 1) / each;
}
