using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Backward;

/// <summary>The backward pass of a convolution whose input is read in pieces: some examples at a time, or slabs of one example.</summary>
/// <remarks>
/// The gradients by the weights and the bias are sums over pieces. The gradient by the input is computed piece by piece. Beside the
/// incoming and the outgoing gradient, one piece of each tensor is held. libtorch's own call holds the whole input, and oneDNN's copies of
/// all three tensors.
/// </remarks>
static class PiecewiseConvolution
{
    // A piece is one example or more, or a slab. This is the number of rows of a slab for each row of its halo.
    const int RowsPerHalo = 8;

    /// <param name="call">libtorch's arguments.</param>
    /// <param name="gradient">The gradient by the output.</param>
    /// <param name="input">The saved map: (examples, channels, spatial axes).</param>
    /// <param name="weight">The kernel.</param>
    /// <returns>The gradients that are wanted.</returns>
    public static (Tensor? Input, Tensor? Weight, Tensor? Bias) Run(ConvolutionCall call, Tensor gradient, IMapPieces input, Tensor weight)
    {
        var (sizes, given) = (input.Sizes, call.Arguments);
        using var sums = new Sums(call, sizes, gradient, weight);
        var exampleBytes = gradient.ElementSize * sizes[1..].Aggregate(1L, (product, size) => product * size);
        var pieceBytes = Pieces.Bytes(sizes[0] * exampleBytes, input.Scale);
        var shape = MapShape.Of(sizes);
        var mapsOfExample = shape.Maps / sizes[0];
        if (exampleBytes > pieceBytes && HasSlabs(given, sizes, weight) && (sizes[0] == 1 || !IsNative(sizes[1], sizes[2]))
            && Slabs() is { Count: > 1 } slabs)
        {
            // All slabs are divided into the same channels, because the gradient by the input is assembled part by part.
            var ofSlabs = Parts(slabs.Max(slab => slab.Rows) * exampleBytes / sizes[2], slabs.Min(slab => slab.Rows));
            var within = call with { Arguments = given.OfSlabs };
            for (long example = 0; example < sizes[0]; example++)
                foreach (var slab in slabs)
                    foreach (var (channel, channels) in ofSlabs)
                    {
                        using var scope = NewDisposeScope();
                        var of = gradient.narrow(0, example, 1).narrow(2, slab.Output, slab.Outputs);
                        var place = new MapRange(example * mapsOfExample + channel, channels, (int)slab.First, (int)slab.Rows);
                        var values = slab.Padded(Placeholder.Read(input, place).view([1, channels, slab.Rows, .. sizes[3..]]));
                        var found = BackwardKernels.Convolution(Of(within, channel), of, values, OfWeight(channel, channels));
                        if (found.Input is { } padded) found = found with { Input = padded.narrow(2, slab.Before, slab.Rows) };
                        sums.Add(found, new(example, 1, channel, channels, slab.First, slab.Rows));
                    }
            return sums.Done();
        }
        var together = Math.Max(IsNative(sizes[1], sizes[2]) ? 2 : 1, pieceBytes / exampleBytes);
        var ofExample = Parts(exampleBytes, sizes[2]);
        for (long first = 0, count; first < sizes[0]; first += count)
        {
            using var scope = NewDisposeScope();
            var left = sizes[0] - first;
            count = together > 1 && left <= together + 1 ? left : Math.Min(together, left);    // no single example remains
            var of = gradient.narrow(0, first, count);
            // The channels of an example are contiguous, as examples are.
            foreach (var (channel, channels) in count == 1 ? ofExample : [(0, sizes[1])])
            {
                using var part = NewDisposeScope();
                var maps = MapRange.Whole(shape, first * mapsOfExample + channel, count * mapsOfExample - (sizes[1] - channels));
                var piece = Placeholder.Read(input, maps).view([count, channels, .. sizes[2..]]);
                var found = BackwardKernels.Convolution(Of(call, channel), of, piece, OfWeight(channel, channels));
                if (count == sizes[0] && channels == sizes[1]) return Detached(found);
                sums.Add(found, new(first, count, channel, channels, 0, sizes[2]));
            }
        }
        return sums.Done();

        // The slabs of an example.
        List<Slab> Slabs()
        {
            var (rows, reach) = (sizes[2], given.Reach(weight));
            var wanted = Math.Max(RowsPerHalo * reach, Math.Max(1, pieceBytes * rows / exampleBytes));
            while (wanted < rows && IsNative(sizes[1], wanted)) wanted++;
            return Slab.Divide(Math.Max(1, rows / wanted), rows, gradient.shape[2], given.Stride[0], given.Padding[0], reach);
        }

        // The parts of the channels of a piece that is too large. Both gradients of a convolution without groups can be computed part by
        // part.
        IReadOnlyList<(long First, long Count)> Parts(long bytes, long rows)
        {
            var each = sizes[1];
            if (given.Groups == 1 && !given.IsTransposed && mapsOfExample == sizes[1])
                each = each * pieceBytes / bytes / ChannelsOfBlock * ChannelsOfBlock;
            each = Math.Clamp(each, Math.Min(ChannelsOfBlock, sizes[1]), sizes[1]);
            while (each < sizes[1] && (IsNative(each, rows) || (sizes[1] % each is > 0 and var rest && IsNative(rest, rows))))
                each = Math.Min(sizes[1], each + ChannelsOfBlock);
            var parts = new List<(long, long)>();
            for (long first = 0; first < sizes[1]; first += each) parts.Add((first, Math.Min(each, sizes[1] - first)));
            return parts;
        }

        // Whether libtorch would use its native kernels for a piece of one example.
        bool IsNative(long channels, long rows) =>
            given.Groups == 1 && sizes.Length > 3 && NativeKernels.Take(channels, rows, sizes[3]);

        Tensor OfWeight(long channel, long channels) => channels == sizes[1] ? weight : weight.narrow(1, channel, channels);
    }

