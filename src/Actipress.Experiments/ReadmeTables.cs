using System.Globalization;
using System.Text;
using System.Text.Json;
using static System.FormattableString;

namespace Actipress.Experiments;

/// <summary>Writes the documents' tables of results, each from the experiments in the line above it.</summary>
public static class ReadmeTables
{
    const string End = "<!-- end of results -->";

    // A line here adds a table, for which the document must have a place.
    static readonly (string Document, string[] Experiments, Func<string[], MeasuredTable> Table)[] all =
    [
        ("README.md", ["mnist-lenet-10-epochs", "cifar10-resnet", "cifar10-resnet-24-epochs", "hippocampus-unet3d"], Sweeps),
        ("README.md", [CodecTable.Folder], folders => CodecTable.Write(Lines(folders[0]))),
        ("README.md", ["paper"], folders => Memory(new ResultsFile(folders[0]))),
        ("README.md", [FitTable.Folder], folders => FitTable.Write(new ResultsFile(folders[0]).Lines())),
        ("docs/volumes.md", ["hippocampus-patches"], Sweeps),
        ("docs/choosing.md", [CodecTable.FidelityFolder], folders => CodecTable.Fidelity(Lines(folders[0]))),
    ];

    static IEnumerable<string> Lines(string folder) => new ResultsFile(folder).Lines().Select(line => line.GetRawText());

    /// <summary>The documents that have tables of results, as paths in the repository.</summary>
    public static IEnumerable<string> Documents => all.Select(table => table.Document).Distinct();

    /// <summary>The text of a document with new tables.</summary>
    /// <param name="repository">The folder of README.md, docs and experiments.</param>
    /// <param name="document">One of <see cref="Documents"/>.</param>
    /// <exception cref="InvalidDataException">
    /// The document has no place for a table, or a table that would change has figures of a dirty commit.
    /// </exception>
    public static string Update(string repository, string document)
    {
        var text = File.ReadAllText(Path.Combine(repository, document));
        foreach (var (_, experiments, table) in all.Where(table => table.Document == document))
        {
            var from = string.Join(", ", experiments.Select(name => $"experiments/{name}"));
            var mark = $"<!-- results: written by ./dev readme from {from} -->";
            var begin = text.IndexOf(mark, StringComparison.Ordinal);
            var end = begin < 0 ? -1 : text.IndexOf(End, begin, StringComparison.Ordinal);
            if (end < 0) throw new InvalidDataException($"{document} has no place for its results: wanted the lines '{mark}' and '{End}'.");
            begin += mark.Length;
            var measured = table([.. experiments.Select(name => Path.Combine(repository, "experiments", name))]);
            var rows = "\n" + (measured.Text.Length == 0 ? "No results yet.\n" : measured.Text.ReplaceLineEndings("\n"));
            if (rows != text[begin..end] && measured.DirtyCommits is { Length: > 0 } dirty)
                throw new InvalidDataException($"The table of {from} in {document} would have figures of {string.Join(", ", dirty)}: "
                    + "sources that were never committed, and that nobody can build again. Commit, and measure these figures again.");
            text = text[..begin] + rows + text[end..];
        }
        return text;
    }

