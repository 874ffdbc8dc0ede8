using System.Globalization;
using Actipress.Models;

namespace Actipress.Experiments;

/// <summary>
/// Figure 9: the allocator through forward and backward pass, for three sets of layers, three codecs and the paper's ratios.
/// </summary>
sealed class TimelineReproduction : Reproduction
{
    // The number of points that a figure of 760 pixels can show.
    const int MostPoints = 500;

    static readonly (string Network, string[] Layers)[] panels =
    [
        ("ResNet18", ["block0:bn", "block0-1:bn", "block0-1:conv+bn+relu"]),
        ("UNet3D", ["block0:bn", "block0-1:bn", "block0-1:conv+bn+relu"]),
    ];

    static readonly string[] codecs = ["dct", "wt:haar", "st"];
    static readonly string[] ratios = ["1.1", "2.5", "10", "100", "1000"];

    public override string Name => "fig9";

    public override string Meaning => "the allocator at each step through forward and backward pass";

    static string Key(string network, string layers, string codec) => $"timelines of {network}, {codec} on {layers}";

    public override IEnumerable<Piece> Pieces(Context context) =>
        from panel in panels
        from layers in panel.Layers
        from codec in codecs
        select new Piece(Key(panel.Network, layers, codec), (progress, cancellation) =>
        {
            var network = Networks.Find(panel.Network);
            return Measure(
                new(network, network.Batch, network.Input, [.. ratios.Select(ratio => ActivationCodec.Parse($"{codec}:{ratio}"))], layers),
                progress, cancellation);
        });

    internal static Panel Measure(MemoryPlan plan, IProgress<string> progress, CancellationToken cancellation)
    {
        var measured = MemoryMeasure.Run(plan, progress, out var timelines, cancellation);
        return new(
            [.. measured.Select(result => result with { Layers = [], AliveAtPeak = [] })],
            [.. timelines.Select(curve => curve with { Levels = Thin(curve.Levels) })]);
    }

    internal sealed record Panel(IReadOnlyList<MemoryResult> Memory, IReadOnlyList<TimelineFigure.Curve> Curves);

    // The highest level of each interval, so that no peak is lost.
    internal static IReadOnlyList<MemoryLevel> Thin(IReadOnlyList<MemoryLevel> levels) =>
        [.. levels.Chunk(Math.Max(1, (levels.Count + MostPoints - 1) / MostPoints))
            .Select(stretch => stretch.MaxBy(level => level.Bytes)!)];

    public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        page.Section("Figure 9: memory through the whole step");
        page.Paragraph("What the allocator holds above its level before the step, at each allocation of the forward pass (left of the grey "
            + "line) and of the backward pass. Our default storage. A map that would not become smaller is left as it is, so no curve "
            + "rises above the plain one by more than what a codec works in.");
        foreach (var (network, sets) in panels)
            foreach (var layers in sets)
                foreach (var codec in codecs)
                {
                    if (done.GetValueOrDefault(Key(network, layers, codec))?.As<Panel>() is not { } found) continue;
                    page.Figure(TimelineFigure.Draw($"{network}, {codec} on {layers}", found.Curves), $"fig9-{network}-{layers}-{codec}",
                        $"{network}, batch {found.Memory[0].Batch}: plain peak {MiB(found.Memory[0].BaselinePeakBytes!.Value)} MiB; "
                            + $"{string.Join("; ", found.Memory.Select(one => $"{one.Codec} {MiB(one.PeakBytes!.Value)} MiB"))}.");
                }
    }

    static string MiB(long bytes) => Sizes.MiB(bytes).ToString("0", CultureInfo.InvariantCulture);
}
