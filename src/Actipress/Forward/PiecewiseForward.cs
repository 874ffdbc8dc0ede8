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

    /// <param name="given">libtorch's arguments.</param>
    /// <param name="input">The input.</param>
    /// <param name="weight">The filters.</param>
    /// <param name="bias">The bias; null where there is none.</param>
    /// <param name="scale">The size of the pieces relative to the usual size.</param>
    /// <returns>
    /// The result, which the caller disposes; null where the convolution is small, where it cannot be divided, and where its arguments are
    /// not as libtorch wants them.
    /// </returns>
    public static Tensor? Run(ConvolutionArguments given, Tensor input, Tensor weight, Tensor? bias, double scale)
    {
        var axes = (int)input.dim() - 2;
        if (axes is not (2 or 3)) return null;
        given = given.OfAxes(axes);
        if (!AreValid(given, axes) || OutputSizes(given, input, weight, bias) is not { } outputs) return null;
        var sizes = input.shape;
        var bytes = sizeof(float) * Math.Max(Product(sizes), Product(outputs));
        if (bytes < LeastBytes * scale) return null;
        var (examples, ofPiece) = (sizes[0], Math.Max(1, (long)(PieceBytes * scale)));
        var slabs = bytes / examples > ofPiece ? Slabs(given, sizes, outputs, weight, ofPiece * examples) : [];
        if (slabs.Count >= (given.IsTransposed ? FewestPieces : FewestSlabs)) return OfSlabs(slabs);
        var together = Math.Max(IsNative(given, sizes, sizes[2]) ? 2 : 1, ofPiece * examples / bytes);
        var pieces = examples / Math.Max(1, together);
        return pieces >= FewestPieces ? OfExamples() : null;

        Tensor OfExamples()
        {
            var result = empty(outputs, input.dtype, input.device);
            for (long piece = 0; piece < pieces; piece++)
            {
                using var scope = NewDisposeScope();
                var (first, end) = (examples * piece / pieces, examples * (piece + 1) / pieces);
                result.narrow(0, first, end - first).copy_(ForwardKernel.Whole(given, input.narrow(0, first, end - first), weight, bias));
            }
            return result;
        }

        Tensor OfSlabs(List<Slab> slabs)
        {
            var result = empty(outputs, input.dtype, input.device);
            for (long example = 0; example < examples; example++)
                foreach (var slab in slabs)
                {
                    using var scope = NewDisposeScope();
                    var values = slab.Padded(input.narrow(0, example, 1).narrow(2, slab.First, slab.Rows));
                    var computed = ForwardKernel.Whole(given.OfSlabs, values, weight, bias);
                    result.narrow(0, example, 1).narrow(2, slab.Output, slab.Outputs).copy_(computed);
                }
            return result;
        }
    }

    // The slabs of an example; none where it cannot be divided.
    static List<Slab> Slabs(ConvolutionArguments given, long[] sizes, long[] outputs, Tensor weight, long bytesOfAll)
    {
        var (rows, kernel, stride) = (sizes[2], weight.shape[2], given.Stride[0]);
        var reach = given.Reach(weight);
        var isApart = kernel == stride && given.Padding[0] == 0 && given.Dilation[0] == 1 && given.OutputPadding[0] == 0;
        if (given.IsTransposed ? !isApart : given.Padding[0] > reach) return [];
        var bytes = sizeof(float) * Math.Max(Product(sizes), Product(outputs));
        var wanted = Math.Max(given.IsTransposed ? 1 : RowsPerHalo * reach, Math.Max(1, rows * bytesOfAll / bytes));
        while (wanted < rows && IsNative(given, sizes, wanted)) wanted++;
        var count = Math.Max(1, rows / wanted);
        // The output rows of a row of a transposed convolution whose filters lie side by side are apart from all others.
        return !given.IsTransposed ? Slab.Divide(count, rows, outputs[2], stride, given.Padding[0], reach) :
            [.. Slab.Divide(count, rows, rows, stride: 1, padding: 0, reach: 0)
                .Select(slab => slab with { Output = slab.First * stride, Outputs = slab.Rows * stride })];
    }

    // Whether libtorch would use its native kernels for so many rows of one example.
    static bool IsNative(ConvolutionArguments given, long[] sizes, long rows) =>
        given.Groups == 1 && NativeKernels.Take(sizes[1], rows, sizes[3]);

    // Whether the arguments are such as libtorch takes.
    static bool AreValid(ConvolutionArguments given, int axes) =>
        given.Groups >= 1
        && ((long[][])[given.Stride, given.Padding, given.Dilation, given.OutputPadding]).All(list => list.Length == axes)
        && given.Stride.Concat(given.Dilation).All(number => number > 0)
        && given.Padding.Concat(given.OutputPadding).All(number => number >= 0);

    // The sizes of the result; null where the tensors are not those of a convolution of float32 on the CPU.
    static long[]? OutputSizes(ConvolutionArguments given, Tensor input, Tensor weight, Tensor? bias)
    {
        if (!Suits(input) || !Suits(weight) || weight.dim() != input.dim() || !input.is_contiguous()) return null;
        var (sizes, filters) = (input.shape, weight.shape);
        var (wanted, channels) = given.IsTransposed ? (filters[0], filters[1] * given.Groups) : (filters[1] * given.Groups, filters[0]);
        if (sizes[1] != wanted || filters[0] % given.Groups != 0) return null;
        if (bias is not null && !(Suits(bias) && bias.shape.AsSpan().SequenceEqual([channels]))) return null;
        var outputs = (long[])[sizes[0], channels, .. sizes[2..]];
        for (var axis = 0; axis < given.Stride.Length; axis++)
        {
            var (reach, padding) = (given.Dilation[axis] * (filters[axis + 2] - 1), 2 * given.Padding[axis]);
            outputs[axis + 2] = given.IsTransposed
                ? (sizes[axis + 2] - 1) * given.Stride[axis] - padding + reach + given.OutputPadding[axis] + 1
                : (sizes[axis + 2] + padding - reach - 1) / given.Stride[axis] + 1;
            if (sizes[axis + 2] + padding <= reach && !given.IsTransposed) return null;
        }
        return outputs.Concat(sizes).All(size => size > 0) ? outputs : null;
    }

    // A tensor of a layout of its own, such as a sparse one, has no storage.
    static bool Suits(Tensor tensor) =>
        StorageReference.AddressOf(tensor) != 0 && tensor.device_type == DeviceType.CPU && tensor.dtype == ScalarType.Float32;

    static long Product(long[] sizes) => sizes.Aggregate(1L, (product, size) => product * size);
}
