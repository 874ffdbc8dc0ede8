using System.Globalization;
using ScottPlot;

namespace Actipress.Experiments;

/// <summary>
/// Figures 6 to 8: something of every training of an experiment over the paper's ratios, a panel for each set of layers. The trainings
/// are a sweep's, and kept where that keeps them.
/// </summary>
/// <param name="name">As the command line has it.</param>
/// <param name="title">Of the section.</param>
/// <param name="meaning">In a few words.</param>
/// <param name="explanation">Below the title.</param>
/// <param name="axis">What is shown, with its unit.</param>
/// <param name="value">What is shown of a row.</param>
sealed class SweepReproduction(string name, string title, string meaning, string explanation, Func<SweepRow, string> axis, Func<SweepRow, double> value) : Reproduction
{
    // Panels of these are figures, the others are tables.
    const int FewestRatios = 3;

    static readonly Dictionary<string, string> families = new() { ["wt:haar"] = "WT + haar", ["wt:db3"] = "WT + db3", ["dct"] = "DCT", ["st"] = "ST" };

    public override string Name => name;

    public override string Meaning => meaning;

    /// <summary>Experiments of which these figures are made: folders with a sweep's config.json.</summary>
    public static IReadOnlyList<string> Studies(string experiments) => Directory.Exists(experiments)
        ? [.. Directory.EnumerateFiles(experiments, "config.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Where(SweepConfig.IsOne).Select(path => Path.GetDirectoryName(path)!)]
        : [];

    public override IEnumerable<Piece> Pieces(Context context) => [];

    public override void Run(Context context, ResultsFile results, IProgress<string> progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(context);
        foreach (var study in Studies(context.Experiments))
        {
            cancellation.ThrowIfCancellationRequested();
            var sweep = new Sweep(study);
            if (sweep.Remaining().Count > 0) sweep.Work(context.DataFolder, new Told(sweep, progress), cancellation);
        }
        cancellation.ThrowIfCancellationRequested();
    }

    sealed class Told(Sweep sweep, IProgress<string> progress) : IProgress<SweepProgress>
    {
        public void Report(SweepProgress value) => progress.Report(
            $"{Path.GetFileName(sweep.Folder)}, {value.Plan.Layers}, {value.Plan.Codec}, seed {value.Plan.Seed}: {value.Notice ?? (value.At is { } at ? $"epoch {at.Epoch} of {value.Plan.Epochs}, step {at.Step} of {at.Steps}" : "done")}");
    }

    public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        page.Section(title);
        page.Paragraph(explanation);
        ArgumentNullException.ThrowIfNull(context);
        foreach (var study in Studies(context.Experiments))
        {
            var summary = SweepSummary.Of(new Sweep(study));
            if (summary.Done == 0) continue;
            page.Heading($"{summary.Experiment}: {summary.Done} of {summary.Runs} trainings");
            if (File.Exists(Path.Combine(study, "question.md"))) page.Paragraph(Question(study));
            var plain = summary.Rows.FirstOrDefault(row => row.Codec == "none");
            foreach (var panel in summary.Rows.Where(row => row.Codec != "none").GroupBy(row => row.Layers))
            {
                var points = panel.Select(row => (Row: row, At: Ratio(row.Codec))).Where(point => point.At is not null).ToArray();
                if (points.Select(point => point.At!.Value.Ratio).Distinct().Count() < FewestRatios) continue;
                page.Figure(Draw(panel.Key, points.Select(point => (point.Row, point.At!.Value.Family, point.At.Value.Ratio)).ToArray(), plain), $"{name}-{summary.Experiment}-{panel.Key}", panel.Key, 420, 280);
            }
            page.Table(["layers", "codec", "seeds", axis(summary.Rows[0]), "± standard error", "from plain", "kept bytes", "gradient cosine"], summary.Rows.Where(row => summary.Rows.Count < 40 || row.Codec == "none").Select(row => (string[])
            [
                row.Layers, row.Codec, $"{row.Seeds}", Number(value(row)), row.StandardError is { } error ? Percent(error) : "", row.Difference is { } difference ? Percent(difference) : "",
                row.KeptPercent is { } kept ? $"{Number(kept)} %" : "", row.GradientCosine is { } cosine ? cosine.ToString("0.000", CultureInfo.InvariantCulture) : "",
            ]));
        }
    }

    // The first line of its text, without the mark of a heading.
    static string Question(string study) => File.ReadLines(Path.Combine(study, "question.md")).First().TrimStart('#', ' ');

    static (string Family, double Ratio)? Ratio(string codec)
    {
        if (ActivationCodec.Parse(codec).Keep is not Keep.TopK { Ratio: var ratio }) return null;
        var family = families.FirstOrDefault(known => codec.StartsWith(known.Key + ":", StringComparison.Ordinal));
        return family.Value is null ? null : (family.Value + (codec.Contains(",storage=paper", StringComparison.Ordinal) ? ", paper's storage" : ""), ratio);
    }

    Plot Draw(string layers, (SweepRow Row, string Family, double Ratio)[] points, SweepRow? plain)
    {
        var plot = new Plot();
        plot.Title(layers);
        plot.YLabel(axis(points[0].Row));
        var ratios = points.Select(point => point.Ratio).Distinct().Order().ToArray();
        foreach (var family in points.GroupBy(point => point.Family))
        {
            var sorted = family.OrderBy(point => point.Ratio).ToArray();
            var line = plot.Add.Scatter(sorted.Select(point => (double)Array.IndexOf(ratios, point.Ratio)).ToArray(), sorted.Select(point => value(point.Row)).ToArray());
            line.LegendText = family.Key;
        }
        if (plain is not null) plot.Add.HorizontalLine(value(plain), color: Colors.Gray).LegendText = "plain";
        plot.Axes.Bottom.SetTicks([.. ratios.Select((_, index) => (double)index)], [.. ratios.Select(ratio => ratio.ToString(CultureInfo.InvariantCulture))]);
        plot.ShowLegend(Edge.Right);
        return plot;
    }

    static string Number(double number) => number.ToString("0.00", CultureInfo.InvariantCulture);

    static string Percent(double share) => $"{(100 * share).ToString("0.00", CultureInfo.InvariantCulture)} points";

    /// <summary>Figures 6, 7 and 8.</summary>
    public static IReadOnlyList<Reproduction> Figures { get; } =
    [
        new SweepReproduction("fig6", "Figure 6: performance over ratios", "accuracy or DSC over ratios, by layers",
            "Score on the test set over compression ratios, by compressed layers; the grey line is plain training with the same seeds.",
            row => row.TestDsc is null ? "test accuracy, %" : "test DSC, %", row => 100 * (row.TestAccuracy ?? row.TestDsc ?? double.NaN)),
        new SweepReproduction("fig7", "Figure 7: regularisation", "what training gains over test, over ratios",
            "Score on as many examples of the training set minus score on the test set: where compression regularises, the gap is narrower than that of plain training.",
            _ => "training minus test, points", row => 100 * (row.TrainScore - (row.TestAccuracy ?? row.TestDsc ?? double.NaN))),
        new SweepReproduction("fig8", "Figure 8: time a batch", "time of a step over ratios",
            "Median time of forward pass, backward pass and optimizer. Trainings of a sweep share a machine with each other: compare within a panel.",
            _ => "ms a batch", row => row.StepMs),
    ];
}
