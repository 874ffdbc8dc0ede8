using Actipress.Encodings;
using Actipress.Saving;
using Actipress.Selection;
using Actipress.Transforms;
using Spectre.Console;

namespace Actipress.Cli;

/// <summary>A table of how the maps of a step were kept: a row for each way, with an explanation of the report's words.</summary>
static class KeptTable
{
    static readonly Dictionary<string, string> meanings = new()
    {
        ["derived"] = "computed from another kept map when they are needed",
        ["signs"] = "a bit an element, whether it is above zero: all that the layer needs",
        ["bits"] = "masks, a bit an element",
        [HeldSaturating.How] = "probabilities and the like in 16 bits, and near 1 or -1 their distance from it",
        ["indices"] = "where pooling found its maxima, in a few bits",
        ["small"] = "too small to be worth it: as they are",
        ["rule"] = "of layers that are not to be compressed: as they are",
        ["type"] = "no floating-point numbers: as they are",
        ["raw"] = "as they are: within a budget, or since packed they would not be smaller",
        ["as it is"] = "still whole for a measurement, or by your rule",
    };

    /// <summary>The table of a report, without layers that saved no map of their own.</summary>
    public static Table Of(CompressionReport report)
    {
        var table = new Table { Border = TableBorder.None };
        table.AddColumn(new TableColumn("kept as").NoWrap());
        foreach (var bytes in (string[])["saved", "kept"]) table.AddColumn(new TableColumn(bytes).RightAligned().NoWrap());
        table.AddColumn("");
        var ways = report.Layers.Where(layer => layer.SavedBytes > 0).GroupBy(layer => Way(layer.KeptAs));
        foreach (var way in ways.OrderByDescending(way => way.Sum(layer => layer.SavedBytes)))
        {
            var (saved, kept) = (way.Sum(layer => layer.SavedBytes), way.Sum(layer => layer.KeptBytes));
            table.AddRow(Markup.Escape(way.Key), MiB(saved), MiB(kept), Markup.Escape(Meaning(way.Key)));
        }
        return table;
    }

    /// <summary>The words of a report for ways of keeping maps, with their meanings.</summary>
    public static IEnumerable<(string Word, string Meaning)> Words(CompressionReport report) =>
        report.Layers.SelectMany(layer => Ways(layer.KeptAs)).Distinct()
            .Select(way => (way, Meaning(way))).Where(word => word.Item2.Length > 0);

    static string MiB(long bytes) => FormattableString.Invariant($"{bytes / 1048576.0:0.00} MiB");

    // A layer's ways are separated by commas. Maps that are too small hardly count.
    static string Way(string keptAs)
    {
        var ways = Ways(keptAs);
        return ways.FirstOrDefault(way => way != "small") ?? ways[0];
    }

    static string[] Ways(string keptAs) =>
        [.. keptAs.Split(", ").Select(way => way.StartsWith("derived from", StringComparison.Ordinal) ? "derived" : way.Split(": ")[0])];

    static string Meaning(string way)
    {
        if (meanings.TryGetValue(way, out var meaning)) return meaning;
        if (!way.Contains(':', StringComparison.Ordinal) && ActivationCodec.Known.All(known => known.Example != way)) return "";
        var codec = ActivationCodec.Parse(way);
        if (codec == ActivationCodec.Exact) return "copied, bit for bit";
        return codec.Keep is Keep.TopK { Ratio: var ratio }
            ? FormattableString.Invariant($"one in {ratio} of {Coefficients(codec.Transform)}")
            : codec.Encoding is Quantized { Bits: var bits } ? $"rounded to {bits} bits, in groups of 256" : "rounded to 16 bits";
    }

    static string Coefficients(Transform transform) => transform switch
    {
        Identity => "their numbers",
        Dct => "their DCT coefficients",
        _ => "their wavelet coefficients",
    };
}
