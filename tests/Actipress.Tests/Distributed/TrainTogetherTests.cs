using System.Diagnostics;
using System.Text.Json;

namespace Actipress.Tests.Distributed;

/// <summary><c>mpirun ./actipress train</c>: one training by several processes.</summary>
public sealed class TrainTogetherTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    string In(string name) => Path.Combine(folder, name);

    // There are 90 examples in batches of 20, so the last batch of an epoch is not divisible by 4 ranks.
    static string[] Train(string output, params string[] more)
    {
        return
        [
            .. ChildProcess.Cli, "train", "--batch", "20", "--test-examples", "40", "--seed", "3", "--schedule", "cosine", "--json",
            "--out", output, .. Unless("--model", "lenet"), .. Unless("--epochs", "4"), .. Unless("--train-examples", "90"), .. more,
        ];

        string[] Unless(string option, string usual) => more.Contains(option) ? [] : [option, usual];
    }

    static string[] Lines(string output, string kind) =>
        File.Exists(Path.Combine(output, "results.jsonl"))
            ? [.. File.ReadAllLines(Path.Combine(output, "results.jsonl")).Where(line => line.StartsWith($"{{\"kind\":\"{kind}\"",
            StringComparison.Ordinal))] : [];

    // The results of a training without times, the allocator's levels and the machine.
    static string[] Outcome(ChildProcess.Ended ended)
    {
        Assert.True(ended.ExitCode == 0, ended.All);
        var result = JsonDocument.Parse(ended.Output).RootElement;
        return [.. ((string[])["baseline", "compressed"]).SelectMany(Of)];

        IEnumerable<string> Of(string run) => result.GetProperty(run).EnumerateObject().Where(Lasts).Select(one => $"{run} {one}");

        static bool Lasts(JsonProperty one) => one.Name is not ("step_ms" or "after_forward_bytes" or "peak_bytes");
    }

    void WaitForEpochs(Process training, string output, int epochs) =>
        Assert.True(SpinWait.SpinUntil(() => training.HasExited || Lines(In(output), "epoch").Length >= epochs, TimeSpan.FromMinutes(3)),
            "No epoch was done.");

    [Fact]
    public void Ranks_write_one_log_and_one_result()
    {
        var ended = Mpirun.Run(4, Train(In("out")));
        Assert.Equal(11, Outcome(ended).Length);    // the output is one JSON document
        Assert.Equal(8, Lines(In("out"), "epoch").Length);
        Assert.Single(Lines(In("out"), "train"));
        Assert.Equal(8, ended.Error.Split("epoch ").Length - 1);
        Assert.Contains("4 ranks by Open MPI", ended.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(In("out/training.state")));
    }

    // The last batch has two examples, so that of four ranks two have none.
    [Theory]
    [InlineData(2, 40)]
    [InlineData(4, 22)]
    public void With_synchronised_batch_norms_ranks_learn_as_one_process_does(int ranks, int examples)
    {
        string[] more =
        [
            "--model", "unet2d", "--features", "4", "--epochs", "2", "--loss", "cross-entropy", "--batch-norms", "synchronised",
            "--train-examples", $"{examples}",
        ];
        JsonElement Run(int ranks)
        {
            var ended = Mpirun.Run(ranks, Train(In($"{ranks}"), more));
            Assert.True(ended.ExitCode == 0, ended.All);
            return JsonDocument.Parse(ended.Output).RootElement;
        }
        var (alone, together) = (Run(1), Run(ranks));
        foreach (var (run, tolerance) in ((string, double)[])[("baseline", 1e-4), ("compressed", 0.02)])
        {
            double Of(JsonElement result, string what) => result.GetProperty(run).GetProperty(what).GetDouble();
            Assert.Equal(1, Of(together, "train_loss") / Of(alone, "train_loss"), tolerance);
            Assert.Equal(Of(alone, "test_dsc"), Of(together, "test_dsc"), 10 * tolerance);
        }
    }

    [Fact]
    public void A_training_of_two_ranks_that_was_interrupted_ends_as_the_uninterrupted_one_to_the_digit()
    {
        string[] more = ["--epochs", "20"];    // the training must not be over before the signal arrives
        var whole = Mpirun.Run(2, Train(In("whole"), more));
        using var training = Mpirun.Start(2, Train(In("interrupted"), more));
        WaitForEpochs(training, "interrupted", 2);
        // One rank alone gets the signal, and all ranks end.
        Mpirun.Signal("TERM", Mpirun.ProcessOf(training, 1) ?? throw new InvalidOperationException("No rank 1."));
        var interrupted = ChildProcess.Wait(training);
        Assert.True(interrupted.ExitCode == 130, interrupted.All);
        Assert.Contains("Interrupted; the state is in", interrupted.Error, StringComparison.Ordinal);
        Assert.InRange(Lines(In("interrupted"), "epoch").Length, 2, 39);
        var one = ChildProcess.Run(Train(In("interrupted"), [.. more, "--resume"]));
        Assert.True(one.ExitCode == 2, one.All);
        Assert.Contains("is the state of a training by 2 ranks: found one process.", one.Error, StringComparison.Ordinal);
        Assert.Equal(Outcome(whole), Outcome(Mpirun.Run(2, Train(In("interrupted"), [.. more, "--resume"]))));
        Assert.Equal(Lines(In("whole"), "epoch"), Lines(In("interrupted"), "epoch"));
    }

    [Fact]
    public void Ctrl_C_ends_every_rank_and_what_was_saved_is_gone_on_with()
    {
        using var training =
            Mpirun.Start(["/usr/bin/env", "--default-signal=INT", .. Mpirun.Command(2, Train(In("out"), "--epochs", "20"))]);
        WaitForEpochs(training, "out", 2);
        Mpirun.Signal("INT", training.Id);
        Assert.NotEqual(0, ChildProcess.Wait(training).ExitCode);
        Assert.Equal(11, Outcome(Mpirun.Run(2, Train(In("out"), "--epochs", "20", "--resume"))).Length);
        Assert.Equal(40, Lines(In("out"), "epoch").Distinct().Count());
    }

    [Theory]
    [InlineData("A batch of 20 does not divide among 3 ranks: wanted a multiple of 3, such as --batch 21.", 3)]
    [InlineData("No network 'nonet' to train.", 2, "--model", "nonet")]
    [InlineData("no training was interrupted there", 2, "--resume")]
    [InlineData("the batch norms of lenet are its own. Wanted unet2d or unet3d.", 2, "--batch-norms", "synchronised")]
    [InlineData("memory 1073741824 among 2 ranks: ", 2, "--model", "unet3d", "--memory", "1GiB")]
    public void A_mistake_is_told_and_ends_every_rank(string wanted, int ranks, params string[] more)
    {
        var ended = Mpirun.Run(ranks, Train(In("out"), more));
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains("actipress (rank ", ended.Error, StringComparison.Ordinal);
        Assert.Contains(wanted, ended.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Ranks_with_another_plan_or_other_data_are_told()
    {
        var ended = Mpirun.Run([.. Mpirun.Command(1, Train(In("out"))), ":", "-n", "1", .. Train(In("out"), "--learning-rate", "0.5")]);
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains(
            "Ranks differ in a training: rank 0 has learning_rate 0.001; rank 1 has learning_rate 0.5.", ended.Error,
            StringComparison.Ordinal);
        Directory.CreateDirectory(In("data/cifar10_jpeg"));
        foreach (var (part, other) in (((string, int)[])[("one", 0), ("other", 1)]))
            foreach (var set in (string[])["train", "test"])
                foreach (var name in (string[])["a", "b"])
                    Pictures(In($"{part}/cifar10_jpeg/{set}/{name}"), other);
        ended = Mpirun.Run([.. Mpirun.Command(1, OfPictures("one")), ":", "-n", "1", .. OfPictures("other")]);
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains("Ranks differ in a training: rank 0 has cifar10_jpeg, 8 examples", ended.Error, StringComparison.Ordinal);

        string[] OfPictures(string part) =>
            [.. ChildProcess.Cli, "train", "--model", "resnet20", "--data", "cifar10-jpeg", "--data-dir", In(part), "--batch", "2",
            "--epochs", "1", "--out", In("out")];
    }

    static void Pictures(string folder, int shade)
    {
        Directory.CreateDirectory(folder);
        for (var i = 0; i < 4; i++)
        {
            using var picture = new SkiaSharp.SKBitmap(32, 32);
            picture.Erase(new SkiaSharp.SKColor((byte)(60 * i), (byte)(100 * shade), 0));
            using var file = File.Create(Path.Combine(folder, $"{i}.png"));
            picture.Encode(file, SkiaSharp.SKEncodedImageFormat.Png, 100);
        }
    }

    [Fact]
    public void A_rank_that_is_killed_ends_the_others_with_its_name_and_the_state_stays_whole() => KillOften(1, seed: 1);

    [LongFact]
    public void Whichever_rank_is_killed_at_whatever_moment_all_end_and_the_state_stays_whole() => KillOften(50, seed: 2);

    void KillOften(int times, int seed)
    {
        var chance = new Random(seed);
        for (var time = 0; time < times; time++)
        {
            var (output, rank, milliseconds) = ($"{time}", chance.Next(4), chance.Next(100, 12_000));
            using var training = Mpirun.Start(4, Train(In(output), "--epochs", "1000"));
            int? process = null;
            Assert.True(SpinWait.SpinUntil(() => (process = Mpirun.ProcessOf(training, rank)) is not null, TimeSpan.FromMinutes(1)),
                "No ranks.");
            // The signal may arrive at any moment of a training, including its start.
            training.WaitForExit(milliseconds);
            Mpirun.Signal("KILL", process!.Value);
            var watch = Stopwatch.StartNew();
            var ended = ChildProcess.Wait(training);
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(30), $"{watch.Elapsed} after rank {rank} was killed: {ended.All}");
            Assert.True(ended.ExitCode == 137, ended.All);
            Assert.Contains($"process rank {rank} ", ended.Error, StringComparison.Ordinal);
            Assert.Contains("signal 9 (Killed)", ended.Error, StringComparison.Ordinal);
            Assert.All(Lines(In(output), "epoch"), line => JsonDocument.Parse(line));
            if (!File.Exists(In($"{output}/training.state"))) continue;
            using var resumed = Mpirun.Start(4, Train(In(output), "--epochs", "1000", "--resume"));
            WaitForEpochs(resumed, output, Lines(In(output), "epoch").Length + 1);
            Assert.False(resumed.HasExited, "The state is not gone on with.");
            Mpirun.Signal("TERM", Mpirun.ProcessOf(resumed, 0)!.Value);
            Assert.Equal(130, ChildProcess.Wait(resumed).ExitCode);
        }
    }
}
