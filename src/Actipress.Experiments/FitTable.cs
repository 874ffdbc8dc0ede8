using System.Globalization;
using System.Text;
using System.Text.Json;
using ScottPlot;

namespace Actipress.Experiments;

/// <summary>
/// The tables of the largest batches and patches, in README and report, from the newest results of <c>./dev bench fits --store</c>.
/// </summary>
public static class FitTable
{
    /// <summary>The experiment that holds the results.</summary>
    public const string Folder = "largest-batch";

    sealed record Measured(MemoryFit Result, Provenance Provenance);

    // The newest result of each network and codec.
    static Measured[] Newest(IReadOnlyList<JsonElement> lines) =>
    [
        .. lines.Where(line => line.Has("kind", "fits"))
            .Select(line => Json.Read<Measured>(line.GetRawText()) ?? throw new InvalidDataException(
                $"experiments/{Folder}/results.jsonl has a line of kind fits that is no result: {line}"))
            .GroupBy(one => (one.Result.Network, one.Result.Codec)).Select(same => same.Last()),
    ];

    /// <summary>Adds the results to a page, with a figure.</summary>
    /// <param name="page">The page.</param>
    /// <param name="experiments">The folder with the experiments and their results.</param>
    public static void Show(HtmlPage page, string experiments)
    {
        ArgumentNullException.ThrowIfNull(page);
        page.Section("The largest batch and the largest patch");
        var newest = Newest(new ResultsFile(Path.Combine(experiments, Folder)).Lines());
        if (newest.Length == 0)
        {
            page.Paragraph("Not run yet: ./dev bench fits --store");
            return;
        }
        page.Paragraph($"What fits in {newest[0].Result.MemoryBytes >> 30} GiB with the model and its input: the largest batch, or the "
            + "largest patch of a network that the paper trains on one example a step. Predicted from small steps; then one step of that "
            + "size was run, whose peak stands beside.");
        page.Figure(
            Draw([.. newest.Select(one => one.Result)]), "largest-batch",
            "The largest compressed step's elements over those of the largest plain step.", 760, 120 + 40 * newest.Length);
        page.Table(
            ["network", "codec", "plain", "compressed", "times", "took, plain", "compressed", "commit"],
            newest.Select(one => (string[])[one.Result.Network, one.Result.Codec, .. Sizes(one.Result), one.Provenance.Commit]));
    }

    // A bar for each network, the first at the top.
    static Plot Draw(IReadOnlyList<MemoryFit> fits)
    {
        var plot = new Plot();
        var bars = plot.Add.Bars(fits.Select((fit, index) => new Bar
        {
            Position = -index,
            Value = fit.Times,
            Orientation = Orientation.Horizontal,
            Size = 0.6,
            FillColor = plot.Add.Palette.GetColor(0),
            LineWidth = 0,
            Label = Times(fit),
        }).ToArray());
        bars.Horizontal = true;
        plot.Add.VerticalLine(1, color: Colors.Gray);
        plot.Axes.Left.SetTicks([.. fits.Select((_, index) => -(double)index)], [.. fits.Select(fit => fit.Network)]);
        plot.XLabel("times the plain one");
        plot.Axes.SetLimitsX(0, 1.15 * fits.Max(fit => fit.Times));
        return plot;
    }

    // What is said of a fit: both sizes, how many times the one is the other, and what a step of each took.
    static string[] Sizes(MemoryFit fit) =>
        [MemoryFit.Size(fit.Plain.Largest), MemoryFit.Size(fit.Compressed.Largest), Times(fit), Took(fit.Plain), Took(fit.Compressed)];

    static string Times(MemoryFit fit) => string.Create(CultureInfo.InvariantCulture, $"{fit.Times:0.0}");

    static string Took(MemoryFit.Step step) => step.LargestBytes is { } bytes
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 30):0.0} GiB") : "";

    internal static MeasuredTable Write(IReadOnlyList<JsonElement> lines)
    {
        var newest = Newest(lines);
        if (newest.Length == 0) return new("", []);
        var text = new StringBuilder();
        text.AppendLine("| network | codec | largest, plain | compressed | times | one such step took, plain | compressed |");
        text.AppendLine("|---|---|---|---|---|---|---|");
        foreach (var (fit, _) in newest)
            text.AppendLine(CultureInfo.InvariantCulture, $"| {fit.Network} | `{fit.Codec}` | {string.Join(" | ", Sizes(fit))} |");
        var commits = newest.Select(one => one.Provenance.Commit).Distinct().ToArray();
        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"In {newest[0].Result.MemoryBytes >> 30} GiB, predicted from small steps on a CPU, "
            + $"and one step of each size run; {MeasuredTable.InWords(commits)}.");
        return new($"{text}", commits);
    }
}
