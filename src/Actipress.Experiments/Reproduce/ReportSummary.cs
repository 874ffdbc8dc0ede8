using System.Globalization;

namespace Actipress.Experiments;

/// <summary>The page's first screen: what compression gives and costs, in memory, accuracy and time.</summary>
static class ReportSummary
{
    const string Codec = "dct:10";

    /// <summary>Three tables beside each other, as far as there are results.</summary>
    public static void Show(HtmlPage page, Reproduction.Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        var (memory, scores, times) = (Memory(done), Scores(context).ToArray(), Times(context));
        if (memory.Length + scores.Length + times.Count == 0) return;
        page.Paragraph($"Every layer compressed by {Codec}, the default, beside plain training:");
        page.BeginBeside();
        if (memory.Length > 0)
            page.Part("Memory, MiB", ["network", "plain", "the paper's", "ours", "peak of a step"], memory,
                "After the forward pass; last, ours of plain at the peak of the whole step. The paper's: the lowest that it gives, at ratio 100.");
        if (scores.Length > 0) page.Part("Test score, %", ["trained", "plain", "ours", "difference"], scores, "Accuracy or DSC: mean and standard error over seeds.");
        if (times.Count > 0)
            page.Part("Time of a step", ["network", "times as long"], times.Select(step => (string[])[step.Network, Number(step.Ratio, "0.00")]), "Medians of many steps, in turn with plain ones.");
        page.EndBeside();
    }

    static string[][] Memory(IReadOnlyDictionary<string, StoredPiece> done)
    {
        var rows = TableReproduction.StoredRows(done);
        return
        [
            .. from setting in PaperTables.Settings("table2")
               let ours = TableReproduction.Measured(done, setting.Network.Name, setting.Batch, setting.Input).LastOrDefault(result => result.Codec == Codec)
               where ours is not null
               select (string[])
               [
                   $"{ours.Network}, {ours.Batch} x {string.Join(" x ", ours.Input)}", MiB(ours.BaselineBytes), TableReproduction.Lowest(rows, ours) is { } paper ? Number(paper, "0") : "",
                   MiB(ours.AfterForwardBytes), ours is { PeakBytes: { } peak, BaselinePeakBytes: { } of } ? $"{MiB(peak)} of {MiB(of)}" : "",
               ],
        ];
    }

    static IEnumerable<string[]> Scores(Reproduction.Context context)
    {
        foreach (var study in SweepReproduction.Studies(context.Experiments))
        {
            var sweep = new Sweep(study);
            var rows = SweepSummary.Of(sweep).Rows;
            if (rows.FirstOrDefault(row => row.Codec == "none") is not { } plain || rows.FirstOrDefault(row => row.Codec == Codec && row.Layers == "all") is not { } ours) continue;
            var plan = sweep.Plans[0];
            yield return
            [
                $"{plan.Model}, {plan.Data}, {plan.Epochs} {(plan.Epochs == 1 ? "epoch" : "epochs")}", Score(plain.TestAccuracy ?? plain.TestDsc, plain.StandardError),
                Score(ours.TestAccuracy ?? ours.TestDsc, ours.StandardError), Score(ours.Difference, ours.DifferenceStandardError, "+0.00;-0.00"),
            ];
        }
    }

    static IReadOnlyList<(string Network, string Codec, double Ratio)> Times(Reproduction.Context context)
    {
        var file = Path.Combine(context.Experiments, CodecTable.Folder, "results.jsonl");
        return File.Exists(file) ? CodecTable.Steps(File.ReadAllLines(file)) : [];
    }

    static string Score(double? share, double? error, string format = "0.00") =>
        share is { } known ? Number(100 * known, format) + (error is { } spread ? $" ± {Number(100 * spread, "0.00")}" : "") : "";

    static string MiB(long bytes) => Number(Sizes.MiB(bytes), "0");

    static string Number(double number, string format) => double.IsFinite(number) ? number.ToString(format, CultureInfo.InvariantCulture) : "";
}
