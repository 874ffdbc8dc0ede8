using System.Globalization;
using ScottPlot;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>Figure 4: the bytes of each stage of the method, in the paper's storage and in ours.</summary>
sealed class FootprintReproduction : Reproduction
{
    /// <summary>The bytes of each stage.</summary>
    /// <param name="Codec">The codec in the default storage.</param>
    /// <param name="Shape">The shape of the map X.</param>
    /// <param name="Map">X.</param>
    /// <param name="Coefficients">
    /// Y: the transform's output, padded where necessary. Y lambda has zeros for coefficients that are not kept, and the same size.
    /// </param>
    /// <param name="Paper">Pi: positions and values in the paper's storage.</param>
    /// <param name="Rebuilt">X lambda.</param>
    /// <param name="Ours">The default storage in place of Pi.</param>
    /// <param name="OursExtra">
    /// The rise of the allocator's level above X and the packed bytes during our packing, which never holds Y.
    /// </param>
    internal sealed record Footprint(
        string Codec, long[] Shape, long Map, long Coefficients, long Paper, long Rebuilt, long Ours, long OursExtra);

    static readonly long[][] shapes = [[128, 1, 16, 16], [16, 1, 128, 128, 128]];
    static readonly string[] codecs = ["wt:db3:1.1", "dct:1.1", "wt:db3:10", "dct:10"];

    public override string Name => "fig4";

    public override string Meaning => "what each stage of the method holds";

    static string Key(string codec, long[] shape) => $"footprint of {codec} on {string.Join('x', shape)}";

    public override IEnumerable<Piece> Pieces(Context context) =>
        shapes.SelectMany(shape =>
            codecs.Select(codec => new Piece(Key(codec, shape), (_, _) => Measure(ActivationCodec.Parse(codec), shape))));

    internal static Footprint Measure(ActivationCodec codec, long[] shape)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        using var x = randn(shape);
        var mapShape = MapShape.Of(shape);
        var paper = codec.AsInPaper() with { EvenIfLarger = true };
        long coefficients, stored, rebuilt;
        using (var flat = x.view(-1))
        using (var y = paper.Transform.Forward(flat, mapShape)) coefficients = y.Bytes();
        using (var packed = Pipeline.Pack(x, paper, out _)!)
        {
            stored = packed.Bytes;
            using var again = packed.Unpack();
            rebuilt = again.Bytes();
        }
        Pipeline.Pack(x, codec, out _)?.Dispose();
        AllocatorMeter.Settle();
        using var meter = AllocatorMeter.Start();
        var without = AllocatorMeter.CurrentBytes;
        using var ours = Pipeline.Pack(x, codec, out _);
        return new(
            $"{codec}", shape, x.Bytes(), coefficients, stored, rebuilt, ours?.Bytes ?? x.Bytes(),
            Math.Max(0, meter.PeakBytes - without - (ours?.Bytes ?? 0)));
    }

    public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        page.Section("Figure 4: what each stage holds");
        page.Paragraph("MiB, on random normal maps. X is the map, Y its coefficients (padded by the wavelet), Yλ the thresholded ones, Π "
            + "the paper's positions and values, Xλ the rebuilt map. Ours goes from X to the packed bytes without holding any of these; "
            + "extra is how far the allocator rose beside both meanwhile. At ratio 1.1 our values are 8-bit.");
        foreach (var shape in shapes)
        {
            var found = codecs.Select(codec => done.GetValueOrDefault(Key(codec, shape))?.As<Footprint>()).OfType<Footprint>().ToArray();
            if (found.Length == 0)
            {
                NotRunYet(page, $"{string.Join(" x ", shape)}. ");
                continue;
            }
            page.Figure(
                Draw(shape, found), $"fig4-{string.Join('x', shape)}",
                $"Tensor of {string.Join(" x ", shape)}: the paper's stages, and ours in place of Π.");
            page.Table(["codec", "X", "Y and Yλ", "Π, the paper's", "Xλ", "ours", "extra"], found.Select(one => (string[])
                [one.Codec, MiB(one.Map), MiB(one.Coefficients), MiB(one.Paper), MiB(one.Rebuilt), MiB(one.Ours), MiB(one.OursExtra)]));
        }
    }

    static Plot Draw(long[] shape, Footprint[] found)
    {
        var plot = new Plot();
        plot.Title(string.Join(" x ", shape));
        plot.YLabel("MiB");
        foreach (var one in found)
        {
            long[] stages = [one.Map, one.Coefficients, one.Coefficients, one.Paper, one.Coefficients, one.Rebuilt, one.Ours];
            var line = plot.Add.Scatter(
                Enumerable.Range(0, stages.Length).Select(stage => (double)stage).ToArray(),
                stages.Select(bytes => Sizes.MiB(bytes)).ToArray());
            line.LegendText = one.Codec;
        }
        plot.Axes.Bottom.SetTicks([0, 1, 2, 3, 4, 5, 6], ["X", "Y", "Yλ", "Π", "Yλ", "Xλ", "ours"]);
        plot.ShowLegend(Alignment.UpperRight);
        return plot;
    }

    static string MiB(long bytes) => Sizes.MiB(bytes).ToString(bytes < 10 << 20 ? "0.000" : "0.0", CultureInfo.InvariantCulture);
}
