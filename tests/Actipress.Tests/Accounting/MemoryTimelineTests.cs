using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

[MeasuresMemory]
public class MemoryTimelineTests
{
    const long MiB = 1 << 20, Others = 200_000;

    static Module<Tensor, Tensor> Network() => Sequential(
        ("conv1", Conv2d(3, 16, 3, padding: 1)), ("bn1", BatchNorm2d(16)), ("relu1", ReLU()), ("conv2", Conv2d(16, 4, 3, padding: 1)));

    static MemoryTimeline Record(ActivationCodec codec, out long peak)
    {
        using var everything = NewDisposeScope();
        var model = Network();
        using var compression = model.CompressActivations(codec);
        var x = randn(16, 3, 64, 64);
        Step();
        using var meter = AllocatorMeter.Start();
        var before = AllocatorMeter.CurrentBytes;
        var timeline = compression.StartTimeline();
        Step();
        timeline.Dispose();
        peak = meter.PeakBytes - before;
        return timeline;

        void Step()
        {
            using var y = model.call(x);
            using var loss = y.square().sum();
            loss.backward();
        }
    }

    [Theory, InlineData("none"), InlineData("dct:10")]
    public void The_peak_is_the_meters_and_its_blocks_add_up(string codec)
    {
        var timeline = Record(ActivationCodec.Parse(codec), out var peak);
        Assert.InRange(timeline.Peak!.Bytes - peak, -Others, Others);
        Assert.Equal(timeline.Peak.Bytes, timeline.AliveAtPeak.Sum(block => block.Bytes));
        Assert.InRange(timeline.AliveAtPeak[^1].Bytes, -Others, MiB);    // the last entry holds the bytes that the timeline cannot name
        Assert.Contains("backward pass", timeline.Peak.Stage, StringComparison.Ordinal);
    }

    [Theory, InlineData(64 << 10, true), InlineData((64 << 10) - 1, false)]
    public void A_block_of_64_KiB_is_listed_and_a_smaller_one_is_not(int bytes, bool isListed)
    {
        using var everything = NewDisposeScope();
        using var compression = Network().CompressActivations(ActivationCodec.None);
        using var timeline = compression.StartTimeline();
        using (empty(bytes, uint8)) empty(MiB, uint8).Dispose();
        Assert.Equal(isListed ? [MiB, bytes] : [MiB], timeline.AliveAtPeak.SkipLast(1).Select(block => block.Bytes));
    }

    [Fact]
    public void A_block_that_is_freed_just_before_the_peak_is_not_listed()
    {
        using var everything = NewDisposeScope();
        using var compression = Network().CompressActivations(ActivationCodec.None);
        using var timeline = compression.StartTimeline();
        empty(2 * MiB, uint8).Dispose();
        empty(3 * MiB, uint8).Dispose();
        Assert.Equal([3 * MiB], timeline.AliveAtPeak.SkipLast(1).Select(block => block.Bytes));
    }

    [Fact]
    public void Blocks_have_the_names_of_their_layers()
    {
        var plain = Record(ActivationCodec.None, out _).AliveAtPeak.Select(block => block.What).ToArray();
        Assert.Contains("map of bn1, kept as it is", plain);
        var compressed = Record(ActivationCodec.Dct(10), out _).AliveAtPeak.Select(block => block.What).ToArray();
        Assert.Contains("packed maps", compressed);
        Assert.DoesNotContain("map of bn1, kept as it is", compressed);
        Assert.Contains(compressed, what => what.StartsWith("rebuilt map of", StringComparison.Ordinal));
    }

    [Fact]
    public void An_allocation_that_fails_throws_as_without_a_timeline()
    {
        using var model = Network();
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        using var timeline = compression.StartTimeline();
        Assert.ThrowsAny<Exception>(() => empty(1L << 50, uint8));
        using var small = empty(MiB, uint8);
        Assert.Equal(MiB, timeline.AliveAtPeak[0].Bytes);
    }

    [Fact]
    public void What_is_allocated_under_a_timeline_may_outlive_it()
    {
        using var model = Network();
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        // The runtime does not allocate meanwhile in every try.
        Assert.InRange(Enumerable.Range(0, 3).Min(_ => Math.Abs(Left())), 0, Others);

        long Left()
        {
            var before = AllocatorMeter.CurrentBytes;
            Tensor kept;
            using (compression.StartTimeline()) kept = ones(MiB);
            using (kept)
            {
                using var sum = kept.sum();
                Assert.Equal(MiB, sum.item<float>());
            }
            return AllocatorMeter.CurrentBytes - before;
        }
    }
}
