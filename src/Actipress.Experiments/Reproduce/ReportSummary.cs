using ScottPlot;

namespace Actipress.Experiments;

/// <summary>The page's first screen: the gain and the cost of compression, in memory, accuracy and time.</summary>
static class ReportSummary
{
    const string Codec = "dct:10";

    /// <summary>Three tables beside each other, where there are results.</summary>
    public static void Show(HtmlPage page, Reproduction.Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        var studies = SweepReproduction.Studies(context.Experiments).Select(study => new Sweep(study))
            .Select(sweep => (sweep.Plans[0], SweepSummary.Of(sweep).Rows)).ToArray();
        var (memory, scores, times) = (Memory(done), Scores(studies).ToArray(), Times(context));
        if (memory.Length + scores.Length + times.Count == 0) return;
        page.Paragraph($"Every layer compressed by {Codec}, the default, beside plain training:");
        page.BeginBeside();
        if (memory.Length > 0)
            page.Part("Memory, MiB", ["network", "plain", "the paper's", "ours", "peak of a step"], memory,
                "After the forward pass; last, ours of plain at the peak of a whole step. The paper's: the lowest that it gives, "
                    + "at ratio 100.");
        if (scores.Length > 0)
            page.Part(
                "Test score, %", ["trained", "plain", "ours", "difference"], scores,
                "Accuracy or DSC: mean and standard error over seeds.");
        var steps = times.Select(step => (string[])[step.Network, SweepReproduction.Number(step.Ratio, "0.00")]);
        if (times.Count > 0)
            page.Part("Time of a step", ["network", "times as long"], steps, "Medians of many steps, in turn with plain ones.");
        page.EndBeside();
        ShowTradeOff(page, studies);
    }

    // Each setting of each sweep is a point: the kept bytes, and the loss of test score.
    static void ShowTradeOff(HtmlPage page, IReadOnlyList<(TrainingPlan Plan, IReadOnlyList<SweepRow> Rows)> studies)
    {
        var all = from study in studies
                  from row in study.Rows
                  where row.Difference is not null
                  let storage = row.Codec.Contains("storage=paper", StringComparison.Ordinal) ? ", the paper's storage" : ""
                  select (
                      Name: $"{study.Plan.Title()}{storage}", Row: row, Plain: study.Rows.FirstOrDefault(plain => plain.Codec == "none"));
        var trained = all.GroupBy(point => point.Name).ToArray();
        if (trained.Length == 0) return;
        page.Heading("Test score against bytes and memory");
        page.Legend(trained.Select((points, index) => (ColorOf(index), points.Key)));
        Figure(
            "bytes", "kept bytes, % of the saved maps",
            "A point for each setting: its test score less that of plain training, over what it keeps of the maps.",
            point => point.Row.KeptPercent);
        Figure("memory", "peak of a step, % of plain", "The same over the peak of the whole step.",
            point => point is { Row.PeakBytes: { } ours, Plain.PeakBytes: { } plain } ? 100.0 * ours / plain : null);

        void Figure(string name, string axis, string caption, Func<(string Name, SweepRow Row, SweepRow? Plain), double?> of)
        {
            var plot = new Plot();
            plot.XLabel(axis);
            plot.YLabel("difference from plain, points");
            foreach (var (index, points) in trained.Index())
            {
                var known = points.Where(point => of(point) is { } x && double.IsFinite(x)).ToArray();
                double[] places = [.. known.Select(point => of(point)!.Value)],
                    values = [.. known.Select(point => 100 * point.Row.Difference!.Value)];
                plot.Add.ScatterPoints(places, values, Color.FromHex(ColorOf(index)));
            }
            plot.Add.HorizontalLine(0, color: Colors.Gray);
            page.Figure(plot, $"summary-{name}", caption, 560, 320);
        }
    }

    static string ColorOf(int index) => SweepReproduction.ColorOf(index).ToHex();

    static string[][] Memory(IReadOnlyDictionary<string, StoredPiece> done)
    {
        var rows = TableReproduction.StoredRows(done);
        return
        [
            .. from setting in PaperTables.Settings("table2")
               let measured = TableReproduction.Measured(done, setting.Network.Name, setting.Batch, setting.Input)
               let ours = measured.LastOrDefault(result => result.Codec == Codec)
               where ours is not null
               select (string[])
               [
                   $"{ours.Network}, {ours.Batch} x {string.Join(" x ", ours.Input)}", MiB(ours.BaselineBytes),
                   TableReproduction.Lowest(rows, ours) is { } paper ? SweepReproduction.Number(paper, "0") : "",
                   MiB(ours.AfterForwardBytes),
                   ours is { PeakBytes: { } peak, BaselinePeakBytes: { } of } ? $"{MiB(peak)} of {MiB(of)}" : "",
               ],
        ];
    }

    static IEnumerable<string[]> Scores(IReadOnlyList<(TrainingPlan Plan, IReadOnlyList<SweepRow> Rows)> studies)
    {
        foreach (var (plan, rows) in studies)
        {
            if (rows.FirstOrDefault(row => row.Codec == "none") is not { } plain) continue;
            if (rows.FirstOrDefault(row => row.Codec == Codec && row.Layers == "all") is not { } ours) continue;
            yield return
            [
                plan.Title(), Score(plain.TestAccuracy ?? plain.TestDsc, plain.StandardError),
                Score(ours.TestAccuracy ?? ours.TestDsc, ours.StandardError),
                Score(ours.Difference, ours.DifferenceStandardError, "+0.00;-0.00"),
            ];
        }
    }

    static IReadOnlyList<(string Network, string Codec, double Ratio)> Times(Reproduction.Context context)
    {
        var file = Path.Combine(context.Experiments, CodecTable.Folder, "results.jsonl");
        return File.Exists(file) ? CodecTable.Steps(File.ReadAllLines(file)) : [];
    }

    static string Score(double? share, double? error, string format = "0.00") =>
        share is { } known
            ? SweepReproduction.Number(100 * known, format)
                + (error is { } spread ? $" ± {SweepReproduction.Number(100 * spread, "0.00")}" : "")
            : "";

    static string MiB(long bytes) => SweepReproduction.Number(Sizes.MiB(bytes), "0");
}
