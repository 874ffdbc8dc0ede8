using Actipress.Accounting;
using static TorchSharp.torch;

namespace Actipress;

// The largest batch and the largest patch that fit.
public sealed partial class MemoryPrediction
{
    // From this number of examples on libtorch uses the kernels of large batches.
    const int Few = 16;

    // Two sizes are the same within this share: the predictions are no finer.
    const double Alike = 0.02;

    // A prediction runs a third of a patch; a guess of at most twice the extents keeps to what a patch that fits would take.
    const double PatchGrowth = 8;

    /// <summary>
    /// Predicts the largest batch whose training step fits in a memory. Another layer may hold the peak of a large batch than that of a
    /// small one, so each guess is predicted itself. Nothing large is run.
    /// </summary>
    /// <param name="model">The model, on the CPU; run by <c>call</c>. Its gradients, buffers and the random state are restored.</param>
    /// <param name="input">The input's shape, batch first; its batch is ignored.</param>
    /// <param name="memoryBytes">The bytes that model, input and step may take together, without an optimizer's state.</param>
    /// <param name="codec">The codec of the maps; <see cref="ActivationCodec.None"/> for plain training.</param>
    /// <param name="loss">The scalar loss of an output; by default the sum of the output. It must not dispose the output.</param>
    /// <returns>The number of examples, within 2 % of the predictions; 0 where not even one fits.</returns>
    /// <exception cref="PlatformNotSupportedException">The allocator cannot be measured here.</exception>
    public static long LargestBatch(
        nn.Module<Tensor, Tensor> model, long[] input, long memoryBytes, ActivationCodec codec, Func<Tensor, Tensor>? loss = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(codec);
        return Batches(model, input, codec, loss).Within(memoryBytes);
    }

    /// <summary>Predicts the largest patch whose training step fits in a memory: the largest multiple of a small one.</summary>
    /// <param name="model">
    /// The model, on the CPU, which takes inputs of any multiple; run by <c>call</c>. Its gradients, buffers and the random state are
    /// restored.
    /// </param>
    /// <param name="input">
    /// The smallest input's shape: the batch, the channels, and the spatial extents, all of which grow alike.
    /// </param>
    /// <param name="memoryBytes">The bytes that model, input and step may take together, without an optimizer's state.</param>
    /// <param name="codec">The codec of the maps; <see cref="ActivationCodec.None"/> for plain training.</param>
    /// <param name="loss">The scalar loss of an output; by default the sum of the output. It must not dispose the output.</param>
    /// <returns>By how much to multiply the spatial extents; 0 where the step does not fit at <paramref name="input"/> itself.</returns>
    /// <remarks>A sixth and a third of the largest patch are run, which takes up to a third of the memory.</remarks>
    /// <exception cref="ArgumentException">The input has no spatial extents.</exception>
    /// <exception cref="PlatformNotSupportedException">The allocator cannot be measured here.</exception>
    public static long LargestPatch(
        nn.Module<Tensor, Tensor> model, long[] input, long memoryBytes, ActivationCodec codec, Func<Tensor, Tensor>? loss = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(codec);
        if (input.Length < 4)
            throw new ArgumentException($"A patch has at least two spatial extents behind batch and channels; found an input of "
                + $"{string.Join(" x ", input)}.", nameof(input));
        return Patches(model, input, codec, loss).Within(memoryBytes);
    }

    internal static LargestThatFits Batches(
        nn.Module<Tensor, Tensor> model, long[] input, ActivationCodec codec, Func<Tensor, Tensor>? loss = null)
    {
        LargestThatFits? search = null;
        return search = new(Taken, batch => batch) { Start = (Few, 2 * Few), Alike = Alike };

        // Small batches lie on the line through two larger ones.
        long Taken(long batch) => batch >= Few ? NeededBytes(model, [batch, .. input[1..]], codec, loss, slab: null)
            : search!.Taken(Few) - (search.Taken(2 * Few) - search.Taken(Few)) * (Few - batch) / Few;
    }

    internal static LargestThatFits Patches(
        nn.Module<Tensor, Tensor> model, long[] input, ActivationCodec codec, Func<Tensor, Tensor>? loss = null)
    {
        var axes = input.Length - 2;
        return new(Taken, times => Math.Pow(times, axes)) { Alike = Alike, Growth = PatchGrowth };

        long Taken(long times) =>
            NeededBytes(model, [.. input[..2], .. input[2..].Select(extent => times * extent)], codec, loss, input[2]);
    }

    static long NeededBytes(nn.Module<Tensor, Tensor> model, long[] input, ActivationCodec codec, Func<Tensor, Tensor>? loss, long? slab)
    {
        var (parameters, inputs, steps) = Predict(model, input, [codec], loss, slab);
        return parameters + inputs + steps[0].PeakBytes;
    }
}
