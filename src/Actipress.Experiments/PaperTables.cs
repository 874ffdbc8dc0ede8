using System.Globalization;
using System.Text.Json;
using Actipress.Models;

namespace Actipress.Experiments;

/// <summary>
/// A figure of the paper, in MiB after the forward pass, beside the figure of the paper's method for the shapes of the saved tensors.
/// </summary>
/// <param name="Column">The column's name in the table.</param>
/// <param name="Paper">The paper's figure.</param>
/// <param name="Exact">Our figure in the paper's own storage.</param>
/// <param name="Suspect">Whether the paper's figure is known to differ from the published method.</param>
public sealed record PaperCell(string Column, double Paper, double Exact, bool Suspect = false)
{
    /// <summary>The distance within which two figures count as equal.</summary>
    public const double Tolerance = 0.02;

    /// <summary>Whether our figure equals the paper's.</summary>
    public bool Agrees => Math.Abs(Exact / Paper - 1) <= Tolerance;
}

/// <summary>A row of Table 2, or a column of Table 3.</summary>
/// <param name="Network">The network's name in the paper.</param>
/// <param name="Batch">The number of examples.</param>
/// <param name="Input">The shape of one example.</param>
/// <param name="Layers">The kinds of layers that are compressed.</param>
/// <param name="Cells">The figures of the row.</param>
/// <param name="Note">Why a figure does not agree; null where all agree.</param>
public sealed record PaperRow(string Network, int Batch, long[] Input, string Layers, IReadOnlyList<PaperCell> Cells, string? Note);

/// <summary>Tables 2 and 3 of the paper, each figure beside that of the method.</summary>
public static class PaperTables
{
    /// <summary>The ratio of Table 2.</summary>
    public const double Ratio = 100;

    /// <summary>The names of the tables.</summary>
    public static IReadOnlyList<string> Names { get; } = ["table2", "table3"];

    /// <summary>The rows of a table, each as soon as its network was run at a small batch.</summary>
    /// <param name="table">One of <see cref="Names"/>.</param>
    public static IEnumerable<PaperRow> Rows(string table) => table switch
    {
        "table2" => Table2(),
        "table3" => Table3(),
        _ => throw new ArgumentException($"No table '{table}'. Known: {string.Join(", ", Names)}.", nameof(table)),
    };

    /// <summary>The networks of a table, with batch and input.</summary>
    /// <param name="table">One of <see cref="Names"/>.</param>
    public static IReadOnlyList<(Network Network, int Batch, long[] Input)> Settings(string table) => table == "table3"
        ? [.. Table3Networks.Select(name => Networks.Find(name)).Select(network => (network, network.Batch, network.Input))]
        : [.. Load("table2").GetProperty("rows").EnumerateArray()
            .Select(row => (
                Network: row.GetProperty("network").GetString()!, Batch: row.GetProperty("batch").GetInt32(),
                Input: row.GetProperty("input").GetString()!)).Distinct()
            .Select(row => (Networks.Find(row.Network), row.Batch, Shape(row.Input)))];

    static readonly string[] Table3Networks = ["EfficientNetB0", "EfficientNetB4", "EfficientNetB8", "DeepLabV3Plus", "EDSR"];

    static IEnumerable<PaperRow> Table2()
    {
        (string Of, ForwardTrace Trace, ForwardTrace? Narrow)? last = null;
        foreach (var row in Load("table2").GetProperty("rows").EnumerateArray())
        {
            var (network, batch, size, layers) = (
                Networks.Find(row.GetProperty("network").GetString()!), row.GetProperty("batch").GetInt32(),
                row.GetProperty("input").GetString()!, row.GetProperty("layers").GetString()!);
            var input = Shape(size);
            var first = last?.Of != $"{network.Name} {batch} {size}";
            if (first)
                last = ($"{network.Name} {batch} {size}", PaperTrace.Record(network.Create, batch, input),
                    network.Name == "WideResNet101"
                        ? PaperTrace.Record(() => new ResNet("ResNet101", [3, 4, 23, 3], bottleneck: true), batch, input) : null);
            var (trace, narrow) = (last!.Value.Trace, last.Value.Narrow);
            var held = HeldBytes(network, trace);
            var suspect = row.TryGetProperty("suspect", out var doubt);
            var cells = new List<PaperCell>();
            if (first)
            {
                var whole = new PaperStorage(trace, held, Covered(network, "Conv+BN+ReLU", network.Blocks.Count - 1));
                cells.Add(new("others", row.GetProperty("others").GetDouble(), Sizes.MiB(whole.OthersBytes)));
                cells.Add(new("baseline", row.GetProperty("baseline").GetDouble(), Sizes.MiB(whole.BaselineBytes)));
            }
            foreach (var (block, paper) in row.GetProperty("compressed").EnumerateArray().Index())
            {
                var run = narrow is null ? trace : PaperTrace.WideUpTo(trace, narrow, block);
                var exact = new PaperStorage(run, held, Covered(network, layers, block)).AfterForwardBytes(Ratio);
                cells.Add(new(block == 0 ? "block0" : $"block0-{block}", paper.GetDouble(), Sizes.MiB(exact), suspect));
            }
            yield return Row(
                network, batch, input, layers, cells,
                suspect ? doubt.GetString() : row.TryGetProperty("note", out var note) ? note.GetString() : null);
        }
    }

