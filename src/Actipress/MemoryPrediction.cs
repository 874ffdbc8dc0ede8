using Actipress.Accounting;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>The memory of one training step, above the allocator's level before it.</summary>
public sealed class StepMemory(long savedBytes, long keptBytes, long afterForwardBytes, long peakBytes)
{
    /// <summary>The bytes of activation maps as autograd saves them, each storage counted once.</summary>
    public long SavedBytes => savedBytes;

    /// <summary>The bytes kept in their place.</summary>
    public long KeptBytes => keptBytes;

    /// <summary>The allocator's level between forward and backward.</summary>
    public long AfterForwardBytes => afterForwardBytes;

    /// <summary>The allocator's highest level in the step, with the parameters' gradients.</summary>
    public long PeakBytes => peakBytes;
}

/// <summary>
/// Predicts the memory of a training step at a size at which it is not run, from two small steps along one axis of the input. Every level
/// of the allocator grows linearly along this axis.
/// </summary>
public sealed partial class MemoryPrediction(long parameterBytes, long inputBytes, StepMemory baseline, StepMemory compressed)
{
    /// <summary>The bytes of the model's parameters and buffers.</summary>
    public long ParameterBytes => parameterBytes;

    /// <summary>The bytes of the input.</summary>
    public long InputBytes => inputBytes;

    /// <summary>The step without compression.</summary>
    public StepMemory Baseline => baseline;

    /// <summary>The step with compression.</summary>
    public StepMemory Compressed => compressed;

    // A batch is extrapolated from so many examples that they save about this number of bytes.
    const int LargeBatch = 8, SmallestMiddle = 4, ProbedExamples = 2;
    const long ProbedBytes = 64 << 20;

    // A volume is extrapolated from this part of it, and twice as much.
    const int Slabs = 6;

    /// <summary>Predicts a step of <paramref name="model"/>. Its gradients, buffers and the CPU's random state are restored.</summary>
    /// <param name="model">The model, on the CPU; run by <c>call</c>.</param>
    /// <param name="input">The input's shape, batch first.</param>
    /// <param name="codec">The codec of the maps.</param>
    /// <param name="loss">The scalar loss of an output; by default the sum of the output. It must not dispose the output.</param>
    /// <remarks>
    /// Peaks are those of the kernels that the small steps ran. At a batch of 1 libtorch uses other convolutions for small inputs than for
    /// large ones.
    /// </remarks>
    /// <returns>
    /// The prediction. A batch of 8 or more is extrapolated from two smaller batches, and a smaller batch from a quarter and a half of the
    /// first spatial extent. Where the model accepts neither, the step is run at its own size.
    /// </returns>
    /// <exception cref="PlatformNotSupportedException">libtorch's allocator is not the known one.</exception>
    public static MemoryPrediction Of(
        nn.Module<Tensor, Tensor> model, long[] input, ActivationCodec codec, Func<Tensor, Tensor>? loss = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(codec);
        var (parameters, inputs, steps) = Predict(model, input, [ActivationCodec.None, codec], loss);
        return new(parameters, inputs, steps[0], steps[1]);
    }

    static (long ParameterBytes, long InputBytes, StepMemory[] Steps) Predict(
        nn.Module<Tensor, Tensor> model, long[] input, ActivationCodec[] codecs, Func<Tensor, Tensor>? loss, long? slab = null)
    {
        loss ??= output => output.sum();
        _ = AllocatorMeter.CurrentBytes;    // refuses before anything runs
        using var scope = NewDisposeScope();
        var parameters = model.parameters().ToArray();
        var gradientsBefore = parameters.Select(parameter => parameter.grad?.DetachFromDisposeScope()).ToArray();
        var buffersBefore = model.buffers().Select(buffer => (Buffer: buffer, Value: buffer.detach().clone())).ToArray();
        using var randomBefore = RandomState.Get(CPU);
        try
        {
            var steps = Steps(model, input, codecs, loss, slab);
            var elements = input.Aggregate(1L, (product, extent) => checked(product * extent));
            return (parameters.Concat(model.buffers()).Sum(TensorMemory.Bytes), elements * sizeof(float), steps);
        }
        finally
        {
            for (var i = 0; i < parameters.Length; i++) parameters[i].grad = gradientsBefore[i];
            RandomState.Set(CPU, randomBefore);
            using (no_grad())
                foreach (var (buffer, value) in buffersBefore) buffer.copy_(value);
        }
    }

