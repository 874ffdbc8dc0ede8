using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Actipress.Data;

/// <summary>The weights of a window's predictions where windows overlap.</summary>
public enum WindowWeights
{
    /// <summary>The same weight everywhere.</summary>
    Uniform,

    /// <summary>
    /// A Gaussian about the window's centre, with a standard deviation of an eighth of each extent. Predictions near the edge, where the
    /// network sees little context, count little.
    /// </summary>
    Gaussian,
}

/// <summary>
/// Predicts a class for every voxel of an example of any size, from windows of one size. Sums are held for the depth of one window only.
/// They become classes as soon as no later window reaches them, so that the memory beside the example does not grow with its depth.
/// </summary>
/// <param name="Extents">The extents of a window, (height, width) or (depth, height, width).</param>
public sealed record SlidingWindow(IReadOnlyList<int> Extents)
{
    /// <summary>The least overlap of two neighbouring windows along an axis, as a share of the window; from 0 to below 1.</summary>
    public double Overlap { get; init; } = 0.5;

    /// <summary>The weights of overlapping predictions.</summary>
    public WindowWeights Weights { get; init; } = WindowWeights.Gaussian;

    /// <summary>The number of windows in a batch.</summary>
    public int Batch { get; init; } = 1;

    /// <summary>
    /// Predicts without gradients. Each voxel gets the class of the largest weighted sum, and the lower of two equal ones.
    /// </summary>
    /// <param name="example">The example. Where it is smaller than a window it is padded, and the result is cut.</param>
    /// <param name="classes">The number of channels of the network's output.</param>
    /// <param name="network">
    /// The network: from (n, channels, window), which it does not dispose, to (n, classes, window), which is disposed here.
    /// </param>
    /// <param name="cancellation">Ends it between batches.</param>
    /// <returns>A class for each voxel, in the example's order.</returns>
    /// <exception cref="InvalidOperationException">The network's output has another shape.</exception>
    public ushort[] Predict(Example example, int classes, Func<Tensor, Tensor> network, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(example);
        ArgumentNullException.ThrowIfNull(network);
        ArgumentOutOfRangeException.ThrowIfLessThan(Batch, 1);
        if (!(Overlap >= 0 && Overlap < 1))
            throw new ArgumentOutOfRangeException(nameof(example), $"The overlap is {Overlap}: wanted at least 0 and below 1.");
        if (Extents.Count != example.Extents.Count)
            throw new ArgumentException($"A window of {string.Join(" x ", Extents)} does not fit {example.Case} of "
                + $"{string.Join(" x ", example.Extents)}: wanted as many axes.", nameof(example));
        var padded = example.PadTo(Extents);
        var ((depth, height, width), window) = (Warp.ThreeOf(padded.Extents), Warp.ThreeOf(Extents));
        var (starts, weights) = (Starts(depth, window.Depth), WeightsOf(window));
        var across = (from y in Starts(height, window.Height) from x in Starts(width, window.Width) select (Y: y, X: x))
            .Chunk(Batch).ToArray();
        var (labels, slice) = (new ushort[padded.Elements], height * width);
        var (sums, done) = (new float[window.Depth * classes * slice], 0);    // (depth, classes, height, width) from slice `done` on
        foreach (var z in starts)
        {
            Finish(z);
            foreach (var places in across)
            {
                cancellation.ThrowIfCancellationRequested();
                Add(z, places);
            }
        }
        Finish(depth);
        return padded == example ? labels : (padded with { Labels = labels }).Fit(example.Extents).Labels;

        void Add(int z, (int Y, int X)[] places)
        {
            using var gradients = no_grad();
            using var batch = Actipress.Data.Batch.Of([.. places.Select(place =>
                padded.Box(Extents.Count == 3 ? [z, place.Y, place.X] : [place.Y, place.X], Extents) with { Labels = [0] })]);
            using var output = network(batch.Images);
            long[] wanted = [places.Length, classes, .. Extents.Select(extent => (long)extent)];
            if (!output.shape.SequenceEqual(wanted))
                throw new InvalidOperationException($"The network's output is ({string.Join(", ", output.shape)}): wanted "
                    + $"({string.Join(", ", wanted)}), a score for each class at each voxel of a window.");
            using Tensor numbers = output.to(float32), here = numbers.cpu(), contiguous = here.contiguous();
            var scores = MemoryMarshal.Cast<byte, float>(contiguous.bytes);
            var from = 0;
            foreach (var (y, x) in places)
                for (var label = 0; label < classes; label++)
                    for (var (k, at) = (0, 0); k < window.Depth; k++)
                        for (var j = 0; j < window.Height; j++, at += window.Width, from += window.Width)
                        {
                            var to = sums.AsSpan((((z + k - done) * classes + label) * height + y + j) * width + x, window.Width);
                            for (var i = 0; i < to.Length; i++) to[i] += weights[at + i] * scores[from + i];
                        }
        }

        // The sums of slices before z are complete: they become classes, and the other slices move up.
        void Finish(int z)
        {
            for (var k = done; k < z; k++)
            {
                var own = sums.AsSpan((k - done) * classes * slice, classes * slice);
                for (var voxel = 0; voxel < slice; voxel++)
                {
                    var best = 0;
                    for (var label = 1; label < classes; label++)
                        if (own[label * slice + voxel] > own[best * slice + voxel]) best = label;
                    labels[k * slice + voxel] = (ushort)best;
                }
            }
            var gone = (z - done) * classes * slice;
            if (gone < sums.Length) sums.AsSpan(gone).CopyTo(sums);
            sums.AsSpan(Math.Max(0, sums.Length - gone)).Clear();
            done = z;
        }
    }

    // The smallest number of windows with this overlap, spread evenly from edge to edge.
    int[] Starts(int extent, int window)
    {
        var room = extent - window;
        var steps = (int)Math.Ceiling(room / Math.Max(1, Math.Floor(window * (1 - Overlap))));
        return [.. Enumerable.Range(0, steps + 1).Select(i => steps == 0 ? 0 : (int)Math.Round((double)i * room / steps))];
    }

    float[] WeightsOf((int Depth, int Height, int Width) window)
    {
        var (deep, down, right) = (Along(window.Depth), Along(window.Height), Along(window.Width));
        return [.. from z in deep from y in down from x in right select (float)(z * y * x)];

        double[] Along(int extent) => [.. Enumerable.Range(0, extent)
            .Select(i => Weights == WindowWeights.Uniform ? 1 : Math.Exp(-Math.Pow((i - (extent - 1) / 2.0) / (extent / 8.0), 2) / 2))];
    }
}
