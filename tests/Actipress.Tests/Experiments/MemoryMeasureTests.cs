using Actipress.Experiments;
using Actipress.Models;

namespace Actipress.Tests.Experiments;

[MeasuresMemory]
public class MemoryMeasureTests
{
    // The runtime, above all its compiler, allocates up to this much within a step. These bytes are no tensor, so they are no block of the
    // timeline. Batches of 64 take a hundred megabytes, beside which this is little.
    const long OfDotNet = 4_000_000;

    static MemoryResult Measure(string layers, string codec = "dct:10") =>
        MemoryMeasure.Run(
            new(Networks.Find("ResNet20"), 64, [3, 32, 32], [ActivationCodec.Parse(codec)], layers), null, out _,
            TestContext.Current.CancellationToken)[0];

    [Fact]
    public void All_layers_compressed_leave_little_above_the_floor()
    {
        var result = Measure("all");
        using var model = Networks.Find("ResNet20").Create();
        using var x = torch.randn(64, 3, 32, 32);
        var trace = ForwardTrace.Record(model, x);
        Assert.InRange(result.BaselineBytes, trace.AfterForwardBytes, 1.02 * trace.AfterForwardBytes);
        Assert.Equal(result.FloorBytes, result.OthersBytes);
        Assert.InRange(result.EtaOfFloorPercent, -100, -90);
        Assert.InRange(result.AfterForwardBytes, result.FloorBytes, result.PaperStorageBytes!.Value);
        Assert.True(result.PeakBytes < result.BaselinePeakBytes && result.BaselinePeakBytes > result.BaselineBytes, $"{result}");
        Assert.InRange(
            result.AliveAtPeak.Sum(block => block.Bytes), result.PeakBytes!.Value - result.FloorBytes - OfDotNet, result.PeakBytes.Value);
    }

    [Fact]
    public void Batch_norms_of_one_block_alone_leave_the_rest()
    {
        var result = Measure("block1:bn");
        Assert.True(result.OthersBytes > result.FloorBytes, $"{result}");
        Assert.InRange(result.EtaPercent, -100, -80);
        Assert.All(
            result.Layers.Where(layer => layer.KeptAs.Contains("dct", StringComparison.Ordinal)),
            layer => Assert.Matches(@"^layer1\..*bn", layer.Name));
    }

    [Fact]
    public void A_budget_is_kept_by_finer_codecs_where_it_is_larger()
    {
        var (small, large) = (Budget(40), Budget(70));
        Assert.InRange(small.PeakBytes!.Value - small.FloorBytes, 0, (40L << 20) + OfDotNet);
        Assert.InRange(large.PeakBytes!.Value - large.FloorBytes, 55L << 20, (70L << 20) + OfDotNet);
        Assert.True(large.AfterForwardBytes > 1.4 * small.AfterForwardBytes, $"{small} and {large}");

        static MemoryResult Budget(long mebibytes)
        {
            var network = Networks.Find("ResNet20");
            var plan = new MemoryPlan(network, 64, network.Input, [ActivationCodec.Dct(10)], Budget: mebibytes << 20);
            return MemoryMeasure.Run(plan, null, out _, TestContext.Current.CancellationToken)[0];
        }
    }

    [Fact]
    public void The_largest_batch_that_fits_is_the_last_one_that_does()
    {
        var network = Networks.Find("ResNet20");
        var plan = new MemoryPlan(network, 16, network.Input, [ActivationCodec.Dct(10)]);
        var fit = MemoryFit.OfBatch(plan, 40 << 20, confirm: true);
        var (plain, compressed) = (fit.Plain.Largest[0], fit.Compressed.Largest[0]);
        Assert.True(compressed > 2 * plain && plain > 8, $"{fit}");
        Assert.Equal((double)compressed / plain, fit.Times);
        Assert.Equal(network.Input, fit.Plain.Largest.Skip(1));
        Assert.True(fit.Plain.GivenBytes < 40 << 20 && fit.Compressed.GivenBytes < fit.Plain.GivenBytes, $"{fit}");
        Assert.InRange(fit.Plain.LargestBytes!.Value, 36L << 20, 44L << 20);
        Assert.InRange(fit.Compressed.LargestBytes!.Value, 34L << 20, 46L << 20);
        Assert.Equal("16 of 3 x 32 x 32", MemoryFit.Size(fit.Given));
        var digits = Networks.Find("LeNet");
        var none = MemoryFit.OfBatch(new(digits, 16, digits.Input, plan.Codecs), 1000, confirm: true);
        Assert.Equal(("none", "none"), (MemoryFit.Size(none.Plain.Largest), MemoryFit.Size(none.Compressed.Largest)));
        Assert.Null(none.Plain.LargestBytes);
        var refused = Assert.Throws<InsufficientMemoryException>(() => MemoryFit.OfBatch(plan, 1L << 50, confirm: true));
        Assert.Contains("available", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_largest_patch_that_fits_has_the_proportions_of_the_input()
    {
        var network = Networks.Find("ResNet20");
        var plan = new MemoryPlan(network, 2, [3, 32, 64], [ActivationCodec.Dct(10)]);
        var fit = MemoryFit.OfPatch(plan, 25 << 20);
        Assert.Equal([2, 3, 32, 64], fit.Given);
        Assert.All([fit.Plain, fit.Compressed], step =>
        {
            Assert.Equal([2, 3], step.Largest.Take(2));
            Assert.True(step.Largest[2] % 16 == 0 && step.Largest[3] == 2 * step.Largest[2], $"{fit}");
            Assert.Null(step.LargestBytes);
        });
        Assert.True(fit.Compressed.Largest[2] > fit.Plain.Largest[2], $"{fit}");
    }

    [Fact]
    public void What_a_network_does_not_have_is_named()
    {
        Assert.Contains("block0 to block3", Assert.Throws<ArgumentException>(() => Measure("block7")).Message);
        Assert.Contains("bn, conv, relu", Assert.Throws<ArgumentException>(() => Measure("block0:gelu")).Message);
    }
}
