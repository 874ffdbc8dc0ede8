using System.Globalization;
using Actipress.Selection;
using ScottPlot;

namespace Actipress.Experiments;

/// <summary>
/// Figures 6 to 8: a quantity of every training of an experiment over the paper's ratios, with a panel for each set of layers. A sweep runs
/// the trainings and stores them.
/// </summary>
/// <param name="name">The name on the command line.</param>
/// <param name="title">The title of the section.</param>
/// <param name="meaning">A short description.</param>
/// <param name="explanation">The text below the title.</param>
/// <param name="axis">The quantity, with its unit.</param>
/// <param name="flat">The range within which all values of a panel make the panel flat.</param>
/// <param name="value">Returns the quantity of a training.</param>
sealed class SweepReproduction(
    string name, string title, string meaning, string explanation, Func<RunResult, string> axis, double flat, Func<RunResult, double> value)
    : Reproduction
{
    // The layer sets whose panels are figures; the others are tables.
    const int FewestRatios = 3;

    static readonly Dictionary<string, string> families =
        new() { ["wt:haar"] = "WT + haar", ["wt:db3"] = "WT + db3", ["dct"] = "DCT", ["st"] = "ST" };

    public override string Name => name;

    public override string Meaning => meaning;

    /// <summary>The experiments of these figures: folders with a sweep's config.json.</summary>
    public static IReadOnlyList<string> Studies(string experiments) => Directory.Exists(experiments)
        ? [.. Directory.EnumerateFiles(experiments, "config.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
            .Where(SweepConfig.IsOne).Select(path => Path.GetDirectoryName(path)!)]
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
        public void Report(SweepProgress value)
        {
            var state = value.At is { } at ? $"epoch {at.Epoch} of {value.Plan.Epochs}, step {at.Step} of {at.Steps}" : "done";
            progress.Report($"{Path.GetFileName(sweep.Folder)}, {value.Plan.Layers}, {value.Plan.Codec}, {value.Plan.Repetition()}: "
                + $"{value.Notice ?? state}");
        }
    }

    public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        page.Section(title);
        page.Paragraph(explanation);
        ArgumentNullException.ThrowIfNull(context);
        foreach (var study in Studies(context.Experiments))
        {
            var sweep = new Sweep(study);
            var runs = sweep.Done();
            if (runs.Count == 0)
            {
                page.Paragraph($"{Path.GetFileName(study)} is not run yet: ./actipress sweep {study}");
                continue;
            }
            page.Heading($"{Path.GetFileName(study)}: {runs.Count} of {sweep.Plans.Count} trainings");
            if (File.Exists(Path.Combine(study, "question.md"))) page.Paragraph(Question(study));
            var rows = Rows(runs);
            var plain = rows.FirstOrDefault(row => row.Codec == "none");
            var isLegendShown = false;
            foreach (var panel in rows.Where(row => row.Codec != "none").GroupBy(row => row.Layers))
            {
                var points = panel.Select(row => (Row: row, At: Ratio(row.Codec))).Where(point => point.At is not null).ToArray();
                if (points.Select(point => point.At!.Value.Ratio).Distinct().Count() < FewestRatios) continue;
                var drawn = points.Select(point => (point.Row, point.At!.Value.Family, point.At.Value.Ratio)).ToArray();
                var lines = drawn.Select(point => point.Family).Distinct().Select((family, index) => (ColorOf(index).ToHex(), family));
                if (!isLegendShown) page.Legend([.. lines, (Colors.Gray.ToHex(), "plain")]);
                isLegendShown = true;
                var figure = Draw(panel.Key, axis(runs[0].Result), drawn, plain);
                page.Figure(figure, $"{name}-{Path.GetFileName(study)}-{panel.Key}", Caption(panel.Key, drawn), 560, 320);
            }
            const string Error = "\n± standard error";
            string[] columns =
            [
                "layers", "codec", "seeds", axis(runs[0].Result) + Error, "difference from plain" + Error, "kept bytes", "gradient cosine",
            ];
            if (rows.Count < Many) page.Table(columns, rows.Select(Cells));
            else page.TableBehind($"The values of all {rows.Count} settings", columns, rows.Select(Cells));
        }
    }

    // Further rows are hidden until they are opened.
    const int Many = 40;

    sealed record Row(
        string Layers, string Codec, int Seeds, double Mean, double Error, double Difference, double DifferenceError, double? KeptPercent,
        double? Cosine);

    IReadOnlyList<Row> Rows(IReadOnlyList<SweepRun> runs)
    {
        var plain = runs.Where(run => run.Plan.Codec == "none").ToDictionary(run => run.Plan.Pair, run => value(run.Result));
        return [.. runs.GroupBy(run => (run.Plan.Layers, run.Plan.Codec)).Select(row =>
        {
            var (mean, error) = Statistics.Mean([.. row.Select(run => value(run.Result))]);
            var paired = row.Where(run => run.Plan.Codec != "none" && plain.ContainsKey(run.Plan.Pair));
            var (difference, differenceError) = Statistics.Mean([.. paired.Select(run => value(run.Result) - plain[run.Plan.Pair])]);
            var kept = 100.0 * row.Sum(run => run.Result.KeptBytes) / row.Sum(run => run.Result.SavedBytes);
            var cosine = row.Average(run => run.Result.GradientCosine);
            return new Row(row.Key.Layers, row.Key.Codec, row.Count(), mean, error, difference, differenceError, kept, cosine);
        })];
    }

    static string[] Cells(Row row) =>
    [
        row.Layers, row.Codec, $"{row.Seeds}", PlusMinus(row.Mean, row.Error, "0.00"),
        PlusMinus(row.Difference, row.DifferenceError, "+0.00;-0.00"),
        row.KeptPercent is { } kept && double.IsFinite(kept) ? $"{Number(kept)} %" : "", Number(row.Cosine ?? double.NaN, "0.000"),
    ];

    string Caption(string layers, (Row Row, string Family, double Ratio)[] points)
    {
        var span = points.Max(point => point.Row.Mean) - points.Min(point => point.Row.Mean);
        if (span == 0) return $"{layers}. All trainings are the same: what these layers save comes back exact.";
        return span <= flat ? $"{layers}. Flat: all values lie within {Number(span)}, so compressing these hardly matters." : layers;
    }

    // The first line of the text, without the heading's mark.
    static string Question(string study) => File.ReadLines(Path.Combine(study, "question.md")).First().TrimStart('#', ' ');

    static (string Family, double Ratio)? Ratio(string codec)
    {
        if (ActivationCodec.Parse(codec).Keep is not Keep.TopK { Ratio: var ratio }) return null;
        var family = families.FirstOrDefault(known => codec.StartsWith(known.Key + ":", StringComparison.Ordinal));
        return family.Value is null
            ? null : (family.Value + (codec.Contains(",storage=paper", StringComparison.Ordinal) ? ", paper's storage" : ""), ratio);
    }

    static Plot Draw(string layers, string axis, (Row Row, string Family, double Ratio)[] points, Row? plain)
    {
        var plot = new Plot();
        plot.Title(layers);
        plot.XLabel("ratio");
        plot.YLabel(axis);
        var ratios = points.Select(point => point.Ratio).Distinct().Order().ToArray();
        foreach (var (index, family) in points.GroupBy(point => point.Family).Index())
        {
            var sorted = family.OrderBy(point => point.Ratio).ToArray();
            double[] places = [.. sorted.Select(point => (double)Array.IndexOf(ratios, point.Ratio))],
                means = [.. sorted.Select(point => point.Row.Mean)];
            plot.Add.Scatter(places, means, ColorOf(index));
        }
        if (plain is not null) plot.Add.HorizontalLine(plain.Mean, color: Colors.Gray);
        plot.Axes.Bottom.SetTicks(
            [.. ratios.Select((_, index) => (double)index)], [.. ratios.Select(ratio => ratio.ToString(CultureInfo.InvariantCulture))]);
        return plot;
    }

    internal static Color ColorOf(int family) => new ScottPlot.Palettes.Category10().GetColor(family);

    static string PlusMinus(double value, double error, string format) =>
        double.IsFinite(error) ? $"{Number(value, format)} ± {Number(error)}" : Number(value, format);

    // Empty where there is no number, such as the error of a single seed.
    internal static string Number(double number, string format = "0.00") =>
        double.IsFinite(number) ? number.ToString(format, CultureInfo.InvariantCulture) : "";

    /// <summary>Figures 6, 7 and 8.</summary>
    public static IReadOnlyList<Reproduction> Figures { get; } =
    [
        new SweepReproduction("fig6", "Figure 6: performance over ratios", "accuracy or DSC over ratios, by layers",
            "Score on the test set over compression ratios, by compressed layers; the grey line is plain training with the same seeds.",
            run => $"test {run.ScoreName}, %", flat: 0.3, run => 100 * run.TestScore),
        new SweepReproduction("fig7", "Figure 7: regularisation", "what training gains over test, over ratios",
            "Score on as many examples of the training set minus score on the test set: where compression regularises, the gap is narrower "
                + "than that of plain training.",
            _ => "training minus test, points", flat: 0.3, run => 100 * (run.TrainScore - run.TestScore)),
        new SweepReproduction("fig8", "Figure 8: time a batch", "time of a step over ratios",
            "Median time of forward pass, backward pass and optimizer. Trainings of a sweep share a machine with each other: compare "
                + "within a panel.",
            _ => "ms a batch", flat: 0, run => run.StepMs),
    ];
}
