namespace Actipress.Experiments;

/// <summary>
/// A row of a sweep: one codec on one set of layers, over all finished seeds and folds. Scores are means and standard errors, from 0 to 1.
/// </summary>
/// <param name="Layers">The compressed layers.</param>
/// <param name="Codec">The codec.</param>
/// <param name="Seeds">The number of runs of the row.</param>
/// <param name="TestAccuracy">The accuracy of classifiers.</param>
/// <param name="TestDsc">The DSC of segmentations.</param>
/// <param name="StandardError">The standard error of the score; null for one run.</param>
/// <param name="Difference">The difference from plain training with the same seed and fold; null where there is no plain training.</param>
/// <param name="DifferenceStandardError">The standard error of the difference; null for one run.</param>
/// <param name="TrainScore">The accuracy or DSC on as many examples of the training set.</param>
/// <param name="SavedBytes">The bytes of a step's activation maps.</param>
/// <param name="KeptBytes">The bytes kept in their place.</param>
/// <param name="KeptPercent">The kept bytes as a percentage of the saved bytes.</param>
/// <param name="BytesPerElement">The kept bytes, divided by the elements.</param>
/// <param name="GradientCosine">The cosine to the exact gradient, at the end.</param>
/// <param name="AfterForwardBytes">The allocator's level after the forward pass; null where no meter worked.</param>
/// <param name="PeakBytes">The allocator's highest level; null where no meter worked.</param>
/// <param name="StepMs">The median time of a step.</param>
public sealed record SweepRow(
    string Layers, string Codec, int Seeds, double? TestAccuracy, double? TestDsc, double? StandardError, double? Difference,
    double? DifferenceStandardError, double TrainScore, long? SavedBytes, long? KeptBytes, double? KeptPercent, double? BytesPerElement,
    double? GradientCosine, long? AfterForwardBytes, long? PeakBytes, double StepMs);

/// <summary>The result that <c>sweep --json</c> prints.</summary>
/// <param name="Experiment">The name of the experiment's folder.</param>
/// <param name="Runs">The number of trainings.</param>
/// <param name="Done">The number of finished trainings.</param>
/// <param name="Rows">The rows, in the order of the configuration.</param>
public sealed record SweepSummary(string Experiment, int Runs, int Done, IReadOnlyList<SweepRow> Rows)
{
    /// <summary>The summary of the finished trainings.</summary>
    public static SweepSummary Of(Sweep sweep)
    {
        ArgumentNullException.ThrowIfNull(sweep);
        var done = sweep.Done();
        var plain = done.Where(run => run.Plan.Codec == "none").ToDictionary(run => run.Plan.Pair, run => run.Result.TestScore);
        return new(
            Path.GetFileName(sweep.Folder), sweep.Plans.Count, done.Count,
            [.. done.GroupBy(run => (run.Plan.Layers, run.Plan.Codec)).Select(row => Row(row.Key.Layers, row.Key.Codec, [.. row], plain))]);
    }

    static SweepRow Row(string layers, string codec, SweepRun[] runs, Dictionary<(int, string?), double> plain)
    {
        var results = Array.ConvertAll(runs, run => run.Result);
        var (score, error) = Statistics.Mean(Array.ConvertAll(results, result => result.TestScore));
        var pairs = codec == "none"
            ? [] : runs.Where(run => plain.ContainsKey(run.Plan.Pair)).Select(run => run.Result.TestScore - plain[run.Plan.Pair]).ToArray();
        var (difference, differenceError) = Statistics.Mean(pairs);
        var (saved, kept) = (Mean(result => result.SavedBytes), Mean(result => result.KeptBytes));
        return new(
            layers, codec, runs.Length, results[0].TestDsc is null ? score : null, results[0].TestDsc is null ? null : score, Known(error),
            Known(difference), Known(differenceError), results.Average(result => result.TrainScore), (long?)saved, (long?)kept,
            100 * kept / saved, Mean(result => result.BytesPerElement), Mean(result => result.GradientCosine),
            (long?)Mean(result => result.AfterForwardBytes), results.Max(result => result.PeakBytes),
            Statistics.Median(results.Select(result => result.StepMs)));

        double? Mean(Func<RunResult, double?> value) => results.Average(value);
        static double? Known(double value) => double.IsNaN(value) ? null : value;
    }
}
