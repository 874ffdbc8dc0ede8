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

    // From this number of examples on libtorch uses the kernels of large batches.
    const int Few = 16;

    // The number of guesses, and the share of a batch within which two guesses are the same.
    const int Guesses = 5, Alike = 50;

    /// <summary>
    /// Predicts the largest batches. Another layer may hold the peak of a large batch than that of a small one, so each guess is predicted
    /// itself, and the next guess lies on the straight line through the last two.
    /// </summary>
    /// <param name="plan">The plan, whose first codec is used, on all layers.</param>
    /// <param name="memoryBytes">The bytes of memory; by default the available memory of this machine.</param>
    /// <exception cref="ArgumentException">The network does not accept the input.</exception>
    public static MemoryFit Of(MemoryPlan plan, long? memoryBytes = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        var (memory, known) = (memoryBytes ?? MemoryPrediction.AvailableBytes, new Dictionary<(long, bool), long>());
        return new(
            plan.Network.Name, plan.Input, $"{plan.Codecs[0]}", memory, plan.Batch,
            Taken(plan.Batch, compressed: false), Taken(plan.Batch, compressed: true),
            Largest(compressed: false), Largest(compressed: true));

        long Taken(long batch, bool compressed)
        {
            // Small batches lie on the line through two larger ones.
            if (batch < Few) return (long)(Taken(Few, compressed) - (Few - batch) * Each(Few, 2 * Few, compressed));
            if (!known.TryGetValue((batch, compressed), out var bytes))
                known.Add((batch, compressed), bytes = MemoryMeasure.NeededBytes(plan with { Batch = checked((int)batch) }, compressed));
            return bytes;
        }

        double Each(long first, long second, bool compressed) =>
            Math.Max(1, (double)(Taken(second, compressed) - Taken(first, compressed)) / (second - first));

        long Largest(bool compressed)
        {
            var (first, second) = ((long)Few, 2L * Few);
            var (fits, tooLarge) = (0L, (long)int.MaxValue);
            for (var guess = 0; guess < Guesses; guess++)
            {
                foreach (var batch in (long[])[first, second])
                    if (Taken(batch, compressed) <= memory) fits = Math.Max(fits, batch);
                    else tooLarge = Math.Min(tooLarge, batch);
                var next = second + (long)Math.Floor((memory - Taken(second, compressed)) / Each(first, second, compressed));
                if (next < Few) return Math.Max(0, next);
                if (tooLarge - fits <= 1) break;
                next = Math.Clamp(next, fits + 1, tooLarge - 1);
                if (Math.Abs(next - second) <= second / Alike) return next;
                (first, second) = (second, next);
            }
            return fits;
        }
    }
}
