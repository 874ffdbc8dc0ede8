using Actipress.Benchmarks;
using Actipress.Distributed;

namespace Actipress.Tests.Distributed;

/// <summary><c>bench ranks</c>, and the model of more ranks than there are.</summary>
[MeasuresMemory]
public sealed class RanksBenchmarkTests
{
    // There are 10 messages of 10 MB. On 4 ranks at 1 GB/s each takes 2 * 3/4 * 10 ms and 2 * 2 latencies of 0.25 ms: 16 ms.
    static readonly RanksTiming measured = new("a network", 2, 32, ApartMs: 300, TogetherMs: 0, Ratio: 0, BackwardMs: 200,
        Bytes: 100_000_000, Messages: 10, BufferBytes: 0, ReducingMs: 0, WaitingMs: 0, Hidden: 0,
        PeakApartBytes: 0, PeakTogetherBytes: 0);
    static readonly StatedNetwork network = new("1 GB/s", 1e9, TimeSpan.FromMilliseconds(0.25));

    [Theory]
    [InlineData(1, 300.0 / (300 + 16))]             // 160 ms are hidden behind 200 ms, except for the last message
    [InlineData(2, 150.0 / (150 + 60 + 16))]        // 100 of 160 ms are hidden
    [InlineData(1000, 0.3 / (0.3 + 160))]           // no more than all reductions is exposed
    public void What_the_backward_pass_is_too_short_for_is_shown(double faster, double wanted) =>
        Assert.Equal(wanted, network.Efficiency(measured, 4, faster), 3);

    [Fact]
    public void Nothing_else_is_measured_beside_it()
    {
        var ended = Mpirun.Run(2, [.. ChildProcess.Cli, "bench", "codecs"]);
        Assert.Equal(2, ended.ExitCode);
        Assert.Contains("Under mpirun: found codecs, wanted ranks alone", ended.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void One_rank_sends_nothing_and_holds_nothing_more()
    {
        using var subject = Subject.LeNet(null, batch: 16);
        var alone = RanksBenchmark.Run(subject, Ranks.World, rounds: 1, steps: 2);
        Assert.Equal((1, 0L, 0L, 0L), (alone.Ranks, alone.Bytes, alone.Messages, alone.BufferBytes));
        Assert.Equal((0, 0, 1), (alone.ReducingMs, alone.WaitingMs, alone.Hidden));
        Assert.InRange(alone.PeakTogetherBytes - alone.PeakApartBytes, -100_000, 100_000);
        Assert.True(alone.ApartMs > 0 && alone.TogetherMs > 0);
    }
}
