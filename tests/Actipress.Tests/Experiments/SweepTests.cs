using System.Diagnostics;
using System.Security.Cryptography;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class SweepTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;
    readonly int threads = get_num_threads();

    public SweepTests() => set_num_threads(1);

    public void Dispose()
    {
        set_num_threads(threads);
        Directory.Delete(folder, recursive: true);
    }

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    string State => Path.Combine(folder, "state");

    // Each training takes a second or less.
    const string Small = """
        {
          "model": "lenet", "data": "digits", "train_examples": 256, "test_examples": 100, "epochs": 2, "batch": 64,
          "seeds": [1, 2],
          "layers": ["conv2", "all"],
          "codecs": ["none", "dct:{ratio}"],
          "ratios": [4],    // the paper's lambda
        }
        """;

    Sweep Make(string config = Small)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        return new(folder);
    }

    [Fact]
    public void A_configuration_is_every_training_once()
    {
        var plans = Make().Plans;
        Assert.Equal(
            ["all none 1", "all none 2", "conv2 dct:4 1", "conv2 dct:4 2", "all dct:4 1", "all dct:4 2"],
            plans.Select(plan => $"{plan.Layers} {plan.Codec} {plan.Seed}"));
        Assert.All(
            plans, plan => Assert.Equal((256, 2, 64, 1e-3), (plan.TrainExamples!.Value, plan.Epochs, plan.Batch, plan.LearningRate)));
        Assert.Equal(6, plans.Select(plan => plan.Key()).Distinct().Count());
    }

    [Fact]
    public void A_key_depends_on_the_plan_alone() =>
        // The key finds stored results, so a change here orphans them.
        Assert.Equal("63942e", new TrainingPlan { Model = "lenet", Data = "mnist" }.Key()[..6]);

    [Theory]
    [InlineData("\"epochs\"", "\"epoch\"", "it has no setting 'epoch'. Did you mean 'epochs'? Known: model, data, epochs, ")]
    [InlineData("\"epochs\"", "\"spam\"", "it has no setting 'spam'. Known: ")]
    [InlineData("\"epochs\": 2", "\"epochs\": \"two\"", "'epochs' in line 2: found \"two\", wanted a whole number.")]
    [InlineData("\"batch\": 64", "\"schedule\": \"linear\"", "found \"linear\", wanted \"constant\" or \"cosine\".")]
    [InlineData("\"batch\": 64", "\"learning_rate\": []", "found [], wanted a number.")]
    [InlineData("[4]", "4", "'ratios' in line 6: found 4, wanted a list of numbers.")]
    [InlineData("[1, 2]", "[1, \"2\"]", "found [1, \"2\"], wanted a list of whole numbers.")]
    [InlineData("\"model\": \"lenet\",", "", "it has no 'model', wanted a text.")]
    [InlineData("\"codecs\": [\"none\", \"dct:{ratio}\"],", "", "it has no 'codecs', wanted a list of texts.")]
    [InlineData("dct:{ratio}", "dtc:{ratio}", "No codec 'dtc:4'")]
    [InlineData("\"lenet\"", "\"lenett\"", "No network 'lenett'")]
    [InlineData("\"batch\": 64", "\"folds\": 1", "folds 1: wanted 2 or more.")]
    [InlineData("\"batch\": 64", "\"folds\": 5", "fold 1/5: lenet learns from images, whose test set is given.")]
    [InlineData("\"digits\"", "\"digit\"", "No data set 'digit'")]
    [InlineData("\"conv2\"", "\"conv7\"", "No layer matches 'conv7'")]
    [InlineData("\"conv2\"", "\"block7\"", "block0 to block3")]
    [InlineData("\"batch\": 64", "\"batch\": 0", "batch 0")]
    [InlineData("\"test_examples\": 100", "\"test_examples\": 0", "test_examples 0")]
    [InlineData("\"train_examples\": 256", "\"train_examples\": 0", "train_examples 0")]
    [InlineData("\"epochs\": 2", "\"epochs\": 0", "epochs 0")]
    [InlineData("\"batch\": 64", "\"learning_rate\": 0", "learning_rate 0")]
    [InlineData("\"batch\": 64", "\"features\": 0", "features 0")]
    [InlineData(
        "\"batch\": 64", "\"loss\": \"dice\"", "loss Dice: lenet classifies images and minimises their cross-entropy. Leave the loss out")]
    [InlineData("[1, 2]", "[]", "No runs")]
    [InlineData("[1, 2]", "[1, 2", "config.json")]
    [InlineData("[1, 2]", "null", "'seeds'")]
    [InlineData("[\"conv2\", \"all\"]", "[null]", "Found null among codecs or layers")]
    [InlineData("[\"none\", \"dct:{ratio}\"]", "[\"none\", null]", "Found null among codecs or layers")]
    [InlineData("\"batch\": 64", "\"learning_rate\": \"Infinity\"", "learning_rate Infinity: wanted a number above 0")]
    public void A_wrong_configuration_is_refused_before_anything_is_trained(string found, string replaced, string says)
    {
        var failure = Assert.ThrowsAny<Exception>(() => Make(Small.Replace(found, replaced, StringComparison.Ordinal)));
        Assert.True(failure is ArgumentException or FormatException or InvalidDataException, failure.ToString());
        Assert.Contains(says, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_done_is_skipped_and_seeds_become_means_and_standard_errors()
    {
        var sweep = Make();
        sweep.Work(null, null, Cancellation);
        Assert.Empty(sweep.Remaining());
        var before = File.ReadAllText(sweep.Results.Path);
        new Sweep(folder).Work(null, null, Cancellation);
        Assert.Equal(before, File.ReadAllText(sweep.Results.Path));
        Assert.Empty(Directory.GetFiles(State));

        var (done, summary) = (sweep.Done(), SweepSummary.Of(sweep));
        Assert.Equal((6, 6), (summary.Runs, summary.Done));
        double[] plain = [Score("none", 1), Score("none", 2)], packed = [Score("dct:4", 1), Score("dct:4", 2)];
        var row = summary.Rows.Single(row => row is { Codec: "dct:4", Layers: "all" });
        Assert.Equal(packed.Average(), row.TestAccuracy!.Value, 1e-12);
        // the standard error of two values is half their distance
        Assert.Equal(Math.Abs(packed[0] - packed[1]) / 2, row.StandardError!.Value, 1e-12);
        Assert.Equal(packed.Average() - plain.Average(), row.Difference!.Value, 1e-12);
        Assert.InRange(row.KeptPercent!.Value, 1, 15);

        double Score(string codec, int seed) =>
            done.Single(run => run.Plan.Layers == "all" && run.Plan.Codec == codec && run.Plan.Seed == seed).Result.TestScore;
    }

    [Fact]
    public void Lines_of_other_kinds_and_runs_that_lack_something_are_not_done()
    {
        var sweep = Make();
        var (whole, lacking, another) = (sweep.Plans[0], sweep.Plans[1], sweep.Plans[2]);
        var result = new RunResult(0.5, null, 0.5, null, 1, 1, null, null);
        var run = new SweepRun("run", whole.Key(), whole, result, [], 1, 1, new("EPYC", 2, "a", "1", "10", default));
        sweep.Results.Add(5);
        sweep.Results.Add(new { Key = 5 });
        sweep.Results.Add(run with { Key = lacking.Key(), Result = null! });
        sweep.Results.Add(run with { Key = lacking.Key(), Provenance = null! });
        sweep.Results.Add(run with { Key = lacking.Key(), Curve = null! });
        sweep.Results.Add(run);
        sweep.Results.Add(run with { Key = another.Key() });    // the key identifies the training, whatever plan the line has
        Assert.Equal([whole, another], sweep.Done().Select(done => done.Plan));
        Assert.Equal(2, SweepSummary.Of(sweep).Done);
        sweep.Train(whole, null, null, Cancellation);
        Assert.Equal(2, sweep.Done().Count);
    }

    [Fact]
    public void One_that_fails_or_is_taken_leaves_the_others_alone()
    {
        var sweep = Make();
        var (taken, failing, damaged) = (sweep.Plans[1].Key(), sweep.Plans[2].Key(), sweep.Plans[3].Key());
        Directory.CreateDirectory(Path.Combine(State, failing + ".state.part"));    // this is where its state would be written
        File.WriteAllText(Path.Combine(State, damaged + ".state"), "damaged");
        var told = new List<SweepProgress>();
        using (new FileStream(Path.Combine(State, taken + ".claim"), FileMode.Create, FileAccess.ReadWrite, FileShare.None))
            sweep.Work(null, new Told(told), Cancellation);
        Assert.Equal([taken, failing], sweep.Remaining().Select(plan => plan.Key()));
        Assert.Contains("begins anew", Assert.Single(told, one => one.Notice is not null && !one.Failed).Notice, StringComparison.Ordinal);
        Assert.Equal(failing, Assert.Single(told, one => one.Failed).Plan.Key());

        Directory.Delete(Path.Combine(State, failing + ".state.part"));
        sweep.Work(null, null, Cancellation);
        Assert.Empty(sweep.Remaining());
    }

    [Fact]
    public void A_run_whose_state_breaks_off_begins_anew_as_if_there_were_none()
    {
        var sweep = Make();
        var plan = sweep.Plans[0];
        var data = KnownData.Load(plan, null);
        var state = new TrainingState(Path.Combine(State, plan.Key() + ".state"), plan) { Examples = data.Fingerprint() };
        using (var trained = new Learner(plan, data))
        {
            trained.Epoch(null, () => { }, Cancellation);
            state.Save(trained);
        }
        // The file is cut within the parameters. They follow the first epoch, which is reported before they are read.
        var content = File.ReadAllBytes(state.Path)[..50_000];
        File.WriteAllBytes(state.Path, [.. content, .. SHA256.HashData(content)]);
        var told = new List<SweepProgress>();
        sweep.Train(plan, null, new Told(told), Cancellation);
        Assert.Contains(
            "no whole state of a training", Assert.Single(told, one => one.Notice is not null).Notice, StringComparison.Ordinal);
        using var fresh = new Learner(plan, KnownData.Load(plan, null));
        while (fresh.Epochs < plan.Epochs) fresh.Epoch(null, () => { }, Cancellation);
        Assert.Equal(fresh.Curve, Assert.Single(sweep.Done()).Curve);
    }

    [Fact]
    public void A_run_whose_state_is_of_other_examples_begins_anew()
    {
        var sweep = Make();
        var plan = sweep.Plans[0];
        var state = new TrainingState(Path.Combine(State, plan.Key() + ".state"), plan) { Examples = "others" };
        using (var trained = new Learner(plan, KnownData.Load(plan, null))) state.Save(trained);
        var told = new List<SweepProgress>();
        sweep.Train(plan, null, new Told(told), Cancellation);
        Assert.Contains("on other examples", Assert.Single(told, one => one.Notice is not null).Notice, StringComparison.Ordinal);
        Assert.Single(sweep.Done());
    }

    sealed class Told(List<SweepProgress> told) : IProgress<SweepProgress>
    {
        public void Report(SweepProgress value) => told.Add(value);
    }

    [Fact]
    public void Two_workers_never_train_the_same()
    {
        var sweep = Make();
        var plan = sweep.Plans[0];
        var (first, second) = (new List<SweepProgress>(), new List<SweepProgress>());
        sweep.Train(plan, null, new Doing(told =>
        {
            first.Add(told);
            // Another worker, a Sweep on the same folder, starts while this one trains.
            if (first.Count == 1) new Sweep(folder).Train(plan, null, new Told(second), Cancellation);
        }), Cancellation);
        Assert.Empty(second);
        Assert.Null(first[^1].At);
        Assert.Single(File.ReadAllLines(sweep.Results.Path));
        new Sweep(folder).Train(plan, null, new Told(second), Cancellation);    // a training that is done is not trained again either
        Assert.Empty(second);
    }

    sealed class Doing(Action<SweepProgress> tell) : IProgress<SweepProgress>
    {
        public void Report(SweepProgress value) => tell(value);
    }

    [Fact]
    public void What_was_begun_is_gone_on_with_at_the_next_step()
    {
        var sweep = Make();
        using var stop = new CancellationTokenSource();
        var steps = 0;
        // an epoch reports four steps and a score
        sweep.Train(sweep.Plans[2], null, new Doing(_ => { if (++steps == 7) stop.Cancel(); }), stop.Token);
        Assert.Equal(6, sweep.Remaining().Count);
        Assert.Single(Directory.GetFiles(State, "*.state"));
        var told = new List<SweepProgress>();
        sweep.Train(sweep.Plans[2], null, new Told(told), Cancellation);
        Assert.Equal((2, 3), (told[0].At!.Epoch, told[0].At!.Step));
        Assert.Equal(5, sweep.Remaining().Count);
        Assert.Empty(Directory.GetFiles(State));
    }

    // The training is so long that no machine finishes it before it is killed, and short enough to be finished.
    static readonly string longer = Small.Replace("256", "1536", StringComparison.Ordinal)
        .Replace("[1, 2]", "[1]", StringComparison.Ordinal).Replace("\"epochs\": 2", "\"epochs\": 4", StringComparison.Ordinal);

    [Fact]
    public void Killed_at_any_moment_nothing_is_lost_and_nothing_done_twice()
    {
        var sweep = Make(longer);
        // Only the process that started the workers is killed. The workers save their states and end.
        using (var process = ChildProcess.Start([.. ChildProcess.Cli, "sweep", folder, "--workers", "2"]))
        {
            WaitUntil(() => States().Length > 0, "No worker has saved a state.");
            process.Kill();
            process.WaitForExit();
        }
        WaitUntil(NobodyWorks, "Workers live on without the process that started them.");
        Assert.NotEmpty(States());
        Assert.NotEmpty(sweep.Remaining());
        // All processes are killed at once.
        var (before, saved) = (sweep.Done(), States().Select(File.GetLastWriteTimeUtc).Max());
        using (var process = ChildProcess.Start([.. ChildProcess.Cli, "sweep", folder, "--workers", "2"]))
        {
            WaitUntil(() => !NobodyWorks() && States().Any(path => File.GetLastWriteTimeUtc(path) > saved), "No worker has gone on.");
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
        }
        WaitUntil(NobodyWorks, "Workers live on.");
        Assert.NotEmpty(States());
        Assert.NotEmpty(sweep.Remaining());
        Assert.Equal(before.Select(run => run.Key), sweep.Done().Take(before.Count).Select(run => run.Key));

        File.AppendAllText(sweep.Results.Path, "{\"kind\":\"run\",\"key\":\"brok");
        before = sweep.Done();
        var resumed = States().Select(path => Path.GetFileNameWithoutExtension(path)).Except(before.Select(run => run.Key)).ToArray();
        var ended = ChildProcess.Run([.. ChildProcess.Cli, "sweep", folder, "--json"]);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Contains("in the middle of a line", ended.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("begins anew", ended.Error, StringComparison.Ordinal);
        Assert.Contains("\"done\": 3", ended.Output, StringComparison.Ordinal);
        var lines = File.ReadAllLines(sweep.Results.Path).Select(line => Json.Read<SweepRun>(line)!).ToArray();
        Assert.Equal(sweep.Plans.Select(plan => plan.Key()).Order(), lines.Select(run => run.Key).Order());
        Assert.Equal(before.Select(run => run.Key), lines.Take(before.Count).Select(run => run.Key));
        Assert.Empty(States());

        // A training that was continued ends as if it had never been killed.
        var plan = sweep.Plans.First(plan => resumed.Contains(plan.Key()));
        using var whole = new Learner(plan, KnownData.Load(plan, null));
        while (whole.Epochs < plan.Epochs) whole.Epoch(null, null, Cancellation);
        Assert.Equal(whole.Curve, lines.Single(run => run.Key == plan.Key()).Curve);

        string[] States() => Directory.Exists(State) ? Directory.GetFiles(State, "*.state") : [];
    }

    static void WaitUntil(Func<bool> happens, string otherwise)
    {
        for (var waited = Stopwatch.StartNew(); !happens(); Thread.Sleep(50))
            Assert.True(waited.Elapsed < TimeSpan.FromMinutes(1), otherwise);
    }

    bool NobodyWorks() => !Directory.Exists(State) || Directory.GetFiles(State, "*.claim").All(path =>
    {
        try
        {
            using var claim = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return true;
        }
        catch (FileNotFoundException) { return true; }    // its training was done meanwhile
        catch (IOException) { return false; }
    });

    [Theory]
    [InlineData(1)]
    [InlineData(2)]    // each training by two ranks
    public void Slurm_does_what_is_not_done(int ranks)
    {
        const string Mpich = "/usr/lib/x86_64-linux-gnu/libmpich.so.12";
        if (ranks > 1 && !File.Exists(Mpich)) Assert.Skip($"No {Mpich}: on Debian, apt-get install libmpich12.");
        using var slurm = SlurmNode.Start();
        var sweep = Make();
        sweep.Train(sweep.Plans[0], null, null, Cancellation);
        var submitted = ChildProcess.Run(
            [.. ChildProcess.Cli, "sweep", folder, "--slurm", "--ranks", $"{ranks}", "--mpi", "pmi2"], null, slurm.Environment);
        Assert.True(submitted.ExitCode == 0, submitted.All);
        Assert.Contains("5 runs", submitted.Output, StringComparison.Ordinal);
        for (var waited = Stopwatch.StartNew(); sweep.Remaining().Count > 0; Thread.Sleep(200))
            Assert.True(waited.Elapsed < TimeSpan.FromMinutes(3), $"{sweep.Remaining().Count} runs are "
                + $"left.\n{slurm.Log()}\n{string.Join('\n', Directory.GetFiles(State, "*.log").Select(File.ReadAllText))}");
        Assert.Equal(6, File.ReadAllLines(sweep.Results.Path).Length);
        Assert.Equal(5, Directory.GetFiles(State, "slurm-*.log").Length);
        Assert.Contains(
            "Everything is done", ChildProcess.Run([.. ChildProcess.Cli, "sweep", folder, "--slurm"], null, slurm.Environment).Output,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Without_Slurm_the_way_out_is_said()
    {
        Make();
        var ended =
            ChildProcess.Run([.. ChildProcess.Cli, "sweep", folder, "--slurm"], null, ("PATH", "/nowhere"), ("SLURM_CONF", "/nowhere"));
        Assert.Equal(2, ended.ExitCode);
        Assert.Contains("No sbatch here", ended.Error, StringComparison.Ordinal);
    }
}
