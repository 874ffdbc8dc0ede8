using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Forward;

/// <summary>
/// A convolution's forward pass that is computed in pieces: some examples at a time, or slabs of one example along the first spatial axis.
/// </summary>
/// <remarks>
/// Beside the input and the output, one piece of each is held. libtorch's own call holds oneDNN's copies of both, in a layout of its own.
/// </remarks>
static class PiecewiseForward
{
    // The bytes of a piece of the input or of the output, whichever is larger. The C allocator has such a piece at hand, where it gets a
    // much larger one from the system each time. Of a smaller convolution oneDNN makes no copies that count.
    const long PieceBytes = 4 << 20, LeastBytes = 4 * PieceBytes;

    // Some three pieces are held beside the result, and some five slabs, since a slab of the input is copied.
    const int FewestPieces = 4, FewestSlabs = 6;

    // The number of rows of a slab for each row of its halo, which is laid out again for the next slab.
    const int RowsPerHalo = 4;

    /// <param name="call">libtorch's arguments.</param>
    /// <param name="input">The input.</param>
    /// <param name="weight">The filters.</param>
    /// <param name="scale">The size of the pieces relative to the usual size.</param>
    /// <returns>
    /// The result, which the caller disposes; null where the convolution is small, where it cannot be divided, and where its arguments are
    /// not as libtorch wants them.
    /// </returns>
    public static Tensor? Run(ForwardCall call, Tensor input, Tensor weight, double scale)
    {
        if (OfAxes(call, (int)input.dim() - 2) is not { } given || OutputSizes(given, input, weight) is not { } outputs) return null;
        var sizes = input.shape;
        var bytes = sizeof(float) * Math.Max(Product(sizes), Product(outputs));
        if (bytes < LeastBytes * scale) return null;
        var (examples, ofPiece) = (sizes[0], Math.Max(1, (long)(PieceBytes * scale)));
        var slabs = bytes / examples > ofPiece ? Slabs(given, sizes, outputs, weight, ofPiece * examples) : [];
        if (slabs.Count >= (given.IsTransposed ? FewestPieces : FewestSlabs)) return OfSlabs(given, input, weight, outputs, slabs);
        var together = Math.Max(IsNative(given, sizes, sizes[2]) ? 2 : 1, ofPiece * examples / bytes);
        var pieces = examples / Math.Max(1, together);
        return pieces >= FewestPieces ? OfExamples(given, input, weight, outputs, pieces) : null;
    }

    static Tensor OfExamples(ForwardCall call, Tensor input, Tensor weight, long[] outputs, long pieces)
    {
        var result = empty(outputs, input.dtype, input.device);
        for (long piece = 0; piece < pieces; piece++)
        {
            using var scope = NewDisposeScope();
            var (first, end) = (outputs[0] * piece / pieces, outputs[0] * (piece + 1) / pieces);
            result.narrow(0, first, end - first).copy_(ForwardKernel.Whole(call, input.narrow(0, first, end - first), weight));
        }
        return result;
    }

    static Tensor OfSlabs(ForwardCall call, Tensor input, Tensor weight, long[] outputs, List<Slab> slabs)
    {
        var result = empty(outputs, input.dtype, input.device);
        var within = call with { Padding = [0, .. call.Padding[1..]] };
        for (long example = 0; example < outputs[0]; example++)
            foreach (var slab in slabs)
            {
                using var scope = NewDisposeScope();
                var values = slab.Padded(input.narrow(0, example, 1).narrow(2, slab.First, slab.Rows));
                result.narrow(0, example, 1).narrow(2, slab.Output, slab.Outputs).copy_(ForwardKernel.Whole(within, values, weight));
            }
        return result;
    }

