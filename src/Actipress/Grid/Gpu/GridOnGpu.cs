using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Gpu;
using static TorchSharp.torch;

namespace Actipress.Grid.Gpu;

/// <summary>
/// A map in grid storage on a GPU: the bytes that <see cref="GridMap"/> would write, in one tensor, and an index that lets groups of
/// threads begin anywhere. The index has the offset of each chunk, the bits of each stretch of 64 tiles, and the number of bits of levels
/// of each tile.
/// </summary>
sealed class GridOnGpu : Stored
{
    readonly GpuDevice gpu;
    readonly Tensor words, stretches, starts, levelBits;
    readonly GpuSteps steps;
    readonly long gridBytes;

    internal GridOnGpu(GpuDevice gpu, GpuState state, Tensor words, Tensor stretches, Tensor starts, Tensor levelBits)
    {
        (this.gpu, this.words, this.stretches, this.starts, this.levelBits) = (gpu, words, stretches, starts, levelBits);
        (steps, gridBytes, HasZeros) = (new(state.Step, state.FirstOffset, state.OtherOffset), state.Bytes, state.HasZeros != 0);
        foreach (var tensor in Tensors) tensor.DetachFromDisposeScope();
    }

    GridOnGpu(GridOnGpu other, Tensor[] tensors)
    {
        (gpu, steps, gridBytes, HasZeros) = (other.gpu, other.steps, other.gridBytes, other.HasZeros);
        (words, stretches, starts, levelBits) = (tensors[0], tensors[1], tensors[2], tensors[3]);
        foreach (var tensor in Tensors) tensor.DetachFromDisposeScope();
    }

    /// <summary>All tensors that are held.</summary>
    public override Tensor[] Tensors => [words, stretches, starts, levelBits];

    /// <summary>The same map with copies of <see cref="Tensors"/>, which the result disposes.</summary>
    public override Stored With(Tensor[] tensors) => new GridOnGpu(this, tensors);

    /// <summary>Whether the map's zeros are kept exactly, and everything else is positive.</summary>
    public override bool HasZeros { get; }

    /// <summary>The bytes held, with the index.</summary>
    public override long Bytes => words.Bytes() + stretches.Bytes() + starts.Bytes() + levelBits.Bytes();

    /// <summary>Rebuilds the map into a new tensor, which the caller disposes. Nothing waits.</summary>
    public override Tensor Unpack(MapHeader header)
    {
        var plan = GpuPlans.On(gpu).Of(header.Shape, header.Codec.Transform);
        var layout = new GpuMap(plan.Tiles, header.Type);
        var map = empty(header.Extents, header.Type, gpu.Device);
        try
        {
            var values = KernelArgument.Of<byte>(map);
            if (plan.Tiles.Wavelet is null) UnpackTiles(plan, layout, values, plan.Stretches);
            else
                foreach (var (units, firstUnit, count) in GridPackOnGpu.Batches(layout, plan.Tiles.Wavelet))
                {
                    var room = count * (long)layout.TilesPerUnit * 256;
                    using var coefficients = empty(room, float32, gpu.Device);
                    UnpackTiles(
                        plan, layout.OfCoefficients(firstUnit, room), KernelArgument.Of<byte>(coefficients),
                        count * layout.ChunksPerUnit * KernelSizes.StretchesPerChunk);
                    Combine(plan, layout, units, coefficients, values);
                }
            return map;
        }
        catch
        {
            map.Dispose();
            throw;
        }
    }

    void UnpackTiles(GpuPlan plan, GpuMap layout, KernelArgument values, int groups) => gpu.Launch(
        GridKernel.Unpack, groups, KernelArgument.Of<uint>(words), KernelArgument.Of<GpuCounts>(stretches), KernelArgument.Of<long>(starts),
        KernelArgument.Of<ushort>(levelBits), KernelArgument.Of(steps), KernelArgument.Of(HasZeros ? 1 : 0), KernelArgument.Of(layout),
        KernelArgument.Of<GpuRegion>(plan.Regions), KernelArgument.Of<float>(GpuPlans.On(gpu).Cosines), values);

    void Combine(GpuPlan plan, GpuMap layout, GpuUnits units, Tensor coefficients, KernelArgument values)
    {
        Tensor? low = null;
        try
        {
            foreach (var level in plan.Levels.Reverse())
            {
                var whole = empty(level.Finest != 0 ? 1 : (long)units.Maps * level.Elements, float32, gpu.Device);
                gpu.Launch(
                    GridKernel.Combine, GridPackOnGpu.Groups(gpu, (long)units.Maps * level.Elements),
                    KernelArgument.Of<float>(coefficients), KernelArgument.Of<float>(low ?? whole), KernelArgument.Of(units),
                    KernelArgument.Of(level), KernelArgument.Of<float>(plan.Filters!), KernelArgument.Of<float>(whole), values,
                    KernelArgument.Of(layout), KernelArgument.Of<uint>(words), KernelArgument.Of<GpuCounts>(stretches),
                    KernelArgument.Of<long>(starts), KernelArgument.Of(steps), KernelArgument.Of(HasZeros ? 1 : 0));
                low?.Dispose();
                low = whole;
            }
        }
        finally { low?.Dispose(); }
    }

    /// <summary>What <see cref="GridOnCpu.Write"/> writes.</summary>
    public override void Write(BinaryWriter writer)
    {
        PackedReader.WriteZeros(writer, null);
        using var local = words.cpu();
        writer.Write(local.Elements<byte>()[..checked((int)gridBytes)]);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        words.Dispose();
        stretches.Dispose();
        starts.Dispose();
        levelBits.Dispose();
    }
}
