using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Tests.Data;

[MeasuresMemory]
public sealed class SlidingWindowTests
{
    static CancellationToken Now => TestContext.Current.CancellationToken;

    static Example Noise(int channels, params int[] extents)
    {
        var random = new Random(4);
        var elements = extents.Aggregate((a, b) => a * b);
        return new(
            "noise", [.. Enumerable.Range(0, channels * elements).Select(_ => random.NextSingle() - 0.5f)], new ushort[elements], extents);
    }

    public static TheoryData<int[], int[], double, WindowWeights, int> Shapes() =>
    [
        (new[] { 20, 18, 23 }, new[] { 8, 8, 8 }, 0.5, WindowWeights.Gaussian, 3),
        (new[] { 20, 18, 23 }, new[] { 8, 6, 10 }, 0.25, WindowWeights.Uniform, 1),
        (new[] { 8, 8, 8 }, new[] { 8, 8, 8 }, 0.5, WindowWeights.Gaussian, 4),
        (new[] { 5, 18, 9 }, new[] { 8, 8, 8 }, 0.5, WindowWeights.Gaussian, 2),
        (new[] { 24, 16, 16 }, new[] { 8, 8, 8 }, 0, WindowWeights.Uniform, 2),
        (new[] { 30, 41 }, new[] { 16, 12 }, 0.7, WindowWeights.Gaussian, 4),
    ];

    [Theory]
    [MemberData(nameof(Shapes))]
    public void What_a_network_says_of_single_voxels_is_kept(int[] extents, int[] window, double overlap, WindowWeights weights, int batch)
    {
        var example = Noise(3, extents);
        var labels = new SlidingWindow(window) { Overlap = overlap, Weights = weights, Batch = batch }
            .Predict(example, 3, images => images.alias(), Now);
        for (var i = 0; i < labels.Length; i++)
        {
            var scores = Enumerable.Range(0, 3).Select(channel => example.Channel(channel)[i]).ToArray();
            Assert.Equal(Array.IndexOf(scores, scores.Max()), labels[i]);
        }
    }

    // The network outputs a number for each voxel from its position in the window and in the image, as scores that are largest at the
    // nearest class: score k of a number s is k s - k² / 2. So the class with the largest weighted sum is the weighted mean of the windows'
    // numbers, rounded.
    [Theory]
    [MemberData(nameof(Shapes))]
    public void Overlapping_windows_are_summed_by_weight(int[] extents, int[] window, double overlap, WindowWeights weights, int batch)
    {
        const int Classes = 128;
        using var scope = NewDisposeScope();
        var (elements, chance) = (window.Aggregate((a, b) => a * b), new Random(1));
        var said = Enumerable.Range(0, elements).Select(_ => 100 * chance.NextSingle()).ToArray();
        long[] sizes = [.. window.Select(extent => (long)extent)];
        Tensor places = tensor(said).view(sizes), each = arange(Classes, float32).view([1, Classes, .. sizes.Select(_ => 1L)]),
            falling = each.square() / 2;
        Tensor Network(Tensor images) => each * (images + places) - falling;
        var example = Noise(1, extents);
        example = example with { Image = Array.ConvertAll(example.Image, value => 10 + 10 * value) };
        var labels = new SlidingWindow(window) { Overlap = overlap, Weights = weights, Batch = batch }
            .Predict(example, Classes, Network, Now);

        // The definition computes all windows at once, over the whole padded volume, in double precision.
        var padded = example.PadTo(window);
        var (sums, total) = (new double[padded.Elements], new double[padded.Elements]);
        int[] three = [1, .. window], wide = [1, .. padded.Extents];
        (three, wide) = (three[^3..], wide[^3..]);
        foreach (var z in Starts(0))
            foreach (var y in Starts(1))
                foreach (var x in Starts(2))
                    for (var i = 0; i < elements; i++)
                    {
                        var (k, j, l) = (i / (three[1] * three[2]), i / three[2] % three[1], i % three[2]);
                        var (at, weight) = (
                            ((z + k) * wide[1] + y + j) * wide[2] + x + l,
                            (three[0] == 1 ? 1 : Weight(k, 0)) * Weight(j, 1) * Weight(l, 2));
                        (sums[at], total[at]) = (sums[at] + weight * (said[i] + padded.Image[at]), total[at] + weight);
                    }
        var wanted = (padded with { Image = [.. sums.Zip(total, (sum, weight) => (float)(sum / weight))] }).Fit(extents).Image;
        for (var i = 0; i < labels.Length; i++) Assert.InRange(wanted[i] - labels[i], -0.501f, 0.501f);

        double Weight(int i, int axis) =>
            weights == WindowWeights.Uniform ? 1 : Math.Exp(-Math.Pow((i - (three[axis] - 1) / 2.0) / (three[axis] / 8.0), 2) / 2);

        int[] Starts(int axis)
        {
            var (room, step) = (wide[axis] - three[axis], Math.Max(1, (int)(three[axis] * (1 - overlap))));
            var steps = (room + step - 1) / step;
            return [.. Enumerable.Range(0, steps + 1).Select(i => steps == 0 ? 0 : (int)Math.Round((double)i * room / steps))];
        }
    }

    [Fact]
    public void Of_two_equal_sums_the_lower_class_wins()
    {
        using var scope = NewDisposeScope();
        var labels = new SlidingWindow([4, 4]).Predict(Noise(1, 9, 9), 3, images => cat([images - 1, images, images], 1), Now);
        Assert.All(labels, label => Assert.Equal(1, label));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(-0.1)]
    [InlineData(double.NaN)]
    public void An_overlap_that_is_no_share_is_refused(double overlap) =>
        Assert.Contains(
            "wanted at least 0 and below 1",
            Assert.Throws<ArgumentOutOfRangeException>(() =>
                new SlidingWindow([4, 4]) { Overlap = overlap }.Predict(Noise(1, 9, 9), 1, images => images.alias(), Now)).Message,
            StringComparison.Ordinal);

    [Fact]
    public void An_output_of_another_shape_is_refused_and_no_tensor_is_left()
    {
        var example = Noise(1, 24, 24, 24);
        var before = Tensor.TotalCount;
        var message = Assert.Throws<InvalidOperationException>(() =>
            new SlidingWindow([16, 16, 16]).Predict(example, 3, images => images.alias(), Now)).Message;
        Assert.Contains("(1, 1, 16, 16, 16): wanted (1, 3, 16, 16, 16)", message, StringComparison.Ordinal);
        Assert.Equal(before, Tensor.TotalCount);
        new SlidingWindow([16, 16, 16]).Predict(example, 1, images => images.alias(), Now);
        Assert.Equal(before, Tensor.TotalCount);
    }
}
