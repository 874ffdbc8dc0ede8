using System.Diagnostics;
using System.Text.Json;
using Actipress.Experiments;

namespace Actipress.Tests.Cli;

/// <summary>Trainings that are interrupted, by Ctrl-C or by a full disk, and continued with <c>train --resume</c>.</summary>
public sealed class ResumeTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static string[] Train(string output) =>
        [
        .. ChildProcess.Cli, "train", "--model", "lenet", "--epochs", "8", "--batch", "50", "--train-examples", "600", "--test-examples",
        "200", "--seed", "3", "--layers", "conv2,relu*", "--schedule", "cosine", "--json", "--out", output,
        ];

    string In(string name) => Path.Combine(folder, name);

    // The results of a training without times, the allocator's levels and the machine.
    static string[] Outcome(ChildProcess.Ended ended)
    {
        Assert.True(ended.ExitCode == 0, ended.All);
        var result = JsonDocument.Parse(ended.Output).RootElement;
        return [
            .. ((string[])["baseline", "compressed"]).SelectMany(run => result.GetProperty(run).EnumerateObject()
                .Where(one => one.Name is not ("step_ms" or "after_forward_bytes" or "peak_bytes")).Select(one => $"{run} {one}")),
                .. result.EnumerateObject().Where(one => one.Name is not ("baseline" or "compressed" or "provenance" or "weights"))
                    .Select(one => $"{one}"),
                .. result.GetProperty("weights").EnumerateArray().Select(path => Path.GetFileName(path.GetString()!))];
    }

    static string[] Epochs(string output) => [.. File.ReadAllLines(Path.Combine(output, "results.jsonl"))
        .Where(line => line.StartsWith("{\"kind\":\"epoch\"", StringComparison.Ordinal))];

    [Fact]
    public void A_resumed_training_ends_as_the_uninterrupted_one_to_the_digit()
    {
        using var training = ChildProcess.Start(["env", "--default-signal=INT", .. Train(In("interrupted"))]);
        Assert.True(
            SpinWait.SpinUntil(
                () => training.HasExited || File.Exists(In("interrupted/results.jsonl")) && Epochs(In("interrupted")).Length >= 3,
                TimeSpan.FromMinutes(2)),
            "No epoch was done.");
        using (var kill = Process.Start("kill", ["-INT", $"{training.Id}"])) kill.WaitForExit();
        var interrupted = ChildProcess.Wait(training);
        Assert.True(interrupted.ExitCode == 130, interrupted.All);
        Assert.True(File.Exists(In("interrupted/training.state")));
        Assert.True(JsonDocument.Parse(interrupted.Output).RootElement.GetProperty("interrupted").GetBoolean());
        Assert.InRange(Epochs(In("interrupted")).Length, 3, 15);

        // The state of another training is refused, and is not deleted.
        var other = ChildProcess.Run([.. Train(In("interrupted")), "--resume", "--codec", "dct:4"]);
        Assert.True(other.ExitCode == 2, other.All);
        Assert.Contains("is the state of another training", other.Error, StringComparison.Ordinal);

        // A training that begins anew does not delete it either.
        var state = File.ReadAllBytes(In("interrupted/training.state"));
        var anew = ChildProcess.Run([.. ChildProcess.Cli, "train", "--epochs", "1", "--out", In("interrupted")]);
        Assert.True(anew.ExitCode == 2, anew.All);
        Assert.Contains(
            "is an unfinished training, of './actipress train --model lenet --data digits --layers conv2,relu* --epochs 8 --batch 50 "
                + $"--schedule cosine --seed 3 --train-examples 600 --test-examples 200 --out {In("interrupted")}'",
            anew.Error, StringComparison.Ordinal);
        Assert.Equal(state, File.ReadAllBytes(In("interrupted/training.state")));

        var resumed = ChildProcess.Run([.. Train(In("interrupted")), "--resume"]);
        var whole = ChildProcess.Run(Train(In("whole")));
        Assert.Equal(Outcome(whole), Outcome(resumed));
        Assert.Equal(16, Epochs(In("whole")).Length);
        Assert.Equal(Epochs(In("whole")), Epochs(In("interrupted")));
        Assert.False(File.Exists(In("interrupted/training.state")));
        var nothing = ChildProcess.Run([.. Train(In("interrupted")), "--resume"]);
        Assert.True(nothing.ExitCode == 2, nothing.All);
        Assert.Contains("no training was interrupted there", nothing.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Two_trainings_do_not_share_a_folder()
    {
        var state = new TrainingState(In("training.state"), new TrainingPlan { Model = "lenet", Data = "digits" });
        ChildProcess.Ended refused;
        using (state.Alone()) refused = ChildProcess.Run(Train(folder));
        Assert.True(refused.ExitCode == 2, refused.All);
        Assert.Contains(
            $"Another training is at work in {folder}: wait for its end, or train into another folder.", refused.Error,
            StringComparison.Ordinal);
        Assert.Empty(refused.Output);
        using (state.Alone()) Assert.True(File.Exists(state.Path + ".lock"));    // the lock is released
    }

    // Runs a script with a disk of its own, in a mount namespace of its own. The test skips by name where the system does not allow that.
    ChildProcess.Ended OnDisk(string script)
    {
        string[] unshare = ["unshare", "--user", "--map-root-user", "--mount"];
        Directory.CreateDirectory(In("disk"));
        foreach (var program in (string[])["unshare", "mount"])
            if (!((string[])["/usr/bin", "/bin"]).Any(bin => File.Exists(Path.Combine(bin, program))))
                Assert.Skip($"No {program}: it is util-linux's.");
        if (ChildProcess.Run([.. unshare, "mount", "-t", "tmpfs", "none", In("disk")]) is { ExitCode: not 0 } refused)
            Assert.Skip($"No mounts of one's own here: {refused.Error}");
        return ChildProcess.Run([.. unshare, "bash", "-c", $"disk='{In("disk")}'; cd '{folder}'; {script}"]);
    }

    // The state of both runs. The options hardly change its size.
    long StateBytes()
    {
        var plan = new TrainingPlan { Model = "lenet", Data = "digits", TrainExamples = 128, TestExamples = 16 };
        var data = KnownData.Load(plan, null);
        using Learner plain = new(plan.Plain(), data), compressed = new(plan, data);
        foreach (var learner in (Learner[])[plain, compressed]) learner.Epoch(null, null, TestContext.Current.CancellationToken);
        var state = new TrainingState(In("state"), plan);
        state.Save(plain, compressed);
        return new FileInfo(state.Path).Length;
    }

    static string Line(string[] command) => string.Join(' ', command.Select(word => $"'{word}'"));

    [Fact]
    public void A_full_disk_is_told_and_what_was_saved_before_is_gone_on_with()
    {
        // There is room for one state and a half. The second state, which is written beside the first, does not fit.
        var train = Line(Train(In("disk")));
        var ended = OnDisk($$"""
            mount -t tmpfs -o size={{StateBytes() * 3 / 2}} none "$disk"
            {{train}} >first.out 2>first.err; echo $? >first.rc
            ls -l "$disk" >ls.txt
            mount -o remount,size=1g "$disk"
            {{train}} --resume >second.out 2>second.err; echo $? >second.rc
            cp "$disk/results.jsonl" .
            """);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.True(File.ReadAllText(In("first.rc")) == "2\n", File.ReadAllText(In("first.err")) + File.ReadAllText(In("ls.txt")));
        Assert.Contains("No space left on device", File.ReadAllText(In("first.err")), StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", File.ReadAllText(In("first.err")), StringComparison.Ordinal);
        Assert.DoesNotContain(".part", File.ReadAllText(In("ls.txt")), StringComparison.Ordinal);

        var whole = ChildProcess.Run(Train(In("whole")));
        Assert.True(File.ReadAllText(In("second.rc")) == "0\n", File.ReadAllText(In("second.err")));
        Assert.Equal(Outcome(whole), Outcome(new(0, File.ReadAllText(In("second.out")), "")));
        Assert.Equal(Epochs(In("whole")), Epochs(folder).Distinct());    // the epoch whose state could not be saved is reported again
    }
}
