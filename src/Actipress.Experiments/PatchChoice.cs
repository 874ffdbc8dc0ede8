using Actipress.Accounting;
using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>A patch and a batch, and the memory of their training step.</summary>
/// <param name="Patch">Depth, height and width.</param>
/// <param name="Batch">The number of patches of a step.</param>
/// <param name="Bytes">The predicted bytes: parameters, the optimizer's two moments of each, input, and the step's peak.</param>
/// <param name="Fits">Whether the bytes are within the bound; otherwise it is the smallest choice.</param>
public sealed record PatchStep(IReadOnlyList<int> Patch, int Batch, long Bytes, bool Fits)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Batch} of {string.Join(" x ", Patch)}, {CompressionReport.Bytes(Bytes)}";
}

/// <summary>The largest patch and batch for a bound on a step's memory, with and without compression.</summary>
/// <param name="Compressed">The choice with compression.</param>
/// <param name="Plain">The choice without compression.</param>
public sealed record PatchChoice(PatchStep Compressed, PatchStep Plain)
{
    // A U-Net of five levels halves four times. With fewer than two voxels at the coarsest level its batch norms learn nothing.
    const int Grain = 16, Smallest = 32;

    // Adam holds two moments of each parameter.
    const int OptimizerCopies = 2;

    /// <summary>
    /// Makes the choice. The patch grows along the axis of which it covers the smallest share, up to the whole volume. Then the batch
    /// doubles.
    /// </summary>
    /// <param name="create">Makes the network on the CPU.</param>
    /// <param name="channels">The number of channels of its input.</param>
    /// <param name="whole">The depth, height and width of a typical volume.</param>
    /// <param name="batch">The least batch.</param>
    /// <param name="mostBatch">The largest batch: the number of training cases.</param>
    /// <param name="codec">The codec of the maps.</param>
    /// <param name="objective">The objective of the training.</param>
    /// <param name="bytes">The bound.</param>
    /// <exception cref="InsufficientMemoryException">
    /// Not even the smallest patch fits with compression; the message says how many bytes it takes.
    /// </exception>
    /// <exception cref="PlatformNotSupportedException">The allocator cannot be measured here.</exception>
    public static PatchChoice Of(
        Func<nn.Module<Tensor, Tensor>> create, int channels, IReadOnlyList<int> whole, int batch, int mostBatch, ActivationCodec codec,
            Objective objective, long bytes)
    {
        ArgumentNullException.ThrowIfNull(create);
        ArgumentNullException.ThrowIfNull(objective);
        var steps = Steps(whole, batch, mostBatch);
        using var model = create();
        var known = new Dictionary<long, (long Compressed, long Plain)>();
        var (compressed, plain) = (Largest(step => Predict(step).Compressed), Largest(step => Predict(step).Plain));
        if (!compressed.Fits)
            throw new InsufficientMemoryException($"No patch fits in {CompressionReport.Bytes(bytes)}: the smallest, {compressed}, is too "
                + "large. Give more memory, a network with fewer --features, or a coarser --codec.");
        return new(compressed, plain);

        PatchStep Largest(Func<long, long> taken)
        {
            var search = new LargestThatFits(taken, Voxels) { Least = 0, Most = steps.Count - 1, Start = (0, 1) };
            var fits = search.Within(bytes);
            var (patch, batch) = steps[(int)Math.Max(0, fits)];
            return new(patch, batch, search.Taken(Math.Max(0, fits)), fits >= 0);
        }

        double Voxels(long step) => steps[(int)step].Patch.Aggregate((double)steps[(int)step].Batch, (product, extent) => product * extent);

        (long Compressed, long Plain) Predict(long step)
        {
            if (known.TryGetValue(step, out var taken)) return taken;
            var (patch, examples) = steps[(int)step];
            var prediction =
                MemoryPrediction.Of(model, [examples, channels, .. patch.Select(extent => (long)extent)], codec, Loss);
            var moments = OptimizerCopies * model.parameters().Sum(parameter => parameter.Bytes());
            return known[step] = (prediction.NeededBytes(compressed: true) + moments, prediction.NeededBytes(compressed: false) + moments);
        }

        Tensor Loss(Tensor output)
        {
            using var target = zeros([output.shape[0], .. output.shape[2..]], int64);
            return objective.Loss(output, target);
        }
    }

    /// <summary>The patches and batches, from the smallest on.</summary>
    internal static IReadOnlyList<(IReadOnlyList<int> Patch, int Batch)> Steps(IReadOnlyList<int> whole, int batch, int mostBatch)
    {
        int[] most = [.. whole.Select(extent => Math.Max(Smallest, (extent + Grain - 1) / Grain * Grain))],
            patch = [Smallest, Smallest, Smallest];
        var steps = new List<(IReadOnlyList<int>, int)> { ([.. patch], batch) };
        while (Enumerable.Range(0, 3).Where(axis => patch[axis] < most[axis]).ToArray() is { Length: > 0 } open)
        {
            patch[open.MinBy(axis => (double)patch[axis] / whole[axis])] += Grain;
            steps.Add(([.. patch], batch));
        }
        for (var more = 2 * batch; more <= mostBatch; more *= 2) steps.Add(([.. patch], more));
        return steps;
    }
}
