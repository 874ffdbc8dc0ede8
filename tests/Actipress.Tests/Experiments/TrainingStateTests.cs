using System.Security.Cryptography;
using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class TrainingStateTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    static readonly TrainingPlan plan =
        new() { Model = "lenet", Data = "digits", Codec = "dct:10", Epochs = 2, Batch = 32, TrainExamples = 96, TestExamples = 32 };

    static readonly TrainingData data = KnownData.Load(plan, null);

    TrainingState State(TrainingPlan? of = null) => new(Path.Combine(folder, "in", "training.state"), of ?? plan);

    // The training has done an epoch and one step of the next.
    static Learner Begun(TrainingPlan? of = null)
    {
        var learner = new Learner(of ?? plan, data);
        Assert.True(learner.Epoch(null, null, Cancellation));
        using var stop = new CancellationTokenSource();
        Assert.False(learner.Epoch(new Told(_ => stop.Cancel()), null, stop.Token));
        return learner;
    }

    sealed class Told(Action<TrainingProgress> tell) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => tell(value);
    }

    [Theory]
    [InlineData("none")]
    [InlineData("dct:10")]
    public void What_was_measured_before_a_break_counts_after_it(string codec)
    {
        var own = plan with { Codec = codec };
        using var learner = Begun(own);
        State(own).Save(learner);
        using var resumed = new Learner(own, data);
        State(own).Load(resumed);
        Assert.Equal(1, resumed.Epochs);
        Assert.Equal(learner.Curve, resumed.Curve);
        Assert.Equal(Json.Line(learner.Report), Json.Line(resumed.Report));
        Assert.Equal(codec != "none", resumed.Report is not null);
        var measured = learner.Result(Cancellation);
        Assert.True(measured.PeakBytes > measured.AfterForwardBytes && measured.AfterForwardBytes > 0, $"{measured}");
        Assert.True(measured.StepMs > 0);
        Assert.Equal(measured, resumed.Result(Cancellation));

        // Each learner has done one step of the epoch. Both continue at the second step, and the peak is the largest of all steps.
        var steps = new List<int>();
        Assert.True(resumed.Epoch(new Told(told => steps.Add(told.Step)), null, Cancellation));
        Assert.Equal([2, 3, 3], steps);    // the last is the epoch's score
        Assert.True(resumed.Result(Cancellation).PeakBytes >= measured.PeakBytes, $"{measured} and {resumed.Result(Cancellation)}");
    }

    [Fact]
    public void A_state_of_other_examples_is_refused()
    {
        using var learner = Begun();
        var state = State();
        state.Examples = data.Fingerprint();
        state.Save(learner);
        var fewer = KnownData.Load(plan with { TrainExamples = 64 }, null);
        Assert.NotEqual(data.Fingerprint(), fewer.Fingerprint());
        using var resumed = new Learner(plan, data);
        var other = State();
        other.Examples = fewer.Fingerprint();
        Assert.Contains("the state of a training on other examples",
            Assert.Throws<InvalidDataException>(() => other.Load(resumed)).Message, StringComparison.Ordinal);
        state.Load(resumed);
        Assert.Equal(1, resumed.Epochs);
    }

    [Fact]
    public void A_break_between_an_epochs_last_step_and_its_score_changes_nothing()
    {
        using Learner broken = new(plan, data), whole = new(plan, data);
        using var stop = new CancellationTokenSource();
        Assert.False(broken.Epoch(new Told(told => { if (told.Step == told.Steps) stop.Cancel(); }), null, stop.Token));
        Assert.Equal(0, broken.Epochs);
        State().Save(broken);
        using var resumed = new Learner(plan, data);
        State().Load(resumed);
        var told = new List<TrainingProgress>();
        Assert.True(resumed.Epoch(new Told(told.Add), null, Cancellation));
        Assert.NotNull(Assert.Single(told).TestScore);    // no step is repeated
        Assert.True(resumed.Epoch(null, null, Cancellation));
        for (var epoch = 0; epoch < 2; epoch++) Assert.True(whole.Epoch(null, null, Cancellation));
        Assert.Equal(whole.Curve, resumed.Curve);
    }

    [Fact]
    public void An_interrupted_training_leaves_out_what_is_measured_at_the_end()
    {
        using var learner = new Learner(plan, data);
        Assert.True(learner.Epoch(null, null, Cancellation));
        var result = learner.Result(new CancellationToken(canceled: true));
        Assert.Equal((null, null, null), (result.TrainAccuracy, result.GradientCosine, result.GradientNormRatio));
        Assert.NotNull(result.TestAccuracy);
        Assert.NotNull(result.KeptBytes);
        Assert.NotNull(learner.Result(Cancellation).GradientCosine);
    }

    [Fact]
    public void A_training_that_is_interrupted_while_it_is_measured_is_gone_on_with()
    {
        var once = plan with { Epochs = 1 };
        using var stop = new CancellationTokenSource();
        // Both runs report the last score after the last step.
        var results = new ResultsFile(folder);
        var told = new Told(one => { if (one is { Run: "compressed", TestScore: not null }) stop.Cancel(); });
        var (interrupted, _) = Training.Run(once, data, results, State(once), told, stop.Token)!.Value;
        Assert.True(interrupted.Interrupted);
        Assert.True(State(once).Exists);
        var (whole, _) =
            Training.Run(once, data, results, State(once), new Told(_ => Assert.Fail("It trains again.")), Cancellation)!.Value;
        Assert.False(whole.Interrupted);
        Assert.NotNull(whole.Compressed.GradientCosine);
        Assert.False(State(once).Exists);
    }

    [Fact]
    public void A_file_tells_whose_state_it_is()
    {
        Assert.Null(State().PlanOfFile());
        using var learner = new Learner(plan, data);
        State().Save(learner);
        Assert.Equal(plan, State(plan.Plain()).PlanOfFile());
        File.WriteAllText(State().Path, "no state");
        Assert.Null(State().PlanOfFile());
    }

    [Fact]
    public void Without_a_file_there_is_nothing_to_go_on_from()
    {
        using var learner = new Learner(plan, data);
        Assert.False(State().Exists);
        State().Load(learner);
        Assert.Equal(0, learner.Epochs);
        State().Save(learner);
        Assert.True(State().Exists);
        File.WriteAllText(State().Path + ".part", "left by a program that was killed");
        State().Delete();
        Assert.Empty(Directory.GetFiles(Path.GetDirectoryName(State().Path)!));
    }

    [Fact]
    public void It_is_saved_again_after_a_minute_and_not_before()
    {
        using var learner = new Learner(plan, data);
        State().SaveNowAndThen(learner);
        Assert.False(State().Exists);
        var late = new TrainingState(State().Path, plan) { Between = TimeSpan.FromTicks(-1) };
        late.SaveNowAndThen(learner);
        Assert.True(State().Exists);
        Assert.Equal(TimeSpan.FromMinutes(1), State().Between);
    }

    // Returns the file's bytes changed at a place, with a correct checksum.
    void Change(Index at, byte value)
    {
        var bytes = File.ReadAllBytes(State().Path)[..^SHA256.HashSizeInBytes];
        bytes[at] = value;
        File.WriteAllBytes(State().Path, [.. bytes, .. SHA256.HashData(bytes)]);
    }

    [Theory]
    [InlineData(0, 'B', "does not begin with ACTPTRAI")]
    [InlineData(8, 2, "found version 2, wanted 5")]
    public void Another_format_is_refused(int at, byte value, string says)
    {
        using var learner = new Learner(plan, data);
        State().Save(learner);
        Change(at, value);
        Assert.Contains(says, Assert.Throws<InvalidDataException>(() => State().Load(learner)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_state_of_one_run_is_not_that_of_two()
    {
        using Learner one = new(plan, data), other = new(plan.Plain(), data);
        State().Save(one);
        Assert.Contains(
            "found 1 runs, wanted 2", Assert.Throws<InvalidDataException>(() => State().Load(one, other)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void What_cannot_be_written_leaves_what_was_saved_before()
    {
        using var learner = new Learner(plan, data);
        State().Save(learner);
        var before = File.ReadAllBytes(State().Path);
        // Every write to this device fails as on a full disk.
        File.CreateSymbolicLink(State().Path + ".part", "/dev/full");
        using var begun = Begun();
        Assert.Contains("No space left", Assert.Throws<IOException>(() => State().Save(begun)).Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(State().Path));
        Assert.Equal([State().Path], Directory.GetFiles(Path.GetDirectoryName(State().Path)!));
        State().Save(begun);
        Assert.NotEqual(before, File.ReadAllBytes(State().Path));
    }
}
