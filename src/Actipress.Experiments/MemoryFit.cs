namespace Actipress.Experiments;

/// <summary>The largest batch whose training step fits in a memory, plain and compressed: predicted, nothing large is run.</summary>
/// <param name="Network">The paper's name.</param>
/// <param name="Input">Shape of one example.</param>
/// <param name="Codec">How maps would be stored.</param>
/// <param name="MemoryBytes">What the model, its input and the step may take together.</param>
/// <param name="Batch">The batch that was asked for.</param>
/// <param name="PlainBytes">What it takes, plain.</param>
/// <param name="CompressedBytes">What it takes, compressed.</param>
/// <param name="LargestPlain">The largest batch that fits, plain; 0 where not one example does.</param>
/// <param name="LargestCompressed">The same, compressed.</param>
public sealed record MemoryFit(
    string Network, IReadOnlyList<long> Input, string Codec, long MemoryBytes, int Batch, long PlainBytes, long CompressedBytes,
    long LargestPlain, long LargestCompressed)
{
    /// <summary>Predicts a plan's batch and two others, between which memory grows in a straight line.</summary>
    /// <param name="plan">Its first codec counts, on all layers.</param>
    /// <param name="memoryBytes">By default what this machine has available.</param>
    /// <exception cref="ArgumentException">The network does not take the input.</exception>
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

    // From as many examples on libtorch takes the kernels of large batches.
    const int Few = 16;
}
