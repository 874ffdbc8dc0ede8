using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>The backward pass of a convolution whose input is read in pieces: some examples at a time, or slabs of one.</summary>
/// <remarks>
/// The gradients by the weights and the bias are sums over pieces; that by the input is made piece by piece. Beside the gradients that come
/// in and go out there is one piece of each: libtorch's own call holds the whole input, and oneDNN copies of all three.
/// </remarks>
static class PiecewiseConvolution
{
    // A piece is an example or more, or a slab whose rows are so many times those that it shares with its neighbours.
    const int RowsPerHalo = 8;

    /// <param name="call">What libtorch was told.</param>
    /// <param name="gradient">By the output.</param>
    /// <param name="input">The saved map, (examples, channels, axes of space).</param>
    /// <param name="weight">The kernel.</param>
    /// <returns>The gradients that are wanted.</returns>
    public static (Tensor? Input, Tensor? Weight, Tensor? Bias) Run(ConvolutionCall call, Tensor gradient, IMapPieces input, Tensor weight)
    {
        var sizes = input.Sizes;
        var sums = new Sums(call, sizes, gradient);
        var exampleBytes = gradient.ElementSize * sizes[1..].Aggregate(1L, (product, size) => product * size);
        var pieceBytes = PieceBytes(sizes[0] * exampleBytes);
        var shape = MapShape.Of(sizes);
        var mapsOfExample = shape.Maps / sizes[0];
        if (exampleBytes > pieceBytes && HasSlabs(call, sizes, weight))
        {
            for (long example = 0; example < sizes[0]; example++) Slabs(example);
            return sums.Done();
        }
        var together = Math.Max(1, pieceBytes / exampleBytes);
        for (long first = 0; first < sizes[0]; first += together)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(together, sizes[0] - first);
            var piece = Placeholder.Read(input, MapRange.Whole(shape, first * mapsOfExample, count * mapsOfExample)).view([count, .. sizes[1..]]);
            var found = BackwardKernels.Convolution(call, gradient.narrow(0, first, count), piece, weight);
            sums.Add(found, first, count, 0, sizes[2]);
        }
        return sums.Done();

        void Slabs(long example)
        {
            var (stride, padding, reach) = (call.Stride[0], call.Padding[0], call.Dilation[0] * (weight.shape[2] - 1));
            var (rows, outputs) = (sizes[2], gradient.shape[2]);
            var rowBytes = exampleBytes / rows;
            var wanted = Math.Max(RowsPerHalo * reach, pieceBytes / rowBytes);
            var pieces = Math.Max(1, (rows + wanted / 2) / wanted);
            var within = call with { Padding = [0, .. call.Padding[1..]] };
            for (long piece = 0; piece < pieces; piece++)
            {
                using var scope = NewDisposeScope();
                var (from, to) = (outputs * piece / pieces, outputs * (piece + 1) / pieces);
                if (from == to) continue;
                var (before, after) = (from * stride - padding, (to - 1) * stride - padding + reach + 1);
                var (first, end) = (Math.Clamp(before, 0, rows), Math.Clamp(after, 0, rows));
                var slab = Placeholder.Read(input, new MapRange(example * mapsOfExample, mapsOfExample, (int)first, (int)(end - first))).view([1, sizes[1], end - first, .. sizes[3..]]);
                slab = Padded(slab, first - before, after - end);
                var found = BackwardKernels.Convolution(within, gradient.narrow(0, example, 1).narrow(2, from, to - from), slab, weight);
                if (found.Input is { } byInput)
                {
                    var unpadded = byInput.narrow(2, Math.Max(0, first - before), end - first);
                    found = found with { Input = unpadded };
                }
                sums.Add(found, example, 1, first, end - first);
            }
        }
    }

    // A map of less is no peak, and of more there are no more pieces.
    const long LeastPiece = 4 << 20, MostPieces = 16;

    /// <summary>The bytes of a map from which on it is read in pieces.</summary>
    public const long LeastBytes = 2 * LeastPiece;

    static long PieceBytes(long bytes) => Math.Max(LeastPiece, bytes / MostPieces);

    // Each row of the output is made of some row of the input.
    static bool HasSlabs(ConvolutionCall call, long[] sizes, Tensor weight) =>
        !call.IsTransposed && sizes.Length > 3 && MapRange.RowsOf(MapShape.Of(sizes)) == sizes[2] && call.Padding[0] <= call.Dilation[0] * (weight.shape[2] - 1);

    // Rows of zeros, or fewer rows, before and after.
    static Tensor Padded(Tensor slab, long before, long after)
    {
        if (before <= 0 && after <= 0) return slab;
        var shape = slab.shape;
        (shape[2], before, after) = (shape[2] + Math.Max(0, before) + Math.Max(0, after), Math.Max(0, before), Math.Max(0, after));
        var padded = zeros(shape, slab.dtype, slab.device);
        padded.narrow(2, before, slab.shape[2]).copy_(slab);
        return padded;
    }

    // The gradients so far.
    sealed class Sums(ConvolutionCall call, long[] sizes, Tensor gradient)
    {
        readonly Tensor? input = call.Wants.Input ? empty(sizes, gradient.dtype, gradient.device).DetachFromDisposeScope() : null;
        Tensor? weight, bias;

        // Up to which row of the example the gradient by the input is written.
        long example, written;

        public void Add((Tensor? Input, Tensor? Weight, Tensor? Bias) found, long first, long count, long row, long rows)
        {
            Sum(ref weight, found.Weight);
            Sum(ref bias, found.Bias);
            if (input is null) return;
            if (first != example) Finish(first);
            var of = input.narrow(0, first, count);
            // Rows between two slabs are in neither.
            if (row > written) of.narrow(2, written, row - written).zero_();
            var both = Math.Max(0, Math.Min(written, row + rows) - row);
            if (both > 0) of.narrow(2, row, both).Add_(found.Input!.narrow(2, 0, both));
            if (rows > both) of.narrow(2, row + both, rows - both).copy_(found.Input!.narrow(2, both, rows - both));
            written = Math.Max(written, row + rows);
        }

        public (Tensor?, Tensor?, Tensor?) Done()
        {
            Finish(0);
            return (input, weight, bias);
        }

        void Finish(long next)
        {
            if (input is not null && written > 0 && written < sizes[2])
                using (var scope = NewDisposeScope())
                    input.narrow(0, example, 1).narrow(2, written, sizes[2] - written).zero_();
            (example, written) = (next, 0);
        }

        static void Sum(ref Tensor? sum, Tensor? part)
        {
            if (part is null) return;
            if (sum is null) sum = part.DetachFromDisposeScope();
            else sum.Add_(part);
        }
    }
}
