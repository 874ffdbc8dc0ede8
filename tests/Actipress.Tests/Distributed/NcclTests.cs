using Actipress.Distributed;
using Actipress.Distributed.Nccl;
using Actipress.Tests.Gpu;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Distributed;

/// <summary>The calls of NCCL, their order and arguments, against a stand-in library and a stand-in driver.</summary>
public sealed class NcclTests : IDisposable
{
    public NcclTests() => Dispose();

    public void Dispose()
    {
        StandInDriver.Reset();
        StandInNccl.Calls.Clear();
        StandInNccl.Failures.Clear();
        StandInNccl.Missing.Clear();
        StandInNccl.Version = 22703;
    }

    static readonly TimeSpan patience = TimeSpan.FromSeconds(0.2);

    static NcclCollectives Begin() =>
        new(StandInNccl.Open(), StandInNccl.Stream(), [.. Enumerable.Range(0, 128).Select(i => (byte)i)], 1, 2);

    [Fact]
    public void A_collective_waits_for_torchs_stream_on_a_stream_of_its_own()
    {
        var nccl = Begin();
        Assert.Equal(Enumerable.Range(0, 128).Select(i => (byte)i), StandInNccl.Id);
        using Tensor singles = ones(5), doubles = ones(2, ScalarType.Float64), integers = ones(3, ScalarType.Int64);
        nccl.AllReduce(singles, ReduceOp.Sum, nccl.Mark(), patience);
        nccl.AllReduce(doubles, ReduceOp.Max, nccl.Mark(), patience);
        nccl.AllReduce(integers, ReduceOp.Min, nccl.Mark(), patience);
        nccl.Broadcast(doubles, 1, nccl.Mark(), patience);
        nccl.End();
        Assert.Equal(["begin 1 of 2", "reduce 5 Float32 by 0", "reduce 2 Float64 by 2", "reduce 3 Int64 by 3", "broadcast 16 of 1", "end"],
            StandInNccl.Calls);
        Assert.Equal(Enumerable.Repeat("aside for torch", 4), StandInDriver.Waits);
        Assert.Empty(StandInDriver.Events);
    }

    [Theory]
    [InlineData("ncclCommInitRank", "ncclCommInitRank failed: unhandled cuda error (error 1)")]
    [InlineData("ncclAllReduce", "ncclAllReduce failed: unhandled cuda error (error 1)")]
    [InlineData("a collective", "a collective of NCCL's failed: unhandled cuda error (error 1)")]
    [InlineData("", "was not over after 0.2 s: a rank hangs")]
    public void What_fails_is_told_and_ends_the_communicator(string function, string wanted)
    {
        if (function.Length > 0) StandInNccl.Failures[function] = 1;
        StandInDriver.Busy = true;    // no event completes
        using var tensor = ones(5);
        Assert.Contains(wanted, Assert.Throws<RanksException>(() =>
        {
            var nccl = Begin();
            nccl.AllReduce(tensor, ReduceOp.Sum, nccl.Mark(), patience);
        }).Message, StringComparison.Ordinal);
        Assert.Equal(function != "ncclCommInitRank", StandInNccl.Calls[^1] == "abort");
    }

    [Theory]
    [InlineData(2304, null, "NCCL of version code 2304: wanted 2400 (2.4) or newer")]
    [InlineData(22703, "ncclCommAbort", "a stand-in has no ncclCommAbort: wanted NCCL 2.4 or newer")]
    public void A_library_that_is_too_old_is_refused(int version, string? missing, string wanted)
    {
        StandInNccl.Version = version;
        if (missing is not null) StandInNccl.Missing.Add(missing);
        Assert.Contains(wanted, Assert.Throws<PlatformNotSupportedException>(StandInNccl.Open).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(2804, "NCCL 2.8.4 (a stand-in)")]
    [InlineData(21805, "NCCL 2.18.5 (a stand-in)")]
    public void Its_version_is_told_as_NVIDIA_writes_it(int version, string wanted)
    {
        StandInNccl.Version = version;
        Assert.Equal(wanted, StandInNccl.Open().Version);
    }

    [Fact]
    public void Ranks_average_gradients_by_it() => Mpirun.RunScenario(2, typeof(NcclScenarios), nameof(NcclScenarios.Averages_gradients));
}

/// <summary>The scenarios of each rank, which <see cref="Mpirun"/> runs.</summary>
public sealed class NcclScenarios
{
    [Fact(Explicit = true)]
    public void Averages_gradients()
    {
        using var outer = NewDisposeScope();
        var world = Ranks.World;
        world.Open(CPU, StandInNccl.Open(), StandInNccl.Stream());
        var wantedId = new byte[128];
        new Random(5).NextBytes(wantedId);
        Assert.Equal(wantedId, StandInNccl.Id);    // every rank has rank 0's id
        random.manual_seed(3);
        var model = Sequential(Linear(8, 300), ReLU(), Linear(300, 4));
        var x = randn(6 * world.Size, 8);
        model.call(x).square().mean().backward();
        var wanted = model.parameters().Select(parameter => parameter.grad!.clone()).ToArray();
        model.zero_grad();
        using var parallel = model.DataParallel(world, new() { BucketBytes = 4000 });
        for (var pass = 0; pass < 2; pass++)
        {
            model.zero_grad();
            StandInNccl.Calls.Clear();
            model.call(x.narrow(0, 6 * world.Rank, 6)).square().mean().backward();
            foreach (var (found, gradient) in model.parameters().Zip(wanted))
                Assert.True((found.grad! - gradient).norm().item<float>() < 1e-6 * gradient.norm().item<float>());
            // There are two large gradients, the biases together, and the message that ends a pass.
            Assert.Equal(["reduce 4 Float64 by 0", "reduce 304 Float32 by 0", "reduce 1200 Float32 by 0", "reduce 2400 Float32 by 0"],
                StandInNccl.Calls.Order(StringComparer.Ordinal).OrderBy(call => call.Length));
        }
        Assert.Empty(StandInDriver.Events);
    }
}
