using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Actipress.Experiments;

/// <summary>
/// The documents' tables of codecs, training steps and fidelity, from the newest results of <c>./dev bench --store</c>.
/// </summary>
public static class CodecTable
{
    /// <summary>The experiment that holds the results.</summary>
    public const string Folder = "codec-bench";

    /// <summary>The experiment that holds the results of fidelity.</summary>
    public const string FidelityFolder = "resnet20-fidelity";

    const string Map = "resnet20.relu";

    /// <exception cref="InvalidDataException">A line lacks a member; the message says which line and member.</exception>
    internal static MeasuredTable Write(IEnumerable<string> results)
    {
        var lines = results.Select(Json.TryParse).OfType<JsonElement>().ToArray();
        var (text, commits) = (new StringBuilder(), new HashSet<string>());
        text.AppendLine("| 64 MiB of ResNet-20's ReLU outputs | pack, of a `clone()` | unpack | both | bytes an element | PSNR |");
        text.AppendLine("|---|---|---|---|---|---|");
        foreach (var line in Newest("codecs", "codec", line => Text(line, "map") == Map))
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| `{Text(line, "codec")}` | {Number(line, "pack_ms") / Number(line, "clone_ms"):0.00} | "
                    + $"{Number(line, "unpack_ms") / Number(line, "clone_ms"):0.00} | {Number(line, "clones"):0.00} | "
                    + $"{Number(line, "bytes_per_element"):0.000} | {Number(line, "psnr_db"):0.0} dB |");
        if (Newest("steps", "network", _ => true).Any())
            text.AppendLine().AppendLine("| training step, all layers | codec | time, of the plain step | saved maps | kept |")
                .AppendLine("|---|---|---|---|---|");
        foreach (var line in Newest("steps", "network", _ => true))
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {Text(line, "network")} | `{Text(line, "codec")}` | {Number(line, "ratio"):0.00} | "
                    + $"{Number(line, "saved_bytes") / 1048576:0.0} MiB | {Number(line, "kept_bytes") / 1048576:0.0} MiB |");
        Scaling();
        if (lines.Length == 0) return new("", []);
        text.AppendLine().AppendLine($"Medians; {string.Join("; ", Origins())}.");
        return new(text.ToString().ReplaceLineEndings("\n"), [.. commits]);

        IEnumerable<JsonElement> Newest(string kind, string key, Func<JsonElement, bool> wanted) =>
            NewestOf(kind, line => Text(line, key), wanted);

        IEnumerable<JsonElement> NewestOf<T>(string kind, Func<JsonElement, T> key, Func<JsonElement, bool> wanted) =>
            lines.Where(line => Text(line, "kind") == kind && wanted(Object(line, "result")))
                .GroupBy(line => key(Object(line, "result"))).Select(same =>
                {
                    commits.Add(Text(Object(same.Last(), "provenance"), "commit"));
                    return Object(same.Last(), "result");
                });

        // The machines and commits of the newest results of each table.
        IEnumerable<string> Origins()
        {
            var tables = new[] { "codecs", "steps", "scaling" }.Where(kind => lines.Any(line => Text(line, "kind") == kind)).GroupBy(kind =>
            {
                var from = Object(lines.Last(line => Text(line, "kind") == kind), "provenance");
                return $"{Text(from, "machine")} with {Integer(from, "cores")} cores, commit {Text(from, "commit")}";
            }).ToArray();
            return tables.Length == 1 ? [tables[0].Key] : tables.Select(table => $"{string.Join(" and ", table)}: {table.Key}");
        }

        // A row for each number of threads, a column for each size.
        void Scaling()
        {
            var rows = NewestOf("scaling", line => (Mebibytes(line), Threads(line)), _ => true).GroupBy(Threads)
                .OrderBy(row => row.Key).ToArray();
            if (rows.Length == 0) return;
            var sizes = rows.SelectMany(row => row.Select(Mebibytes)).Distinct().Order().ToArray();
            text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"| pack and unpack with `{Text(rows[0].First(), "codec")}`, ms (of "
                + $"a `clone()` with as many threads) |{string.Concat(sizes.Select(size => $" {size} MiB |"))}");
            text.AppendLine(string.Concat(Enumerable.Repeat("|---", sizes.Length + 1)) + "|");
            foreach (var row in rows)
            {
                text.Append(CultureInfo.InvariantCulture, $"| {row.Key} {(row.Key == 1 ? "thread" : "threads")} |");
                foreach (var size in sizes)
                    text.Append(row.FirstOrDefault(line => Mebibytes(line) == size) is { ValueKind: JsonValueKind.Object } line
                        ? string.Create(
                            CultureInfo.InvariantCulture,
                            $" {Number(line, "pack_ms") + Number(line, "unpack_ms"):0.0} ({Number(line, "clones"):0.00}) |")
                        : " |");
                text.AppendLine();
            }
        }

        static long Threads(JsonElement line) => Integer(line, "threads");

        // A map is a little smaller than its nominal size.
        static long Mebibytes(JsonElement line) => (Integer(line, "elements") * sizeof(float) + (1 << 19)) >> 20;
    }

    /// <summary>
    /// The table of each codec's bytes and fidelity: adapted to each layer, or as it is where that alone was measured.
    /// </summary>
    /// <exception cref="InvalidDataException">A line lacks a member; the message says which line and member.</exception>
    internal static MeasuredTable Fidelity(IEnumerable<string> results)
    {
        var newest = results.Select(Json.TryParse).OfType<JsonElement>().Where(line => Text(line, "kind") == "fidelity")
            .Select(line => (Result: Object(line, "result"), From: Object(line, "provenance")))
            .GroupBy(line => Text(line.Result, "codec"))
            .Select(same => same.LastOrDefault(line => Flag(line.Result, "adapted"), same.Last())).ToArray();
        if (newest.Length == 0) return new("", []);
        var text = new StringBuilder("| codec | bytes an element | cosine | norm ratio |\n|---|---|---|---|\n");
        foreach (var (result, _) in newest)
            text.Append(CultureInfo.InvariantCulture, $"| `{Text(result, "codec")}` | {Number(result, "bytes_per_element"):0.000} | "
                + $"{Number(result, "cosine"):0.0000} | {Number(result, "norm_ratio"):0.00} |\n");
        var commits = newest.Select(line => Text(line.From, "commit")).Distinct().ToArray();
        var last = newest[^1].From;
        text.Append(CultureInfo.InvariantCulture, $"\n{Text(last, "machine")} with {Integer(last, "cores")} cores, TorchSharp "
            + $"{Text(last, "torch_sharp")}, {MeasuredTable.InWords(commits)}.\n");
        return new($"{text}", commits);
    }

    /// <summary>
    /// The times of training steps with every layer compressed, relative to plain steps: the newest result of each network.
    /// </summary>
    internal static IReadOnlyList<(string Network, string Codec, double Ratio)> Steps(IEnumerable<string> results) =>
    [
        .. results.Select(Json.TryParse).OfType<JsonElement>().Where(line => Text(line, "kind") == "steps")
            .Select(line => Object(line, "result")).GroupBy(step => Text(step, "network"))
            .Select(same => (same.Key, Text(same.Last(), "codec"), Number(same.Last(), "ratio"))),
    ];

    static bool Flag(JsonElement line, string name) =>
        line.TryGetProperty(name, out var found) && found.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? found.GetBoolean() : throw No("true or false", line, name);

    static string Text(JsonElement line, string name) => Field(line, name, JsonValueKind.String, "text").GetString()!;

    static double Number(JsonElement line, string name) => Field(line, name, JsonValueKind.Number, "number").GetDouble();

    static long Integer(JsonElement line, string name) =>
        Field(line, name, JsonValueKind.Number, "whole number").TryGetInt64(out var value) ? value : throw No("whole number", line, name);

    static JsonElement Object(JsonElement line, string name) => Field(line, name, JsonValueKind.Object, "object");

    static JsonElement Field(JsonElement line, string name, JsonValueKind kind, string what) =>
        line.ValueKind == JsonValueKind.Object && line.TryGetProperty(name, out var found) && found.ValueKind == kind
            ? found : throw No(what, line, name);

    static InvalidDataException No(string what, JsonElement line, string name) =>
        new($"The results of ./dev bench --store have no {what} '{name}' in {Json.Beginning(line)}: wanted what the command writes. "
            + "Take the line out, or measure again.");
}
