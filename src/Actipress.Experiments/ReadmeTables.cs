using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Actipress.Experiments;

/// <summary>The README's tables of results, each from a stored results file that the line above it names.</summary>
public static class ReadmeTables
{
    const string End = "<!-- end of results -->";

    // A line here adds a table; the README has a place for each.
    static readonly (string Results, Func<ResultsFile, string> Table)[] all =
    [
        ("experiments/mnist-lenet", Trainings),
        ($"experiments/{CodecTable.Folder}", results => CodecTable.Write(results.Lines().Select(line => line.GetRawText()))),
        ("experiments/paper", Memory),
    ];

    static string Begin(string results) => $"<!-- results: written by ./dev readme from {results}/results.jsonl -->";

    /// <summary>The README with its tables written anew.</summary>
    /// <param name="repository">The folder of README.md and experiments.</param>
    /// <exception cref="InvalidDataException">The README has no place for a table.</exception>
    public static string Update(string repository)
    {
        var readme = File.ReadAllText(Path.Combine(repository, "README.md"));
        foreach (var (results, table) in all)
        {
            var begin = readme.IndexOf(Begin(results), StringComparison.Ordinal);
            var end = begin < 0 ? -1 : readme.IndexOf(End, begin, StringComparison.Ordinal);
            if (end < 0) throw new InvalidDataException($"The README has no place for its results: wanted the lines '{Begin(results)}' and '{End}'.");
            var text = table(new ResultsFile(Path.Combine(repository, results))).ReplaceLineEndings("\n");
            readme = readme[..(begin + Begin(results).Length)] + "\n" + (text.Length == 0 ? "No results yet.\n" : text) + readme[end..];
        }
        return readme;
    }

    static string Trainings(ResultsFile results)
    {
        var runs = results.Lines().Where(line => line.GetProperty("kind").GetString() == "train").Select(line => line.GetProperty("result")).ToArray();
        if (runs.Length == 0) return "";
        var text = new StringBuilder();
        text.AppendLine("| LeNet on MNIST | test accuracy | saved maps | allocator after forward | time a batch | gradient cosine |");
        text.AppendLine("|---|---|---|---|---|---|");
        foreach (var run in runs)
        {
            var (plain, packed) = (run.GetProperty("baseline"), run.GetProperty("compressed"));
            if (run.Equals(runs[0])) Row("plain", plain, plain.GetProperty("after_forward_bytes"), packed.GetProperty("saved_bytes"), 1);
            Row($"`{run.GetProperty("codec").GetString()}`, all layers", packed, packed.GetProperty("after_forward_bytes"), packed.GetProperty("kept_bytes"), packed.GetProperty("gradient_cosine").GetDouble());
        }
        var (last, from) = (runs[^1], runs[^1].GetProperty("provenance"));
        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{last.GetProperty("epochs").GetInt32()} epochs, one seed, {from.GetProperty("machine").GetString()} with {from.GetProperty("cores").GetInt32()} cores, TorchSharp {from.GetProperty("torch_sharp").GetString()}, commit {from.GetProperty("commit").GetString()}.");
        return $"{text}";

        void Row(string name, JsonElement run, JsonElement afterForward, JsonElement maps, double cosine) => text.AppendLine(CultureInfo.InvariantCulture,
            $"| {name} | {100 * run.GetProperty("test_accuracy").GetDouble():0.00} % | {Sizes.MiB(maps.GetInt64()):0.00} MiB | {Sizes.MiB(afterForward.GetInt64()):0.00} MiB | {run.GetProperty("step_ms").GetDouble():0.0} ms | {cosine:0.000} |");
    }

    static string Memory(ResultsFile results)
    {
        var pieces = StoredPiece.Read(results).Values.Where(piece => piece.Result.ValueKind == JsonValueKind.Array && piece.Result[0].TryGetProperty("floor_bytes", out _)).ToArray();
        var measured = pieces.SelectMany(piece => piece.As<MemoryResult[]>()).GroupBy(result => (result.Network, result.Batch, Input: string.Join(" x ", result.Input))).ToArray();
        if (measured.Length == 0) return "";
        var text = new StringBuilder();
        text.AppendLine("| MiB | floor | plain | `dct:10` | `dct:100` | plain peak | peak, `dct:10` |");
        text.AppendLine("|---|---|---|---|---|---|---|");
        foreach (var network in measured)
            if (network.LastOrDefault(result => result.Codec == "dct:10") is { } ten && network.LastOrDefault(result => result.Codec == "dct:100") is { } hundred)
                text.AppendLine(CultureInfo.InvariantCulture, $"| {network.Key.Network}, {network.Key.Batch} of {network.Key.Input} | {Sizes.MiB(ten.FloorBytes):0} | {Sizes.MiB(ten.BaselineBytes):0} | {Sizes.MiB(ten.AfterForwardBytes):0} | {Sizes.MiB(hundred.AfterForwardBytes):0} | {(ten.BaselinePeakBytes is { } plain ? $"{Sizes.MiB(plain):0}" : "")} | {(ten.PeakBytes is { } peak ? $"{Sizes.MiB(peak):0}" : "")} |");
        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{pieces[^1].Machine}.");
        return $"{text}";
    }
}
