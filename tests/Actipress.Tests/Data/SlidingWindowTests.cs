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
        return new("noise", [.. Enumerable.Range(0, channels * elements).Select(_ => random.NextSingle() - 0.5f)], new ushort[elements], extents);
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
        var labels = new SlidingWindow(window) { Overlap = overlap, Weights = weights, Batch = batch }.Predict(example, 3, images => images.alias(), Now);
        for (var i = 0; i < labels.Length; i++)
        {
            var scores = Enumerable.Range(0, 3).Select(channel => example.Channel(channel)[i]).ToArray();
            Assert.Equal(Array.IndexOf(scores, scores.Max()), labels[i]);
        }
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Overlapping_windows_are_summed_by_weight(int[] extents, int[] window, double overlap, WindowWeights weights, int batch)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var is3D = extents.Length == 3;
        var kernel = randn(is3D ? [2, 1, 3, 3, 3] : [2, 1, 3, 3]);
        Tensor Network(Tensor images) => is3D ? nn.functional.conv3d(images, kernel, padding: [1, 1, 1]) : nn.functional.conv2d(images, kernel, padding: [1, 1]);
        var example = Noise(1, extents);
        var labels = new SlidingWindow(window) { Overlap = overlap, Weights = weights, Batch = batch }.Predict(example, 2, Network, Now);

        // The definition: everything at once, over the whole padded volume.
        var padded = example.PadTo(window);
        long[] sizes = [.. padded.Extents.Select(extent => (long)extent)];
        var sums = zeros([2, .. sizes]);
        var along = window.Select(extent => weights == WindowWeights.Uniform ? ones(extent) : exp(-((arange(extent, float32) - (extent - 1) / 2.0) / (extent / 8.0)).square() / 2)).ToArray();
        var weight = is3D ? along[0].view(-1, 1, 1) * along[1].view(1, -1, 1) * along[2].view(1, 1, -1) : along[0].view(-1, 1) * along[1].view(1, -1);
        var image = tensor(padded.Image).view([1, 1, .. sizes]);
        foreach (var z in is3D ? Starts(0) : [0])
            foreach (var y in Starts(window.Length - 2))
                foreach (var x in Starts(window.Length - 1))
                {
                    TensorIndex[] box = is3D
                        ? [TensorIndex.Slice(z, z + window[0]), TensorIndex.Slice(y, y + window[1]), TensorIndex.Slice(x, x + window[2])]
                        : [TensorIndex.Slice(y, y + window[0]), TensorIndex.Slice(x, x + window[1])];
                    sums[[TensorIndex.Colon, .. box]] += weight * Network(image[[TensorIndex.Colon, TensorIndex.Colon, .. box]])[0];
                }
        var wanted = (padded with { Labels = [.. sums.argmax(0).view(-1).data<long>().ToArray().Select(label => (ushort)label)] }).Fit(extents).Labels;
        var different = labels.Zip(wanted).Count(pair => pair.First != pair.Second);
        Assert.InRange(different, 0, labels.Length / 1000);    // only where two sums are equal but for rounding

        int[] Starts(int axis)
        {
            var (room, step) = (padded.Extents[axis] - window[axis], Math.Max(1, (int)(window[axis] * (1 - overlap))));
            var steps = (room + step - 1) / step;
            return [.. Enumerable.Range(0, steps + 1).Select(i => steps == 0 ? 0 : (int)Math.Round((double)i * room / steps))];
        }
    }

    [Fact]
    public void An_output_of_another_shape_is_refused_and_nothing_is_left()
    {
        const int OneWindow = 64 * 64 * 64 * sizeof(float);
        var example = Noise(1, 96, 96, 96);
        var before = AllocatorMeter.CurrentBytes;
        var message = Assert.Throws<InvalidOperationException>(() => new SlidingWindow([64, 64, 64]).Predict(example, 3, images => images.alias(), Now)).Message;
        Assert.Contains("(1, 1, 64, 64, 64): wanted (1, 3, 64, 64, 64)", message, StringComparison.Ordinal);
        new SlidingWindow([64, 64, 64]).Predict(example, 1, images => images.alias(), Now);
        Assert.InRange(AllocatorMeter.CurrentBytes - before, -OneWindow / 2, OneWindow / 2);
    }
}