    // The gradient by the bias is computed with the first channels.
    static ConvolutionCall Of(ConvolutionCall call, long channel) =>
        channel == 0 ? call : call with { Wants = call.Wants with { Bias = false } };

    // oneDNN computes with blocks of this many channels.
    const long ChannelsOfBlock = 16;

    // Every output row must depend on an input row. Padding may not exceed the filter's reach.
    static bool HasSlabs(ConvolutionArguments given, long[] sizes, Tensor weight) =>
        !given.IsTransposed && sizes.Length > 3 && MapRange.RowsOf(MapShape.Of(sizes)) == sizes[2]
        && given.Padding[0] <= given.Reach(weight);

    static (Tensor?, Tensor?, Tensor?) Detached((Tensor? Input, Tensor? Weight, Tensor? Bias) found) =>
        (found.Input?.DetachFromDisposeScope(), found.Weight?.DetachFromDisposeScope(), found.Bias?.DetachFromDisposeScope());

    // The part of the gradient by the input that a piece computes: examples, channels and rows.
    readonly record struct Place(long Example, long Examples, long Channel, long Channels, long Row, long Rows);

    // The gradients over the pieces so far.
    sealed class Sums(ConvolutionCall call, long[] sizes, Tensor gradient, Tensor weight) : IDisposable
    {
        Tensor? input, byWeight, bias;

        // The number of rows of the gradient by the input that are written, for each part of the example's channels.
        long example;
        readonly SortedDictionary<long, (long Channels, long Rows)> written = [];

        public void Add((Tensor? Input, Tensor? Weight, Tensor? Bias) found, Place place)
        {
            if (found.Weight is { } part && place.Channels < sizes[1])
            {
                byWeight ??= zeros_like(weight).DetachFromDisposeScope();
                byWeight.narrow(1, place.Channel, place.Channels).Add_(part);
            }
            else Sum(ref byWeight, found.Weight);
            Sum(ref bias, found.Bias);
            if (!call.Wants.Input) return;
            input ??= empty(sizes, gradient.dtype, gradient.device).DetachFromDisposeScope();
            if (place.Example != example) Finish(place.Example);
            var (to, row, rows) =
                (input.narrow(0, place.Example, place.Examples).narrow(1, place.Channel, place.Channels), place.Row, place.Rows);
            var before = written.GetValueOrDefault(place.Channel).Rows;
            // With a large stride, rows between two slabs belong to neither slab.
            if (row > before) to.narrow(2, before, row - before).zero_();
            var both = Math.Max(0, Math.Min(before, row + rows) - row);
            if (both > 0) to.narrow(2, row, both).Add_(found.Input!.narrow(2, 0, both));
            if (rows > both) to.narrow(2, row + both, rows - both).copy_(found.Input!.narrow(2, both, rows - both));
            written[place.Channel] = (place.Channels, Math.Max(before, row + rows));
        }

        public (Tensor?, Tensor?, Tensor?) Done()
        {
            Finish(0);
            var done = (input, byWeight, bias);
            input = byWeight = bias = null;
            return done;
        }

        // Where a piece failed, nobody else holds the gradients so far.
        public void Dispose()
        {
            input?.Dispose();
            byWeight?.Dispose();
            bias?.Dispose();
        }

        void Finish(long next)
        {
            using var scope = NewDisposeScope();
            foreach (var (channel, (channels, rows)) in written)
                if (rows < sizes[2]) input!.narrow(0, example, 1).narrow(1, channel, channels).narrow(2, rows, sizes[2] - rows).zero_();
            written.Clear();
            example = next;
        }

        static void Sum(ref Tensor? sum, Tensor? part)
        {
            if (part is null) return;
            if (sum is null) sum = part.DetachFromDisposeScope();
            else sum.Add_(part);
        }
    }
}
