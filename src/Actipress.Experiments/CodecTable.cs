using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Actipress.Experiments;

/// <summary>The README's tables of codecs and training steps, from what <c>./dev bench --store</c> stored: of each the newest.</summary>
public static class CodecTable
{
    /// <summary>The experiment that holds the results.</summary>
    public const string Folder = "codec-bench";

    const string Map = "resnet20.relu";

    internal static string Write(IEnumerable<string> results)
    {
        var lines = results.Select(Json.TryParse).OfType<JsonElement>().ToArray();
        var text = new StringBuilder();
        text.AppendLine("| 64 MiB of ResNet-20's ReLU outputs | pack | unpack | both, of a `clone()` | bytes an element | PSNR |");
        text.AppendLine("|---|---|---|---|---|---|");
        foreach (var line in Newest("codecs", "codec", line => Text(line, "map") == Map))
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| `{Text(line, "codec")}` | {Number(line, "pack_ms"):0.0} ms | {Number(line, "unpack_ms"):0.0} ms | {Number(line, "clones"):0.00} | {Number(line, "bytes_per_element"):0.000} | {Number(line, "psnr_db"):0.0} dB |");
        text.AppendLine();
        text.AppendLine("| training step, all layers | codec | plain | compressed | ratio | saved maps | kept |");
        text.AppendLine("|---|---|---|---|---|---|---|");
        foreach (var line in Newest("steps", "network", _ => true))
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {Text(line, "network")} | `{Text(line, "codec")}` | {Number(line, "plain_ms"):0.0} ms | {Number(line, "compressed_ms"):0.0} ms | {Number(line, "ratio"):0.00} | {Number(line, "saved_bytes") / 1048576:0.0} MiB | {Number(line, "kept_bytes") / 1048576:0.0} MiB |");
        if (lines.Length == 0) return "No results yet.\n";
        var from = lines[^1].GetProperty("provenance");
        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"Medians; {Text(from, "machine")} with {from.GetProperty("cores").GetInt32()} cores, commit {Text(from, "commit")}.");
        return text.ToString().ReplaceLineEndings("\n");

        IEnumerable<JsonElement> Newest(string kind, string key, Func<JsonElement, bool> wanted) =>
            lines.Where(line => Text(line, "kind") == kind).Select(line => line.GetProperty("result")).Where(wanted).GroupBy(line => Text(line, key)).Select(same => same.Last());
    }

    static string? Text(JsonElement line, string name) => line.GetProperty(name).GetString();

    static double Number(JsonElement line, string name) => line.GetProperty(name).GetDouble();
}
