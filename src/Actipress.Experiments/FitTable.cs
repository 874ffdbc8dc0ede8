using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Actipress.Experiments;

/// <summary>The README's table of the largest batches and patches, from the newest results of <c>./dev bench fits --store</c>.</summary>
public static class FitTable
{
    /// <summary>The experiment that holds the results.</summary>
    public const string Folder = "largest-batch";

    sealed record Measured(MemoryFit Result, Provenance Provenance);

    internal static MeasuredTable Write(IReadOnlyList<JsonElement> lines)
    {
        var newest = lines.Where(line => line.Has("kind", "fits"))
            .Select(line => Json.Read<Measured>(line.GetRawText()) ?? throw new InvalidDataException(
                $"experiments/{Folder}/results.jsonl has a line of kind fits that is no result: {line}"))
            .GroupBy(one => (one.Result.Network, one.Result.Codec)).Select(same => same.Last()).ToArray();
        if (newest.Length == 0) return new("", []);
        var text = new StringBuilder();
        text.AppendLine("| network | codec | largest, plain | compressed | times | one such step took, plain | compressed |");
        text.AppendLine("|---|---|---|---|---|---|---|");
        foreach (var (fit, _) in newest)
            text.AppendLine(CultureInfo.InvariantCulture, $"| {fit.Network} | `{fit.Codec}` | {MemoryFit.Size(fit.Plain.Largest)} | "
                + $"{MemoryFit.Size(fit.Compressed.Largest)} | {fit.Times:0.0} | {Took(fit.Plain)} | {Took(fit.Compressed)} |");
        var commits = newest.Select(one => one.Provenance.Commit).Distinct().ToArray();
        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"In {newest[0].Result.MemoryBytes >> 30} GiB, predicted from small steps on a CPU; "
            + $"{MeasuredTable.InWords(commits)}.");
        return new($"{text}", commits);

        static FormattableString Took(MemoryFit.Step step) =>
            step.LargestBytes is { } bytes ? $"{bytes / (double)(1 << 30):0.0} GiB" : (FormattableString)$"";
    }
}
