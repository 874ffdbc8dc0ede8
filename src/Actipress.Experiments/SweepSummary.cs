namespace Actipress.Experiments;

/// <summary>A sweep's row: one codec on one set of layers, over all seeds that are done. Means and standard errors of scores from 0 to 1.</summary>
/// <param name="Layers">Which layers were compressed.</param>
/// <param name="Codec">How.</param>
/// <param name="Seeds">How many runs the row has.</param>
/// <param name="TestAccuracy">Of classifiers.</param>
/// <param name="TestDsc">Of segmentations.</param>
/// <param name="StandardError">Of either; null for one seed.</param>
/// <param name="Difference">From plain training with the same seed; null where there is none.</param>
/// <param name="DifferenceStandardError">Likewise, null for one seed.</param>
/// <param name="TrainScore">Accuracy or DSC on as many examples of the training set.</param>
/// <param name="SavedBytes">Activation maps of a step.</param>
/// <param name="KeptBytes">What was kept in their place.</param>
/// <param name="KeptPercent">Of the saved bytes.</param>
/// <param name="BytesPerElement">Kept bytes by elements.</param>
/// <param name="GradientCosine">To the exact gradient, at the end.</param>
/// <param name="AfterForwardBytes">In the allocator; null where no meter worked.</param>
/// <param name="PeakBytes">Likewise.</param>
/// <param name="StepMs">Median of a step's time.</param>
public sealed record SweepRow(
    string Layers, string Codec, int Seeds, double? TestAccuracy, double? TestDsc, double? StandardError, double? Difference, double? DifferenceStandardError, double TrainScore,
    long? SavedBytes, long? KeptBytes, double? KeptPercent, double? BytesPerElement, double? GradientCosine, long? AfterForwardBytes, long? PeakBytes, double StepMs);

/// <summary>What <c>sweep --json</c> prints.</summary>
/// <param name="Experiment">Its folder's name.</param>
/// <param name="Runs">All of them.</param>
/// <param name="Done">Those that are done.</param>
/// <param name="Rows">In the order of the configuration.</param>
public sealed record SweepSummary(string Experiment, int Runs, int Done, IReadOnlyList<SweepRow> Rows)
{
    /// <summary>Of what is done.</summary>
    public static SweepSummary Of(Sweep sweep)
    {
        ArgumentNullException.ThrowIfNull(sweep);
        var done = sweep.Done();
        var plain = done.Where(run => run.Plan.Codec == "none").ToDictionary(run => run.Plan.Seed, run => run.Result.TestScore);
        return new(Path.GetFileName(sweep.Folder), sweep.Plans.Count, done.Count, [.. done.GroupBy(run => (run.Plan.Layers, run.Plan.Codec)).Select(row => Row(row.Key.Layers, row.Key.Codec, [.. row], plain))]);
    }

    static SweepRow Row(string layers, string codec, SweepRun[] runs, Dictionary<int, double> plain)
    {
        var results = Array.ConvertAll(runs, run => run.Result);
        var (score, error) = Statistics.Mean(Array.ConvertAll(results, result => result.TestScore));
        var pairs = codec == "none" ? [] : runs.Where(run => plain.ContainsKey(run.Plan.Seed)).Select(run => run.Result.TestScore - plain[run.Plan.Seed]).ToArray();
        var (difference, differenceError) = Statistics.Mean(pairs);
        var (saved, kept) = (Mean(result => result.SavedBytes), Mean(result => result.KeptBytes));
        return new(
            layers, codec, runs.Length, results[0].TestDsc is null ? score : null, results[0].TestDsc is null ? null : score, Known(error), Known(difference), Known(differenceError),
            results.Average(result => result.TrainScore), (long?)saved, (long?)kept, 100 * kept / saved, Mean(result => result.BytesPerElement), Mean(result => result.GradientCosine),
            (long?)Mean(result => result.AfterForwardBytes), results.Max(result => result.PeakBytes), Statistics.Median(results.Select(result => result.StepMs)));

        double? Mean(Func<RunResult, double?> value) => results.Average(value);
        static double? Known(double value) => double.IsNaN(value) ? null : value;
    }
}