    static IEnumerable<PaperRow> Table3()
    {
        var table = Load("table3");
        foreach (var (i, name) in Table3Networks.Index())
        {
            var network = Networks.Find(name);
            var storage = new PaperStorage(PaperTrace.Record(network.Create, network.Batch, network.Input), 0, Covered(network, "all", 0));
            yield return Row(network, network.Batch, network.Input, "all",
            [
                new("others", table.GetProperty("others")[i].GetDouble(), Sizes.MiB(storage.OthersBytes)),
                new("baseline", table.GetProperty("baseline")[i].GetDouble(), Sizes.MiB(storage.BaselineBytes)),
                .. table.GetProperty("dct").EnumerateObject().Select(ratio =>
                    new PaperCell(
                        $"dct:{ratio.Name}", ratio.Value[i].GetDouble(),
                        Sizes.MiB(storage.AfterForwardBytes(double.Parse(ratio.Name, CultureInfo.InvariantCulture))))),
            ], null);
        }
    }

    static PaperRow Row(Network network, int batch, long[] input, string layers, List<PaperCell> cells, string? note) =>
        new(
            network.Name, batch, input, layers, cells,
            cells.All(cell => cell.Agrees) ? null : note ?? notes.GetValueOrDefault(network.Name));

    // The figures that are copied from the paper without a note. A sparse tensor does not store a coefficient that is zero by itself, as
    // after a ReLU that is dead over a whole block. This would explain the figures at ratios near 1, but cannot be proved from shapes.
    const string NearOne = "at ratios near 1 the figures are not those of k = N / ratio coefficients of every save";

    static readonly Dictionary<string, string> notes = new()
    {
        ["EfficientNetB8"] = $"{NearOne}; the paper's baseline and ratio 10 hold 20 to 29 MiB that our network does not save",
        ["DeepLabV3Plus"] = NearOne,
        ["EDSR"] = NearOne,
    };

    // The published U-Net ends in a sigmoid, so that its figures contain logits, probabilities and target.
    static long HeldBytes(Network network, ForwardTrace trace) => network.Name == "UNet3D" ? 2 * trace.OutputBytes : 0;

    // The layers whose saves the paper compresses, which exclude shortcuts. Attention and FeedForward are whole blocks.
    static Func<Layer, bool> Covered(Network network, string layers, int lastBlock)
    {
        var kinds = layers.StartsWith("BN", StringComparison.Ordinal) || layers.StartsWith("Conv", StringComparison.Ordinal)
            ? ":" + layers.ToLowerInvariant() : "";
        var set = LayerSet.Parse(
            $"block0-{lastBlock}{(network.Name.StartsWith("ViT", StringComparison.Ordinal) ? "" : kinds)}", network.Name, network.Blocks);
        return layer => set.Contains(layer) && (kinds.Length == 0 || !layer.Name.Contains(PaperTrace.Shortcut, StringComparison.Ordinal));
    }

    // The paper writes shapes with channels last.
    static long[] Shape(string text)
    {
        var extents = text.Split('x').Select(extent => long.Parse(extent, CultureInfo.InvariantCulture)).ToArray();
        return [extents[^1], .. extents[..^1]];
    }


    static JsonElement Load(string table)
    {
        using var stream = typeof(PaperTables).Assembly.GetManifestResourceStream($"{table}.json")!;
        return JsonDocument.Parse(stream).RootElement;
    }
}