    // The slabs of an example; none where it cannot be divided.
    static List<Slab> Slabs(ForwardCall call, long[] sizes, long[] outputs, Tensor weight, long bytesOfAll)
    {
        var (rows, kernel, stride) = (sizes[2], weight.shape[2], call.Stride[0]);
        var reach = call.Dilation[0] * (kernel - 1);
        var isApart = kernel == stride && call.Padding[0] == 0 && call.Dilation[0] == 1 && call.OutputPadding[0] == 0;
        if (call.IsTransposed ? !isApart : call.Padding[0] > reach) return [];
        var bytes = sizeof(float) * Math.Max(Product(sizes), Product(outputs));
        var wanted = Math.Max(call.IsTransposed ? 1 : RowsPerHalo * reach, Math.Max(1, rows * bytesOfAll / bytes));
        while (wanted < rows && IsNative(call, sizes, wanted)) wanted++;
        var count = Math.Max(1, rows / wanted);
        // The output rows of a row of a transposed convolution whose filters lie side by side are apart from all others.
        return !call.IsTransposed ? Slab.Divide(count, rows, outputs[2], stride, call.Padding[0], reach) :
            [.. Slab.Divide(count, rows, rows, stride: 1, padding: 0, reach: 0)
                .Select(slab => slab with { Output = slab.First * stride, Outputs = slab.Rows * stride })];
    }

    // Whether libtorch would use its native kernels for so many rows of one example.
    static bool IsNative(ForwardCall call, long[] sizes, long rows) =>
        call.Groups == 1 && NativeKernels.Take(sizes[1], rows, sizes[3]);

    // The arguments with a number for each axis; null where there are others, or where they are none that libtorch takes.
    static ForwardCall? OfAxes(ForwardCall call, int axes)
    {
        if (axes is not (2 or 3) || call.Groups < 1) return null;
        long[] stride = Each(call.Stride), padding = Each(call.Padding), dilation = Each(call.Dilation);
        var outputPadding = Each(call.OutputPadding);
        return ((long[][])[stride, padding, dilation, outputPadding]).All(list => list.Length == axes)
            && stride.Concat(dilation).All(number => number > 0) && padding.Concat(outputPadding).All(number => number >= 0)
                ? call with { Stride = stride, Padding = padding, Dilation = dilation, OutputPadding = outputPadding } : null;

        long[] Each(long[] list) => list.Length == 1 ? [.. Enumerable.Repeat(list[0], axes)] : list;
    }

    // The sizes of the result; null where the tensors are not those of a convolution of float32 on the CPU.
    static long[]? OutputSizes(ForwardCall call, Tensor input, Tensor weight)
    {
        if (!Suits(input) || !Suits(weight) || weight.dim() != input.dim() || !input.is_contiguous()) return null;
        var (sizes, filters) = (input.shape, weight.shape);
        var (wanted, channels) = call.IsTransposed ? (filters[0], filters[1] * call.Groups) : (filters[1] * call.Groups, filters[0]);
        if (sizes[1] != wanted || filters[0] % call.Groups != 0) return null;
        if (call.Bias is { } bias && !(Suits(bias) && bias.shape.AsSpan().SequenceEqual([channels]))) return null;
        var outputs = (long[])[sizes[0], channels, .. sizes[2..]];
        for (var axis = 0; axis < call.Stride.Length; axis++)
        {
            var (reach, padding) = (call.Dilation[axis] * (filters[axis + 2] - 1), 2 * call.Padding[axis]);
            outputs[axis + 2] = call.IsTransposed
                ? (sizes[axis + 2] - 1) * call.Stride[axis] - padding + reach + call.OutputPadding[axis] + 1
                : (sizes[axis + 2] + padding - reach - 1) / call.Stride[axis] + 1;
            if (sizes[axis + 2] + padding <= reach && !call.IsTransposed) return null;
        }
        return outputs.Concat(sizes).All(size => size > 0) ? outputs : null;
    }

    // A tensor of a layout of its own, such as a sparse one, has no storage.
    static bool Suits(Tensor tensor) =>
        StorageReference.AddressOf(tensor) != 0 && tensor.device_type == DeviceType.CPU && tensor.dtype == ScalarType.Float32;

    static long Product(long[] sizes) => sizes.Aggregate(1L, (product, size) => product * size);
}
