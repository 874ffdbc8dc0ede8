using Actipress.Accounting;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>
/// The largest batch, or the largest patch at a given batch, whose training step fits in a memory, plain and compressed. Both are
/// predicted, and may be confirmed by a step.
/// </summary>
/// <param name="Network">The network's name in the paper.</param>
/// <param name="Codec">The codec of the maps.</param>
/// <param name="MemoryBytes">The bytes that the model, its input and the step may take together.</param>
/// <param name="Given">The shape of the given input, batch first.</param>
/// <param name="Plain">The plain step.</param>
/// <param name="Compressed">The compressed step.</param>
public sealed record MemoryFit(
    string Network, string Codec, long MemoryBytes, IReadOnlyList<long> Given, MemoryFit.Step Plain, MemoryFit.Step Compressed)
{
    /// <summary>The steps of one way of training.</summary>
    /// <param name="GivenBytes">The predicted bytes at the given input.</param>
    /// <param name="Largest">The shape of the largest input that fits, batch first; empty where none does.</param>
    /// <param name="LargestBytes">The measured bytes of one step at that input; null where no step was run.</param>
    public sealed record Step(long GivenBytes, IReadOnlyList<long> Largest, long? LargestBytes);

    /// <summary>
    /// The elements of the largest compressed input over those of the largest plain one; infinite where no plain input fits.
    /// </summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public double Times => (double)Elements(Compressed) / Elements(Plain);

    static long Elements(Step step) => step.Largest.Count == 0 ? 0 : step.Largest.Aggregate(1L, (product, extent) => product * extent);

    // A step may take a little more than was predicted, and other programs go on meanwhile.
    const double MostOfAvailable = 0.9;

    // Networks of the paper halve an image four times at most.
    const long Grain = 16;

    /// <summary>Predicts the largest batches.</summary>
    /// <param name="plan">The plan, whose first codec is used, on all layers.</param>
    /// <param name="memoryBytes">The bytes of memory; by default the available memory of this machine.</param>
    /// <param name="confirm">Whether a step of each largest batch is run.</param>
    /// <param name="progress">Called with a description of the current work.</param>
    /// <exception cref="ArgumentException">The network does not accept the input.</exception>
    /// <exception cref="InsufficientMemoryException">A step is to be run that this machine has no memory for.</exception>
    public static MemoryFit OfBatch(MemoryPlan plan, long? memoryBytes = null, bool confirm = false, IProgress<string>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        return Of(plan, memoryBytes, confirm, progress, (model, codec) => (
            MemoryPrediction.Batches(model, [plan.Batch, .. plan.Input], codec), plan.Batch,
            batch => plan with { Batch = checked((int)batch) }));
    }

    /// <summary>
    /// Predicts the largest patches at the plan's batch. A patch is a multiple of the smallest one whose extents have the proportions of
    /// the plan's input and are divisible by 16.
    /// </summary>
    /// <inheritdoc cref="OfBatch"/>
    public static MemoryFit OfPatch(MemoryPlan plan, long? memoryBytes = null, bool confirm = false, IProgress<string>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        var times = plan.Input.Skip(1).Aggregate(0L, GreatestDivisor);
        times = times % Grain == 0 ? times / Grain : 1;
        return Of(plan, memoryBytes, confirm, progress, (model, codec) =>
        {
            // A network may take inputs of one size only.
            var twice = Sized(2);
            MemoryMeasure.WhereItFits(twice, () => MemoryPrediction.MapBytes(model, [twice.Batch, .. twice.Input]));
            return (MemoryPrediction.Patches(model, [plan.Batch, .. Sized(1).Input], codec), times, Sized);
        });

        MemoryPlan Sized(long many) => plan with { Input = [plan.Input[0], .. plan.Input.Skip(1).Select(extent => extent / times * many)] };

        static long GreatestDivisor(long one, long other) => other == 0 ? one : GreatestDivisor(other, one % other);
    }

    static MemoryFit Of(
        MemoryPlan plan, long? memoryBytes, bool confirm, IProgress<string>? progress,
        Func<nn.Module<Tensor, Tensor>, ActivationCodec, (LargestThatFits Search, long Given, Func<long, MemoryPlan> Sized)> of)
    {
        var (available, memory) = (MemoryPrediction.AvailableBytes, memoryBytes ?? MemoryPrediction.AvailableBytes);
        if (confirm && memory > MostOfAvailable * available)
            throw new InsufficientMemoryException($"A step of {CompressionReport.Bytes(memory)} cannot be run to confirm a prediction: "
                + $"this machine has {CompressionReport.Bytes(available)} available, of which a tenth stays free. Give a smaller bound, or "
                + "ask for the prediction alone.");
        return new(
            plan.Network.Name, $"{plan.Codecs[0]}", memory, [plan.Batch, .. plan.Input], Find(ActivationCodec.None), Find(plan.Codecs[0]));

        Step Find(ActivationCodec codec)
        {
            progress?.Report($"small steps of {plan.Network.Name}, {codec}");
            random.manual_seed(1);
            using var model = plan.Network.Create();
            var (search, given, sized) = of(model, codec);
            var (bytes, largest) = MemoryMeasure.WhereItFits(plan, () => (search.Taken(given), search.Within(memory)));
            if (largest < search.Least) return new(bytes, [], null);
            var found = sized(largest);
            long[] shape = [found.Batch, .. found.Input];
            if (confirm) progress?.Report($"a step of {plan.Network.Name} at {Size(shape)}, {codec}");
            return new(bytes, shape, confirm ? MemoryMeasure.StepBytes(found, codec) : null);
        }
    }

    /// <summary>Writes a shape, such as 32 of 3 x 64 x 64.</summary>
    public static string Size(IReadOnlyList<long> shape)
    {
        ArgumentNullException.ThrowIfNull(shape);
        return shape.Count == 0 ? "none" : $"{shape[0]} of {string.Join(" x ", shape.Skip(1))}";
    }
}
