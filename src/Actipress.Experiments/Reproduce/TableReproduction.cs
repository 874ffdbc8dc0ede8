using System.Globalization;

namespace Actipress.Experiments;

/// <summary>
/// Table 2 or 3: the paper's figures, those of the paper's storage for the shapes of the saved tensors, and ours from the allocator.
/// </summary>
/// <param name="table">One of <see cref="PaperTables.Names"/>.</param>
sealed class TableReproduction(string table) : Reproduction
{
    static readonly double[] ratios = [100, 10];

    public override string Name => table;

    public override string Meaning => table == "table2"
        ? "memory after the forward pass by network, block and kind of layer" : "memory after the forward pass by method and ratio";

    public override bool RunsOnGpus => true;

    string RowsKey => $"{table} in the paper's storage";

    static string Key(string network, int batch, IReadOnlyList<long> input, bool forwardOnly) =>
        $"{network} batch {batch} of {string.Join('x', input)}, {(forwardOnly ? "forward" : "step")}";

    public override IEnumerable<Piece> Pieces(Context context)
    {
        yield return new(RowsKey, (progress, _) =>
        {
            var rows = new List<PaperRow>();
            foreach (var row in PaperTables.Rows(table))
            {
                progress.Report($"{row.Network}, {row.Layers}");
                rows.Add(row);
            }
            return rows;
        });
        // The forward passes of all networks come first, because the table shows them, and a step takes three times as long.
        foreach (var forwardOnly in (bool[])[true, false])
            foreach (var (network, batch, input) in PaperTables.Settings(table))
                yield return new(Key(network.Name, batch, input, forwardOnly), (progress, cancellation) =>
                    MemoryMeasure.Run(
                        new(
                            network, batch, input, [.. ratios.Select(ratio => ActivationCodec.Dct(ratio))], ForwardOnly: forwardOnly,
                            Device: context.Device),
                        progress, out _, cancellation)
                        .Select(result => result with { Layers = [] }).ToArray());
    }

    public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        page.Section(table == "table2"
            ? "Table 2: memory after the forward pass, by network" : "Table 3: memory after the forward pass, by ratio");
        if (!done.TryGetValue(RowsKey, out var stored))
        {
            NotRunYet(page);
            return;
        }
        var rows = stored.As<PaperRow[]>();
        var cells = rows.SelectMany(row => row.Cells).ToArray();
        page.Paragraph("MiB. Each cell: the paper's figure, and below it what its storage (12 bytes a kept coefficient, once for each "
            + $"save) gives by the shapes of what is saved; marked where the two are more than {100 * PaperCell.Tolerance:0} % apart. "
            + $"{cells.Count(cell => cell.Agrees)} of {cells.Length} agree.");
        foreach (var group in rows.GroupBy(row =>
            string.Join(' ', row.Cells.Where(cell => cell.Column is not ("others" or "baseline")).Select(cell => cell.Column))))
        {
            var columns = group.SelectMany(row => row.Cells).Select(cell => cell.Column).Distinct().ToArray();
            page.Table(["network", "layers", .. columns, "why not"], group.Select(row => (string[])
            [
                $"{row.Network}\nbatch {row.Batch}, {string.Join(" x ", row.Input)}", row.Layers,
                .. columns.Select(column => row.Cells.FirstOrDefault(cell => cell.Column == column) is { } cell
                    ? FormattableString.Invariant($"{(cell.Agrees ? "" : HtmlPage.Doubtful)}{cell.Paper:0}\n{cell.Exact:0}") : ""),
                row.Note ?? "",
            ]));
        }
        ShowMeasured(page, done, rows);
    }

    void ShowMeasured(HtmlPage page, IReadOnlyDictionary<string, StoredPiece> done, PaperRow[] rows)
    {
        page.Paragraph("Ours: every layer compressed in the default storage with exact zeros, measured by the allocator in MiB. Floor is "
            + "what no compression can go below (parameters, buffers, input, output, target), eta the share of what lies above it that is "
            + "saved. The peak is that of the whole step: forward, loss, backward. Times are of single steps, plain and compressed one "
            + "after the other.");
        string[] columns =
        [
            "network", "codec", "floor", "plain", "compressed", "eta", "paper's best", "plain peak", "peak", "share", "step time",
        ];
        page.Table(columns, PaperTables.Settings(table)
            .SelectMany(setting => Measured(done, setting.Network.Name, setting.Batch, setting.Input)).Select(result => (string[])
                [
                    $"{result.Network}, batch {result.Batch}, {string.Join(" x ", result.Input)}", result.Codec, MiB(result.FloorBytes),
                    MiB(result.BaselineBytes), MiB(result.AfterForwardBytes), $"{Number(result.EtaOfFloorPercent)} %",
                    Best(rows, result) is { } best ? Number(best) : "",
                    .. result is { BaselinePeakBytes: { } plain, PeakBytes: { } peak }
                        ? (string[])[
                            MiB(plain), MiB(peak), $"{Number(100.0 * peak / plain)} %",
                            FormattableString.Invariant($"{result.StepMs / result.BaselineMs:0.00} of plain"),
                        ]
                        : ["", "", "", ""],
                ]));
    }

    // The measurement of the whole step where it was run, otherwise that of the forward pass.
    internal static MemoryResult[] Measured(IReadOnlyDictionary<string, StoredPiece> done, string network, int batch, long[] input) =>
        (done.GetValueOrDefault(Key(network, batch, input, false)) ?? done.GetValueOrDefault(Key(network, batch, input, true)))
            ?.As<MemoryResult[]>() ?? [];

    /// <summary>The stored rows of Table 2; none where it was not run.</summary>
    internal static PaperRow[] StoredRows(IReadOnlyDictionary<string, StoredPiece> done) =>
        done.TryGetValue(new TableReproduction("table2").RowsKey, out var stored) ? stored.As<PaperRow[]>() : [];

    /// <summary>The paper's lowest figure for this network, from Table 2, where every column but two belongs to a set of layers.</summary>
    internal static double? Lowest(PaperRow[] rows, MemoryResult result) => rows
        .Where(row => row.Network == result.Network && row.Batch == result.Batch && row.Input.SequenceEqual(result.Input))
        .SelectMany(row => row.Cells).Where(cell => cell.Column is not ("others" or "baseline")).Select(cell => (double?)cell.Paper).Min();

    // The paper's lowest figure for this network at this ratio.
    static double? Best(PaperRow[] rows, MemoryResult result) => rows
        .Where(row => row.Network == result.Network && row.Batch == result.Batch && row.Input.SequenceEqual(result.Input))
        .SelectMany(row => row.Cells)
        .Where(cell => cell.Column == result.Codec
            || (result.Codec == $"dct:{PaperTables.Ratio}" && cell.Column.StartsWith("block", StringComparison.Ordinal)))
        .Select(cell => (double?)cell.Paper).Min();

    static string MiB(long bytes) => Number(Sizes.MiB(bytes));

    static string Number(double value) => value.ToString("0.0", CultureInfo.InvariantCulture);
}
