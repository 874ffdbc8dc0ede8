using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

/// <summary>Summaries and figures of trainings whose results are written by hand.</summary>
public sealed class SweepSummaryTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    Sweep Make(string ratios, params int[] seeds)
    {
        var study = Directory.CreateDirectory(Path.Combine(folder, "study")).FullName;
        File.WriteAllText(Path.Combine(study, "config.json"), $$"""
            {"model":"lenet","data":"digits","epochs":1,"seeds":[{{string.Join(',', seeds)}}],
             "layers":["conv2"],"codecs":["none","dct:{ratio}"],"ratios":{{ratios}}}
            """);
        return new(study);
    }

    static void Add(
        Sweep sweep, TrainingPlan plan, double accuracy, long afterForward = 0, long peak = 0, double milliseconds = 0, long saved = 1000,
        long kept = 100, string kind = "run") =>
        sweep.Results.Add(new SweepRun(kind, plan.Key(), plan,
            new(accuracy, null, accuracy + 0.1, null, 1, milliseconds, afterForward, peak, saved, kept, 4.0 * kept / saved, 0.9, 1), [], 1,
            1, Provenance.Here()));

    [Fact]
    public void A_cross_validation_is_one_row_whose_differences_are_fold_by_fold()
    {
        var study = Directory.CreateDirectory(Path.Combine(folder, "folds")).FullName;
        File.WriteAllText(Path.Combine(study, "config.json"), """
            {"model":"unet3d","data":"volumes","epochs":1,"folds":3,"codecs":["none","dct:10"]}
            """);
        var sweep = new Sweep(study);
        Assert.Equal(
            ["none 1/3", "none 2/3", "none 3/3", "dct:10 1/3", "dct:10 2/3", "dct:10 3/3"],
            sweep.Plans.Select(plan => $"{plan.Codec} {plan.Fold}"));
        foreach (var (plan, score) in sweep.Plans.Zip((double[])[0.5, 0.7, 0.9, 0.4, 0.6, 0.8])) Add(sweep, plan, score);
        var rows = SweepSummary.Of(sweep).Rows;
        Assert.Equal([3, 3], rows.Select(row => row.Seeds));
        Assert.Equal(-0.1, rows[1].Difference!.Value, 1e-12);
        Assert.Equal(0, rows[1].DifferenceStandardError!.Value, 1e-12);
    }

    [Fact]
    public void A_row_is_its_seeds_means_largest_peak_and_median_time()
    {
        var sweep = Make("[10]", 1, 2, 3);
        TrainingPlan Plan(string codec, int seed) => sweep.Plans.Single(plan => plan.Codec == codec && plan.Seed == seed);
        Add(sweep, Plan("none", 1), 0.5);
        Add(sweep, Plan("none", 2), 0.7);
        Add(sweep, Plan("dct:10", 1), 0.6, afterForward: 10, peak: 70, milliseconds: 1, saved: 1000, kept: 100);
        Add(sweep, Plan("dct:10", 2), 0.7, afterForward: 30, peak: 90, milliseconds: 9, saved: 1000, kept: 300);
        Add(sweep, Plan("dct:10", 3), 0.2, afterForward: 20, peak: 80, milliseconds: 2, saved: 1000, kept: 200);
        Add(sweep, Plan("none", 3), 0.9, kind: "trial");               // other lines are skipped
        Add(sweep, Plan("none", 1) with { Epochs = 2 }, 0.9);          // lines of another configuration are skipped too
        Add(sweep, Plan("none", 1), 0.9);                              // of two lines for one training the first counts
        var summary = SweepSummary.Of(sweep);
        Assert.Equal(("study", 6, 5), (summary.Experiment, summary.Runs, summary.Done));
        Assert.Equal(["none", "dct:10"], summary.Rows.Select(row => row.Codec));
        var (plain, packed) = (summary.Rows[0], summary.Rows[1]);
        Assert.Equal((2, 0.6, null, null), (plain.Seeds, plain.TestAccuracy!.Value, plain.TestDsc, plain.Difference));
        Assert.Equal(0.1, plain.StandardError!.Value, 1e-12);
        Assert.Equal(
            ("conv2", 3, 20, 90, 2.0),
            (packed.Layers, packed.Seeds, packed.AfterForwardBytes!.Value, packed.PeakBytes!.Value, packed.StepMs));
        Assert.Equal(0.5, packed.TestAccuracy!.Value, 1e-12);
        Assert.Equal(0.6, packed.TrainScore, 1e-12);
        // The difference is to plain training with the same seed, where there is one: 0.1 and 0.
        Assert.Equal(0.05, packed.Difference!.Value, 1e-12);
        Assert.Equal(0.05, packed.DifferenceStandardError!.Value, 1e-12);
        Assert.Equal((1000, 200), (packed.SavedBytes!.Value, packed.KeptBytes!.Value));
        Assert.Equal(20, packed.KeptPercent!.Value, 1e-12);
        Assert.Equal(0.8, packed.BytesPerElement!.Value, 1e-12);
    }

    [Theory]
    [InlineData("[2.5,10]", 0)]
    [InlineData("[2.5,10,100]", 1)]
    public void From_three_ratios_on_there_is_a_figure(string ratios, int figures)
    {
        var sweep = Make(ratios, 1);
        foreach (var plan in sweep.Plans) Add(sweep, plan, 0.5);
        var page = Reproduction.Page([SweepReproduction.Figures[0]], new(null, folder), new Dictionary<string, StoredPiece>()).ToString();
        Assert.Equal(figures, page.Split("<svg").Length - 1);
        Assert.Contains($"study: {sweep.Plans.Count} of {sweep.Plans.Count} trainings", page);
        Assert.Contains("<td>conv2</td><td>dct:10</td><td>1</td>", page);
    }
}