    /// <summary>
    /// The bytes that this process may still take: Linux's <c>MemAvailable</c>, or less where the limit of a container or of a batch
    /// system's job leaves less; or Windows' available physical memory.
    /// </summary>
    /// <exception cref="PlatformNotSupportedException">The system does not tell it.</exception>
    public static long AvailableBytes => AvailableMemory.Bytes;

    /// <summary>The bytes of the maps that a plain forward pass will save, from the forward pass of a part of the input.</summary>
    /// <param name="model">
    /// The model, on the CPU; run by <c>call</c>. It keeps its mode; in training mode the statistics of its batch norms change.
    /// </param>
    /// <param name="input">The input's shape, batch first.</param>
    public static long MapBytes(nn.Module<Tensor, Tensor> model, long[] input)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(input);
        foreach (var (axis, small, _) in Smaller(model, input))
            try
            {
                return (long)((double)Saved(With(input, axis, small)) * input[axis] / small);
            }
            // libtorch's own: the model does not take an input of this shape
            catch (System.Runtime.InteropServices.ExternalException) { }
        return Saved(input);

        long Saved(long[] shape)
        {
            using var x = randn(shape);
            return ForwardTrace.Record(model, x).MapBytes;
        }
    }

    /// <summary>The bytes of the model, its input and a step together, without the optimizer's state.</summary>
    public long NeededBytes(bool compressed) => ParameterBytes + InputBytes + (compressed ? Compressed : Baseline).PeakBytes;

    /// <summary>
    /// Throws where the step does not fit, before it starts. The memory for the input and the step must be available; the model is
    /// allocated already.
    /// </summary>
    /// <param name="compressed">Whether the step will be compressed.</param>
    /// <param name="availableBytes">By default <see cref="AvailableBytes"/>.</param>
    /// <exception cref="InsufficientMemoryException">
    /// The step does not fit; the message says how many bytes are needed and available.
    /// </exception>
    public void EnsureFits(bool compressed, long? availableBytes = null)
    {
        var (needed, available) = (NeededBytes(compressed) - ParameterBytes, availableBytes ?? AvailableBytes);
        if (needed <= available) return;
        var wayOut = !compressed && NeededBytes(compressed: true) - ParameterBytes <= available
            ? "Compress its activation maps" : "Take a smaller batch";
        throw new InsufficientMemoryException($"A step would take {CompressionReport.Bytes(needed)} of memory beside the model, and this "
            + $"machine has {CompressionReport.Bytes(available)} available. {wayOut}.");
    }

    static StepMemory[] Steps(
        nn.Module<Tensor, Tensor> model, long[] input, ActivationCodec[] codecs, Func<Tensor, Tensor> loss, long? slab)
    {
        foreach (var (axis, small, middle) in Smaller(model, input, slab))
            try
            {
                return [.. codecs.Select(Along)];

                StepMemory Along(ActivationCodec codec)
                {
                    return Trial.Extrapolate(Of(small), Of(middle), (double)(input[axis] - middle) / (middle - small));

                    Trial Of(long extent) => Trial.Run(model, With(input, axis, extent), codec, loss, (double)extent / input[axis]);
                }
            }
            // libtorch's own: the model does not take an input of this shape
            catch (System.Runtime.InteropServices.ExternalException) { }
        return [.. codecs.Select(Whole)];

        StepMemory Whole(ActivationCodec codec)
        {
            var trial = Trial.Run(model, input, codec, loss, scale: 1);
            return Trial.Extrapolate(trial, trial, 0);
        }
    }

    static long[] With(long[] shape, int axis, long extent) => [.. shape.Select((old, at) => at == axis ? extent : old)];

    // Two smaller extents of an axis; the second is twice the first. A slab is an extent of which the model takes all multiples.
    static IEnumerable<(int Axis, long Small, long Middle)> Smaller(nn.Module<Tensor, Tensor> model, long[] input, long? slab = null)
    {
        if (input[0] >= LargeBatch)
        {
            using var examples = randn([ProbedExamples, .. input[1..]]);
            var perExample = Math.Max(1, ForwardTrace.Record(model, examples).MapBytes / ProbedExamples);
            var middle = Math.Max(SmallestMiddle, Math.Min(ProbedBytes / perExample, input[0] / 4) / 2 * 2);
            yield return (0, middle / 2, middle);
        }
        if (input.Length < 4) yield break;
        if (slab is { } multiple)
        {
            var small = Math.Max(1, input[2] / multiple / Slabs) * multiple;
            if (2 * small < input[2]) yield return (2, small, 2 * small);
            yield break;
        }
        foreach (var parts in (long[])[Slabs, 4])
            if (input[2] % parts == 0) yield return (2, input[2] / parts, 2 * input[2] / parts);
    }

    /// <summary>The measurements of a small step.</summary>
    sealed record Trial(long Saved, long Kept, long AfterForward, Dictionary<string, List<long>> Levels)
    {
        const long Slack = 64 << 10;

        public static Trial Run(
            nn.Module<Tensor, Tensor> model, long[] shape, ActivationCodec codec, Func<Tensor, Tensor> loss, double scale)
        {
            using var compression = model.CompressActivations(codec);
            compression.Store.Scale = scale;
            using var x = randn(shape);
            Step(null);    // libtorch makes some allocations only once
            AllocatorMeter.Settle();
            var (first, second) = (Step(compression.StartTimeline)!, Step(compression.StartTimeline)!);
            return first.Least(second);    // other allocations, such as those of .NET's compiler, are in one of them only

            Trial? Step(Func<MemoryTimeline>? start)
            {
                foreach (var parameter in model.parameters()) parameter.grad = null;
                var before = AllocatorMeter.CurrentBytes;
                using var timeline = start?.Invoke();
                Tensor value;
                using (var output = model.call(x)) value = loss(output);
                long afterForward;
                using (value)
                {
                    afterForward = AllocatorMeter.CurrentBytes - before;
                    compression.Backward(value);
                }
                if (timeline is null) return null;
                var report = compression.Report();
                var levels = new Dictionary<string, List<long>>();
                foreach (var level in timeline.Levels)
                {
                    if (!levels.TryGetValue(level.Stage, out var stage)) levels.Add(level.Stage, stage = []);
                    stage.Add(level.Bytes);
                }
                return new(report.SavedBytes, report.KeptBytes, afterForward, levels);
            }
        }

        Trial Least(Trial other) => this with
        {
            AfterForward = Math.Min(AfterForward, other.AfterForward),
            Levels = Levels.ToDictionary(
                stage => stage.Key, stage => other.Levels.TryGetValue(stage.Key, out var levels) && levels.Count == stage.Value.Count
                    ? stage.Value.Zip(levels, Math.Min).ToList() : stage.Value),
        };

        /// <summary>
        /// The point on the straight line through two trials, <paramref name="beyond"/> times their distance behind the second.
        /// </summary>
        public static StepMemory Extrapolate(Trial small, Trial middle, double beyond)
        {
            long peak = 0;
            foreach (var (stage, levels) in middle.Levels)
            {
                if (!small.Levels.TryGetValue(stage, out var smaller)) continue;
                // The same operations make the same allocations at both sizes, except for allocations that are too small to be recorded at
                // one size, and operations that differ.
                var alike = levels.Count == smaller.Count && smaller.Zip(levels).All(pair => IsLine(pair.First, pair.Second));
                foreach (var (first, second) in alike ? smaller.Zip(levels) : [(smaller.Max(), levels.Max())])
                    peak = Math.Max(peak, Line(first, second));
            }
            return new(Line(small.Saved, middle.Saved), Line(small.Kept, middle.Kept), Line(small.AfterForward, middle.AfterForward), peak);

            // The second trial is twice as large, so that a level of constant and growing parts at most doubles.
            static bool IsLine(long first, long second) => second >= first - Slack && second <= 2 * first + Slack;
            long Line(long first, long second) => second + (long)(beyond * (second - first));
        }
    }
}
