using Actipress.Experiments;
using Actipress.Models;

namespace Actipress.Tests.Experiments;

[MeasuresMemory]
public class MemoryMeasureTests
{
    // What the runtime allocates for itself within a step, its compiler above all: no tensor, so no block of the timeline. Batches of 64
    // take a hundred megabytes, beside which it is little.
    const long OfDotNet = 4_000_000;

    static MemoryResult Measure(string layers, string codec = "dct:10") =>
        MemoryMeasure.Run(new(Networks.Find("ResNet20"), 64, [3, 32, 32], [ActivationCodec.Parse(codec)], layers), null, out _, TestContext.Current.CancellationToken)[0];

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
        Assert.InRange(result.AliveAtPeak.Sum(block => block.Bytes), result.PeakBytes!.Value - result.FloorBytes - OfDotNet, result.PeakBytes.Value);
    }

    [Fact]
    public void Batch_norms_of_one_block_alone_leave_the_rest()
    {
        var result = Measure("block1:bn");
        Assert.True(result.OthersBytes > result.FloorBytes, $"{result}");
        Assert.InRange(result.EtaPercent, -100, -80);
        Assert.All(result.Layers.Where(layer => layer.KeptAs.Contains("dct", StringComparison.Ordinal)), layer => Assert.Matches(@"^layer1\..*bn", layer.Name));
    }

    [Fact]
    public void What_a_network_does_not_have_is_named()
    {
        Assert.Contains("block0 to block3", Assert.Throws<ArgumentException>(() => Measure("block7")).Message);
        Assert.Contains("bn, conv, relu", Assert.Throws<ArgumentException>(() => Measure("block0:gelu")).Message);
    }
}