    static MeasuredTable Sweeps(string[] folders)
    {
        var text = new StringBuilder();
        text.AppendLine("| trained | layers | codec | test score | against plain | maps kept | after forward | peak | gradient cosine |");
        text.AppendLine("|---|---|---|---|---|---|---|---|---|");
        var runs = new List<SweepRun>();
        foreach (var sweep in folders.Select(folder => new Sweep(folder)))
        {
            runs.AddRange(sweep.Done());
            foreach (var (i, row) in SweepSummary.Of(sweep).Rows.Index())
            {
                var what = i == 0 ? sweep.Plans[0].Title() : "";
                var (layers, codec) = row.Codec == "none" ? ("", "plain") : (row.Layers, $"`{row.Codec}`");
                var score = Score((row.TestAccuracy ?? row.TestDsc)!.Value, row.StandardError);
                var difference = row.Difference is { } against ? Score(against, row.DifferenceStandardError) : "";
                var kept = row.KeptPercent is { } percent ? Invariant($"{percent:0.0} %") : "";
                var cosine = row.GradientCosine is { } known && double.IsFinite(known) ? Invariant($"{known:0.000}") : "";
                text.AppendLine(string.Create(CultureInfo.InvariantCulture, $"| {what} | {layers} | {codec} | {score} | {difference} | "
                    + $"{kept} | {MiB(row.AfterForwardBytes)} | {MiB(row.PeakBytes)} | {cosine} |"));
            }
        }
        if (runs.Count == 0) return new("", []);
        static string MiB(long? bytes) => bytes is { } known ? Invariant($"{Sizes.MiB(known):0.0} MiB") : "";
        var from = runs[^1].Provenance;
        text.AppendLine();
        var commits = runs.Select(run => run.Provenance.Commit).Distinct().ToArray();
        var seeds = runs.Max(run => run.Plan.Seed);
        text.AppendLine(Invariant(
            $"Accuracy or DSC in percent, mean and standard error of {seeds} seeds; {from.Machine}, one thread each,"));
        text.AppendLine(Invariant($"TorchSharp {from.TorchSharp}, {MeasuredTable.InWords(commits)}."));
        return new($"{text}", commits);

        static string Score(double score, double? error) =>
            Invariant($"{100 * score:0.00}") + (error is { } known ? Invariant($" ± {100 * known:0.00}") : "");
    }

    static MeasuredTable Memory(ResultsFile results)
    {
        var pieces = StoredPiece.Read(results).Values.Where(piece => IsMemory(piece.Result)).ToArray();
        var measured = pieces.SelectMany(piece => piece.As<MemoryResult[]>())
            .GroupBy(result => (result.Network, result.Batch, Input: string.Join(" x ", result.Input))).ToArray();
        if (measured.Length == 0) return new("", []);
        var text = new StringBuilder();
        text.AppendLine("| MiB | floor | plain | `dct:10` | `dct:100` | plain peak | peak, `dct:10` |");
        text.AppendLine("|---|---|---|---|---|---|---|");
        foreach (var network in measured)
            if (network.LastOrDefault(result => result.Codec == "dct:10") is { } ten
                && network.LastOrDefault(result => result.Codec == "dct:100") is { } hundred)
                text.AppendLine(CultureInfo.InvariantCulture, $"| {network.Key.Network}, {network.Key.Batch} of {network.Key.Input} | "
                    + $"{Sizes.MiB(ten.FloorBytes):0} | {Sizes.MiB(ten.BaselineBytes):0} | {Sizes.MiB(ten.AfterForwardBytes):0} | "
                    + $"{Sizes.MiB(hundred.AfterForwardBytes):0} | {(ten.BaselinePeakBytes is { } plain ? $"{Sizes.MiB(plain):0}" : "")} | "
                    + $"{(ten.PeakBytes is { } peak ? $"{Sizes.MiB(peak):0}" : "")} |");
        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{pieces[^1].Machine}.");
        return new($"{text}", [.. pieces.Select(piece => piece.Commit).Distinct()]);

        static bool IsMemory(JsonElement result) =>
            result.ValueKind == JsonValueKind.Array && result.EnumerateArray().FirstOrDefault() is { ValueKind: JsonValueKind.Object } first
            && first.TryGetProperty("floor_bytes", out _);
    }
}

/// <summary>A table of results.</summary>
/// <param name="Text">In Markdown; empty where there are no results.</param>
/// <param name="Commits">The commits from which its figures were measured.</param>
public sealed record MeasuredTable(string Text, IReadOnlyList<string> Commits)
{
    /// <summary>Some commits, for the line below a table.</summary>
    public static string InWords(string[] commits) => $"commit{(commits.Length > 1 ? "s" : "")} {string.Join(", ", commits)}";

    /// <summary>The commits with uncommitted changes.</summary>
    public string[] DirtyCommits => [.. Commits.Where(Provenance.IsDirty)];
}
