using Actipress.Distributed;
using Actipress.Tests.Experiments;
using static TorchSharp.torch;

namespace Actipress.Tests.Distributed;

/// <summary>The collective operations of several ranks on this machine.</summary>
public sealed class RanksTests
{
    [Fact]
    public void A_process_that_was_started_alone_is_one_rank_of_one_and_needs_no_MPI()
    {
        Assert.Equal((0, 1, 0, 1, "none"),
            (Ranks.World.Rank, Ranks.World.Size, Ranks.World.LocalRank, Ranks.World.LocalSize, Ranks.World.Library));
        using var tensor = ones(3);
        Ranks.World.AllReduce(tensor, ReduceOp.Avg);
        Ranks.World.Broadcast(tensor);
        Ranks.World.Barrier();
        Assert.Equal([1f, 1f, 1f], tensor.data<float>().ToArray());
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void Ranks_reduce_and_broadcast_tensors_of_every_kind(int ranks) =>
        Mpirun.RunScenario(ranks, typeof(RanksScenarios), nameof(RanksScenarios.Reduces_and_broadcasts));

    [Fact]
    public void A_rank_that_computes_for_long_is_waited_for() =>
        Mpirun.RunScenario(2, typeof(RanksScenarios), nameof(RanksScenarios.Waits_for_a_busy_rank));

    [Fact]
    public void Ranks_that_MPICH_started_do_too() =>
        Mpirun.AllPass(4, Mpirun.Run(Mpirun.MpichCommand(4,
        Mpirun.Scenario(typeof(RanksScenarios), nameof(RanksScenarios.Reduces_and_broadcasts)))));

    // Under srun --pty a sole process has the user's own terminal.
    [Theory]
    [InlineData(true, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "1")]
    [InlineData(true, "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "2")]
    [InlineData(false, "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "1")]
    [InlineData(false, "", "", "")]
    public void A_launcher_s_terminal_is_told_from_the_user_s(bool isLaunchers, string sizeName, string rankName, string size) =>
        Assert.Equal(isLaunchers, Launch.HasTerminal(name => name == sizeName ? size : name == rankName ? "0" : null));

    [Theory]
    [InlineData("pmix", "openmpi")]
    [InlineData("pmi2", "mpich")]
    public void Ranks_that_Slurm_started_do_too(string interface_, string library)
    {
        // Slurm's plug-in on Debian loads the library by a name that only the development package installs.
        if (interface_ == "pmix" && !File.Exists("/usr/lib/x86_64-linux-gnu/pmix2/lib/libpmix.so")) Assert.Skip("No libpmix.so: on " +
            "Debian, apt-get install libpmix-dev.");
        using var node = SlurmNode.Start();
        string[] run = ["/usr/bin/srun", "--overcommit", "-n", "2", $"--mpi={interface_}", "--kill-on-bad-exit=1", "--export=ALL"];
        Mpirun.AllPass(2, Mpirun.Run([.. run, .. Mpirun.Scenario(typeof(RanksScenarios), nameof(RanksScenarios.Reduces_and_broadcasts))],
            [.. node.Environment, (RanksScenarios.Library, Installed(library))]));
    }

    [Theory]
    [InlineData("openmpi", "/usr/bin/mpiexec.mpich", "MPICH's mpiexec started 2 processes (PMI_SIZE), but Open MPI v")]
    [InlineData("mpich", "/usr/bin/mpirun.openmpi", "Open MPI's mpirun started 2 processes (OMPI_COMM_WORLD_SIZE), but MPICH ")]
    [InlineData("nothing", "/usr/bin/mpirun.openmpi", "no MPI library is here for them to talk with: found none of /no/libmpi.so")]
    [InlineData("libtorch", "/usr/bin/mpirun.openmpi", "has no MPI_Init_thread: wanted a library of MPI 3.0 or newer.")]
    public void Another_MPI_than_the_one_that_started_them_is_told(string library, string launcher, string wanted)
    {
        var ended = Mpirun.Run([launcher, "-n", "2", .. ChildProcess.Cli, "train"], (RanksScenarios.Library, Installed(library)));
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains(wanted, ended.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.Error, StringComparison.Ordinal);
    }

    static string Installed(string library)
    {
        if (library == "nothing") return "/no/libmpi.so";
        if (library == "libtorch") return Actipress.Autograd.LibTorch.Path;
        var file = $"/usr/lib/x86_64-linux-gnu/{(library == "mpich" ? "libmpich.so.12" : "libmpi.so.40")}";
        if (!File.Exists(file)) Assert.Skip($"No {file}: on Debian, apt-get " +
            $"install {(library == "mpich" ? "libmpich12" : "libopenmpi3")}.");
        return file;
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void What_differs_between_ranks_is_an_error_on_every_rank(int ranks) =>
        Mpirun.RunScenario(ranks, typeof(RanksScenarios), nameof(RanksScenarios.Tells_what_differs));

    [Fact]
    public void A_rank_that_does_not_come_is_named_on_every_other_and_all_end()
    {
        var folder = Directory.CreateTempSubdirectory("actipress-test");
        try
        {
            var ended = Mpirun.Run(4, Mpirun.Scenario(typeof(RanksScenarios), nameof(RanksScenarios.Names_who_is_missing)),
                (RanksScenarios.Folder, folder.FullName));
            Assert.True(ended.ExitCode == 1, ended.All);
            foreach (var rank in (int[])[0, 1, 3]) Assert.Contains("Waited 5 s for rank 2, which did not come",
                File.ReadAllText(Path.Combine(folder.FullName, $"{rank}")), StringComparison.Ordinal);
        }
        finally { folder.Delete(recursive: true); }
    }

    [Fact]
    public void A_null_reference_is_still_an_exception_beside_MPI() =>
        Mpirun.RunScenario(2, typeof(RanksScenarios), nameof(RanksScenarios.Catches_a_null_reference));
}

/// <summary>The scenarios of each rank, which <see cref="Mpirun"/> runs.</summary>
public sealed class RanksScenarios
{
    /// <summary>The variable that names the folder for the messages of the ranks.</summary>
    public const string Folder = "ACTIPRESS_TEST_FOLDER";

    /// <summary>The variable that names the MPI library.</summary>
    public const string Library = "ACTIPRESS_MPI";

    static Ranks World => Ranks.World;

    [Fact(Explicit = true)]
    public void Reduces_and_broadcasts()
    {
        Assert.True(World.Size > 1);
        Assert.Matches("^(Open MPI v|MPICH )[0-9.]+ [(].*libmpi", World.Library);
        Assert.Equal((World.Rank, World.Size), (World.LocalRank, World.LocalSize));
        var (sum, n) = (World.Size * (World.Size + 1) / 2, World.Size);
        foreach (var type in (ScalarType[])[float32, float64, float16, bfloat16, int8, uint8, int16, int32, int64])
        {
            foreach (var (operation, wanted) in (((ReduceOp, double)[])[(ReduceOp.Sum, sum), (ReduceOp.Min, 1), (ReduceOp.Max, n)]))
            {
                using var x = full([2, 3], World.Rank + 1, type);
                World.AllReduce(x, operation);
                Assert.Equal(Enumerable.Repeat(wanted, 6), Values(x));
            }
            using var y = full([5], World.Rank + 1, type);
            World.Broadcast(y, root: n - 1);
            Assert.Equal(Enumerable.Repeat((double)n, 5), Values(y));
        }
        using Tensor mean = full([], World.Rank + 1f), columns = arange(6f).view(2, 3).t(),
            flags = tensor(new[] { World.Rank == 0, true }), none = zeros(0);
        World.AllReduce(mean, ReduceOp.Avg);
        Assert.Equal((double)sum / n, Values(mean)[0], 6);
        World.AllReduce(columns);
        Assert.Equal(Array.ConvertAll((double[])[0, 3, 1, 4, 2, 5], value => value * n), Values(columns));
        World.Broadcast(flags);
        Assert.Equal([true, true], flags.data<bool>().ToArray());
        World.AllReduce(none);
        Assert.Throws<ArgumentException>(() => World.AllReduce(flags));
        Assert.Throws<ArgumentOutOfRangeException>(() => World.Broadcast(mean, n));

        // autograd notices that MPI has overwritten a saved tensor
        using var weight = nn.Parameter(full([3], World.Rank + 1f));
        using var loss = weight.mul(weight).sum();
        World.Broadcast(weight);
        Assert.Equal([1, 1, 1], Values(weight));
        Assert.Contains("modified by an inplace operation", Assert.ThrowsAny<Exception>(() => loss.backward()).Message,
            StringComparison.Ordinal);
        World.Barrier();
    }

    static double[] Values(Tensor x)
    {
        using Tensor whole = x.detach().to(float64).contiguous();
        return whole.data<double>().ToArray();
    }

    // Longer than the grace that ends a rank.
    [Fact(Explicit = true)]
    public void Waits_for_a_busy_rank()
    {
        World.Barrier();
        if (World.Rank == 0) Thread.Sleep(TimeSpan.FromSeconds(12));
        World.Barrier();
    }

    [Fact(Explicit = true)]
    public void Tells_what_differs()
    {
        var last = World.Size - 1;
        var odd = World.Rank == last;
        using Tensor three = ones(3), four = ones(4);
        Differs(() => World.AllReduce(odd ? four : three), "rank 0 has AllReduce Sum of Float32 [3]",
            $"rank {last} has AllReduce Sum of Float32 [4]");
        Differs(() => World.AllReduce(three, odd ? ReduceOp.Max : ReduceOp.Sum), "AllReduce Sum", "AllReduce Max");
        Differs(odd ? World.Barrier : () => World.Broadcast(three), "Broadcast of rank 0's Float32 [3]", $"rank {last} has Barrier");
        Differs(odd ? () => World.Broadcast(three, last) : () => World.Broadcast(three), "rank 0's", $"rank {last}'s");
        var many = string.Join('\n', Enumerable.Range(0, 1000).Select(line => $"line {line}"));
        World.Agree(many);
        Differs(() => World.Agree(odd ? many + "\nmore" : many), "Ranks differ in line 0", "rank 0 has nothing more",
            $"rank {last} has more");
        Differs(() => World.Agree(odd ? many.Replace("line 999", "another", StringComparison.Ordinal) : many), "rank 0 has line 999",
            $"rank {last} has another");
        World.AllReduce(three);    // the ranks continue together
        Assert.Equal(World.Size, three[0].item<float>());

        void Differs(Action act, params string[] parts)
        {
            var message = Assert.Throws<RanksException>(act).Message;
            foreach (var part in parts) Assert.Contains(part, message, StringComparison.Ordinal);
        }
    }

    [Fact(Explicit = true)]
    public void Names_who_is_missing()
    {
        World.Barrier();    // after this the ranks are together, however slowly they started
        World.Timeout = TimeSpan.FromSeconds(5);
        if (World.Rank == 2) Thread.Sleep(System.Threading.Timeout.Infinite);    // mpirun ends it
        var message = Assert.Throws<RanksException>(World.Barrier).Message;
        Assert.Contains("Ranks cannot talk any more", Assert.Throws<RanksException>(World.Barrier).Message, StringComparison.Ordinal);
        // The first rank that ends would end all ranks. So each rank writes its message, and waits for those of the others.
        var folder = Environment.GetEnvironmentVariable(Folder)!;
        File.WriteAllText(Path.Combine(folder, $"{World.Rank}"), message);
        Assert.True(SpinWait.SpinUntil(() => Directory.GetFiles(folder).Length == 3, TimeSpan.FromMinutes(1)));
    }

    [Fact(Explicit = true)]
    public void Catches_a_null_reference()
    {
        World.Barrier();
        string? nothing = World.Size > 0 ? null : "";
        Assert.Throws<NullReferenceException>(() => nothing!.Length);
        World.Barrier();
    }
}
