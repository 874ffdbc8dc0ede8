using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Actipress.Experiments;
using Actipress.Tests.Distributed;

namespace Actipress.Tests.Cli;

/// <summary>The command <c>sweep</c>, started as a user starts it.</summary>
public sealed class SweepCommandTests : IDisposable
{
    // The name is one that a script must quote.
    readonly string folder =
        Directory.CreateDirectory(Path.Combine(Directory.CreateTempSubdirectory("actipress-test").FullName, "it's one")).FullName;

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);

    const string Small = """
        {"model":"lenet","data":"digits","train_examples":128,"test_examples":50,"epochs":1,"batch":64,
         "layers":["conv2"],"codecs":["none","dct:{ratio}"],"ratios":[4,10]}
        """;

    Sweep Make(string config = Small)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        return new(folder);
    }

    string State => Path.Combine(folder, "state");

    ChildProcess.Ended Run(params string[] arguments) => ChildProcess.Run([.. ChildProcess.Cli, "sweep", folder, .. arguments]);

    [Fact]
    public void List_says_what_is_done_and_trains_nothing()
    {
        var sweep = Make();
        sweep.Train(sweep.Plans[1], null, null, TestContext.Current.CancellationToken);
        var before = File.ReadAllText(sweep.Results.Path);
        var ended = Run("--list");
        Assert.True(ended.ExitCode == 0, ended.All);
        string[] wanted =
        [
            $"      {sweep.Plans[0].Key()}  all  none  seed 1", $"done  {sweep.Plans[1].Key()}  conv2  dct:4  seed 1",
            $"      {sweep.Plans[2].Key()}  conv2  dct:10  seed 1", "1 of 3 done.", "",
        ];
        Assert.Equal(wanted, ended.Output.Split('\n'));
        Assert.Equal(before, File.ReadAllText(sweep.Results.Path));
    }

    [Fact]
    public void Only_trains_the_run_of_that_key()
    {
        var sweep = Make();
        var ended = Run("--only", sweep.Plans[2].Key());
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Contains("epoch 1", ended.Error, StringComparison.Ordinal);
        Assert.Equal(sweep.Plans[2].Key(), Assert.Single(sweep.Done()).Key);
        Assert.Equal(0, Run("--only", sweep.Plans[2].Key()).ExitCode);    // the training is done
        Assert.Single(File.ReadAllLines(sweep.Results.Path));

        var unknown = Run("--only", "0123456789ab");
        Assert.Equal(2, unknown.ExitCode);
        Assert.Contains("No run 0123456789ab in", unknown.Error, StringComparison.Ordinal);
        Assert.Contains("Make another with --slurm", unknown.Error, StringComparison.Ordinal);
    }

    // A folder stands where the run's state would be written.
    static void Block(string state, TrainingPlan plan) => Directory.CreateDirectory(Path.Combine(state, plan.Key() + ".state.part"));

    [Theory]
    [InlineData("--workers", "2")]
    [InlineData("--workers", "1")]
    public void A_run_that_fails_is_told_and_the_exit_code_is_2(params string[] arguments)
    {
        var sweep = Make(Small.Replace("\"epochs\":1", "\"epochs\":2", StringComparison.Ordinal));
        Block(State, sweep.Plans[1]);
        var ended = Run([.. arguments, "--json"]);
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains(
            $"conv2 dct:4 seed 1: Access to the path '{Path.Combine(State, sweep.Plans[1].Key())}.state.part' is denied", ended.Error,
            StringComparison.Ordinal);
        Assert.Equal(2, JsonDocument.Parse(ended.Output).RootElement.GetProperty("done").GetInt32());
        Assert.Equal(sweep.Plans[1].Key(), Assert.Single(sweep.Remaining()).Key());
        var only = Run("--only", sweep.Plans[1].Key());
        Assert.True(only.ExitCode == 2, only.All);
        Assert.Contains("is denied", only.Error, StringComparison.Ordinal);

        Directory.Delete(Path.Combine(State, sweep.Plans[1].Key() + ".state.part"));
        var again = Run("--json");
        Assert.True(again.ExitCode == 0, again.All);
        Assert.Contains("2 of 3 runs are done", again.Error, StringComparison.Ordinal);
        Assert.Contains("3 of 3  conv2 dct:4 seed 1", again.Error, StringComparison.Ordinal);
        Assert.Equal(3, JsonDocument.Parse(again.Output).RootElement.GetProperty("done").GetInt32());
    }

    [Fact]
    public void A_worker_that_crashes_is_told_and_the_exit_code_is_2()
    {
        var sweep = Make(Small.Replace("128", "4096", StringComparison.Ordinal));
        using var process = ChildProcess.Start([.. ChildProcess.Cli, "sweep", folder, "--workers", "1"]);
        var claimed =
            SpinWait.SpinUntil(() => Directory.Exists(State) && Directory.GetFiles(State, "*.claim").Length > 0, TimeSpan.FromMinutes(2));
        if (!claimed) process.Kill(entireProcessTree: true);
        Assert.True(claimed, "No worker has begun.");
        using (var worker = Process.GetProcessById(Assert.Single(Children(process.Id)))) worker.Kill();
        var ended = ChildProcess.Wait(process);
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains("A worker ended with exit code 137", ended.Error, StringComparison.Ordinal);
        Assert.Equal(3, sweep.Remaining().Count);
    }

    static int[] Children(int process) =>
        [.. Directory.GetDirectories($"/proc/{process}/task")
            .SelectMany(task => File.ReadAllText(Path.Combine(task, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(id => int.Parse(id, CultureInfo.InvariantCulture))];

    // A script in place of Slurm's sbatch. It stores its arguments and its standard input, and prints the given answer.
    string[] Sbatch(string answer)
    {
        var path = Path.Combine(Directory.CreateDirectory(Path.Combine(folder, "bin")).FullName, "sbatch");
        File.WriteAllText(path, "#!/bin/sh\nn=$(ls \"$KEPT\" | grep -c script)\nprintf '%s\\n' \"$@\" >\"$KEPT/arguments$n\"\ncat "
            + $">\"$KEPT/script$n\"\n{answer}\n");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
        return [
            "env", $"PATH={Path.GetDirectoryName(path)}:{Environment.GetEnvironmentVariable("PATH")}",
            $"KEPT={Directory.CreateDirectory(Path.Combine(folder, "kept")).FullName}", .. ChildProcess.Cli, "sweep", folder, "--slurm",
        ];
    }

    string Kept(string name) => File.ReadAllText(Path.Combine(folder, "kept", name));

    [Fact]
    public void Slurm_gets_a_job_array_of_what_is_not_done()
    {
        var sweep = Make();
        sweep.Train(sweep.Plans[0], null, null, TestContext.Current.CancellationToken);
        var ended = ChildProcess.Run(
            [.. Sbatch("echo '4711;cluster'"), "--threads", "2", "--slurm-option=--time=1:00:00", "--slurm-option=--partition=small"]);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Contains("Job array 4711: 2 runs", ended.Output, StringComparison.Ordinal);
        Assert.Equal("--parsable\n--time=1:00:00\n--partition=small\n", Kept("arguments0"));
        var script = Kept("script0");
        foreach (var line in (string[])[
            "#SBATCH --job-name=actipress-it's one", "#SBATCH --array=0-1", "#SBATCH --cpus-per-task=2",
            $"#SBATCH --output={State}/slurm-%A-%a.log", "#SBATCH --signal=TERM@60", "#SBATCH --requeue",
            $"runs=({sweep.Plans[1].Key()} {sweep.Plans[2].Key()})",
        ])
            Assert.Contains($"\n{line}\n", script, StringComparison.Ordinal);
        Assert.True(Directory.Exists(State));

        // The script runs as on a node.
        var task = ChildProcess.Run(["bash", Path.Combine(folder, "kept", "script0")], null, ("SLURM_ARRAY_TASK_ID", "1"));
        Assert.True(task.ExitCode == 0, task.All);
        Assert.Equal([sweep.Plans[0].Key(), sweep.Plans[2].Key()], sweep.Done().Select(run => run.Key));
        Assert.Equal(2, sweep.Done()[1].Threads);

        sweep.Train(sweep.Plans[1], null, null, TestContext.Current.CancellationToken);
        var done = ChildProcess.Run(Sbatch("echo 1"));
        Assert.True(done.ExitCode == 0, done.All);
        Assert.Equal("Everything is done.\n", done.Output);
        Assert.Single(Directory.GetFiles(Path.Combine(folder, "kept"), "script*"));
    }

    [Fact]
    public void Slurm_starts_the_ranks_that_do_a_training_together()
    {
        Make();
        var ended = ChildProcess.Run([.. Sbatch("echo 5"), "--ranks", "2", "--threads", "3", "--mpi", "pmi2"]);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Contains("\n#SBATCH --ntasks=2\n#SBATCH --cpus-per-task=3\n", Kept("script0"), StringComparison.Ordinal);
        Assert.Contains("\nexec srun --mpi='pmi2' --cpus-per-task=3 --kill-on-bad-exit=1 '", Kept("script0"), StringComparison.Ordinal);
        var uneven = ChildProcess.Run([.. Sbatch("echo 5"), "--ranks", "7"]);
        Assert.Equal(2, uneven.ExitCode);
        Assert.Contains("does not divide among 7 ranks", uneven.Error, StringComparison.Ordinal);
        var here = Run("--ranks", "2");
        Assert.Equal(2, here.ExitCode);
        Assert.Contains("mpirun -n 2 ./actipress sweep", here.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Ranks_do_each_training_together_once()
    {
        var sweep = Make();
        sweep.Train(sweep.Plans[0], null, null, TestContext.Current.CancellationToken);
        var alone = sweep.Done()[0].Result;
        var ended = Mpirun.Run(2, [.. ChildProcess.Cli, "sweep", folder]);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Equal(3, sweep.Done().Count);
        Assert.Equal(2, ended.Error.Split("epoch 1 of 1").Length - 1);    // rank 0 tells of two trainings
        Assert.All(["by 2 ranks:", sweep.Plans[1].Repetition()], part => Assert.Contains(part, ended.Error, StringComparison.Ordinal));
        Assert.Contains("3 of 3 runs", ended.Output, StringComparison.Ordinal);
        Assert.Equal([null, 2, 2], sweep.Done().Select(run => run.Provenance.Ranks));
        Assert.Empty(Directory.GetFiles(State));
        Assert.Equal(0, Mpirun.Run(2, [.. ChildProcess.Cli, "sweep", folder]).ExitCode);
        Assert.Equal(3, File.ReadAllLines(sweep.Results.Path).Length);

        ended = Mpirun.Run(2, [.. ChildProcess.Cli, "sweep", folder, "--workers", "2"]);
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains("--workers among 2 ranks", ended.Error, StringComparison.Ordinal);

        // The same plain training by two ranks.
        File.Delete(sweep.Results.Path);
        ended = Mpirun.Run(2, [.. ChildProcess.Cli, "sweep", folder, "--only", sweep.Plans[0].Key()]);
        Assert.True(ended.ExitCode == 0, ended.All);
        var together = Assert.Single(sweep.Done()).Result;
        Assert.InRange(together.TrainLoss / alone.TrainLoss, 0.95, 1.05);    // each rank draws its own dropout
    }

    [Fact]
    public void More_runs_than_an_array_may_have_become_several_arrays()
    {
        var sweep = Make(Small.Replace(
            "\"ratios\":[4,10]", $"\"seeds\":[{string.Join(',', Enumerable.Range(1, 1001))}]", StringComparison.Ordinal));
        Assert.Equal(1001, sweep.Plans.Count);
        var ended = ChildProcess.Run(Sbatch("echo 1$n"));
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Contains("Job array 10, 11: 1001 runs", ended.Output, StringComparison.Ordinal);
        Assert.Contains("--array=0-999\n", Kept("script0"), StringComparison.Ordinal);
        Assert.Contains($"--array=0-0\n", Kept("script1"), StringComparison.Ordinal);
        Assert.Contains($"runs=({sweep.Plans[^1].Key()})\n", Kept("script1"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("echo invalid partition >&2; exit 1", "Slurm refuses the job array: invalid partition")]
    [InlineData("echo 12; echo but not really >&2; exit 1", "Slurm refuses the job array: but not really 12")]
    [InlineData("echo soon", "Slurm refuses the job array:  soon")]
    public void What_Slurm_refuses_is_told(string answer, string says)
    {
        Make();
        var ended = ChildProcess.Run(Sbatch(answer));
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains(says, ended.Error, StringComparison.Ordinal);
        Assert.Equal("", ended.Output);
    }
}
