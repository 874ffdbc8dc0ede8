namespace Actipress.Experiments;

/// <summary>The largest batch whose training step fits in a memory, plain and compressed. It is predicted; nothing large is run.</summary>
/// <param name="Network">The network's name in the paper.</param>
/// <param name="Input">The shape of one example.</param>
/// <param name="Codec">The codec of the maps.</param>
/// <param name="MemoryBytes">The bytes that the model, its input and the step may take together.</param>
/// <param name="Batch">The given batch.</param>
/// <param name="PlainBytes">The bytes of the given batch, plain.</param>
/// <param name="CompressedBytes">The bytes of the given batch, compressed.</param>
/// <param name="LargestPlain">The largest batch that fits, plain; 0 where not even one example fits.</param>
/// <param name="LargestCompressed">The largest batch that fits, compressed.</param>
public sealed record MemoryFit(
    string Network, IReadOnlyList<long> Input, string Codec, long MemoryBytes, int Batch, long PlainBytes, long CompressedBytes,
    long LargestPlain, long LargestCompressed)
{
    /// <summary>The largest compressed batch over the largest plain batch; infinite where not even one plain example fits.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public double Times => (double)LargestCompressed / LargestPlain;

    /// <summary>Predicts a plan's batch and two other batches, between which memory grows linearly.</summary>
    /// <param name="plan">The plan, whose first codec is used, on all layers.</param>
    /// <param name="memoryBytes">The bytes of memory; by default the available memory of this machine.</param>
    /// <exception cref="ArgumentException">The network does not accept the input.</exception>
    public static MemoryFit Of(MemoryPlan plan, long? memoryBytes = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        var (few, many) = (MemoryMeasure.Predict(plan with { Batch = Few }), MemoryMeasure.Predict(plan with { Batch = 2 * Few }));
        var memory = memoryBytes ?? MemoryPrediction.AvailableBytes;
        return new(
            plan.Network.Name, plan.Input, $"{plan.Codecs[0]}", memory, plan.Batch,
            (long)At(plan.Batch, compressed: false), (long)At(plan.Batch, compressed: true),
            Largest(compressed: false), Largest(compressed: true));

        double At(double batch, bool compressed)
        {
            var (small, large) = (few.NeededBytes(compressed), many.NeededBytes(compressed));
            return small + (batch - Few) / Few * (large - small);
        }

        long Largest(bool compressed)
        {
            var each = At(1, compressed) - At(0, compressed);
            return Math.Max(0, (long)Math.Floor((memory - At(0, compressed)) / each));
        }
    }

    // From this number of examples on libtorch uses the kernels of large batches.
    const int Few = 16;
}
