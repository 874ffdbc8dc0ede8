using System.Globalization;
using Actipress.Data;
using ScottPlot;

namespace Actipress.Experiments;

/// <summary>Figure 5: a picture after compression, over codecs and ratios, in the paper's storage and in ours.</summary>
sealed class ImageReproduction : Reproduction
{
    /// <summary>One codec at one ratio.</summary>
    /// <param name="Family">The paper's name of the codec, such as WT + haar.</param>
    /// <param name="Ratio">The paper's lambda.</param>
    /// <param name="Picture">The picture's name.</param>
    /// <param name="InputBytes">The bytes of the picture as float32.</param>
    /// <param name="PaperBytes">The bytes in the paper's storage.</param>
    /// <param name="PaperMse">The mean squared error in the paper's storage.</param>
    /// <param name="PaperPsnrDb">The PSNR in the paper's storage.</param>
    /// <param name="Bytes">The bytes in the default storage.</param>
    /// <param name="Mse">The mean squared error in the default storage.</param>
    /// <param name="PsnrDb">The PSNR in the default storage.</param>
    /// <param name="Png">The centre of the picture, rebuilt from the paper's storage and from ours, side by side.</param>
    internal sealed record Rebuilt(
        string Family, double Ratio, string Picture, long InputBytes, long PaperBytes, double PaperMse, double PaperPsnrDb, long Bytes,
        double Mse, double PsnrDb, byte[] Png);

    static readonly double[] ratios = [1, 1.1, 1.4, 2.5, 10, 100, 1000];
    static readonly (string Name, Func<double, ActivationCodec> At)[] families =
    [
        ("WT + haar", ratio => ActivationCodec.Wavelet("haar", ratio)), ("WT + db3", ratio => ActivationCodec.Wavelet("db3", ratio)),
        ("DCT", ratio => ActivationCodec.Dct(ratio)), ("ST", ActivationCodec.Threshold),
    ];

    // The first grey photo; without a data folder a generated picture.
    const string Photo = "photos/camera.png", Drawn = "a drawn volume's middle";

    public override string Name => "fig5";

    public override string Meaning => "a picture over codecs and ratios";

    static string Key(string picture, string family, double ratio) =>
        $"{picture} by {family} at ratio {ratio.ToString(CultureInfo.InvariantCulture)}";

    static string? PhotoIn(Context context) =>
        context.DataFolder is { } folder && Path.Combine(folder, Photo) is var path && File.Exists(path) ? path : null;

    static string PictureName(Context context) => PhotoIn(context) is null ? Drawn : Photo;

    static Tensor Picture(Context context)
    {
        if (PhotoIn(context) is { } path) return Data.Picture.Read(path);
        const int Extent = 128;
        var slice = GeneratedVolumes.Make(1, (Extent, Extent, Extent)).Images[0].Skip(Extent / 2 * Extent * Extent)
            .Take(Extent * Extent).ToArray();
        var (lowest, highest) = (slice.Min(), slice.Max());
        return torch.tensor(slice.Select(value => 255 * (value - lowest) / (highest - lowest)).ToArray(), [1, 1, Extent, Extent]);
    }

    public override IEnumerable<Piece> Pieces(Context context) =>
        families.SelectMany(family => ratios.Select(ratio => new Piece(Key(PictureName(context), family.Name, ratio), (_, _) =>
        {
            using var picture = Picture(context);
            return Rebuild(picture, PictureName(context), family.Name, family.At(ratio), ratio);
        })));

    internal static Rebuilt Rebuild(Tensor picture, string name, string family, ActivationCodec codec, double ratio)
    {
        using var everything = torch.NewDisposeScope();
        using var paper = Pipeline.Pack(picture, codec.AsInPaper() with { EvenIfLarger = true }, out _)!;
        using var ours = Pipeline.Pack(picture, codec with { EvenIfLarger = true }, out _)!;
        using var fromPaper = paper.Unpack();
        using var fromOurs = ours.Unpack();
        return new(family, ratio, name, picture.Bytes(),
            paper.Bytes, Quality.Mse(picture, fromPaper), Quality.Psnr(picture, fromPaper, 255), ours.Bytes, Quality.Mse(picture, fromOurs),
            Quality.Psnr(picture, fromOurs, 255), Data.Picture.SideBySide(Middle(fromPaper), Middle(fromOurs)));
    }

    // The tensor lives as long as the scope around it.
    static Tensor Middle(Tensor picture)
    {
        const int Extent = 160;
        var (height, width) = (Math.Min(Extent, picture.shape[2]), Math.Min(Extent, picture.shape[3]));
        return picture.narrow(2, (picture.shape[2] - height) / 2, height).narrow(3, (picture.shape[3] - width) / 2, width);
    }

    public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        page.Section("Figure 5: quality of a rebuilt picture");
        var found = new[] { Photo, Drawn }.SelectMany(picture =>
            families.SelectMany(family => ratios.Select(ratio => done.GetValueOrDefault(Key(picture, family.Name, ratio))?.As<Rebuilt>())))
            .OfType<Rebuilt>().ToArray();
        if (found.Length == 0)
        {
            NotRunYet(page);
            return;
        }
        var shown = found.Where(one => one.Picture == found[0].Picture).ToArray();
        page.Paragraph($"{shown[0].Picture}, {shown[0].InputBytes} bytes as float32. Lines: the paper's storage (12 bytes a kept "
            + "coefficient); points: ours.");
        Figure("mse", "MSE", one => one.PaperMse, one => one.Mse, logarithmic: true);
        Figure("psnr", "PSNR, dB", one => Finite(one.PaperPsnrDb), one => Finite(one.PsnrDb));
        Figure("size", "size, % of float32", one => 100.0 * one.PaperBytes / one.InputBytes, one => 100.0 * one.Bytes / one.InputBytes);
        foreach (var one in shown.Where(one => one.Ratio >= 2.5))
            page.Image(one.Png, string.Create(CultureInfo.InvariantCulture, $"{one.Family}, ratio {one.Ratio}: paper's storage "
                + $"{one.PaperBytes} bytes, {one.PaperPsnrDb:0.0} dB; ours {one.Bytes} bytes, {one.PsnrDb:0.0} dB"));

        void Figure(string name, string axis, Func<Rebuilt, double> paper, Func<Rebuilt, double> ours, bool logarithmic = false)
        {
            var plot = new Plot();
            plot.Title(axis);
            plot.YLabel(logarithmic ? $"log10 of {axis}" : axis);
            foreach (var (index, family) in families.Index())
            {
                var points = shown.Where(one => one.Family == family.Name).ToArray();
                if (points.Length == 0) continue;
                foreach (var isPaper in (bool[])[true, false])
                {
                    var line = plot.Add.Scatter(
                        points.Select(one => (double)Array.IndexOf(ratios, one.Ratio)).ToArray(),
                        points.Select(one => Shown((isPaper ? paper : ours)(one))).ToArray(), plot.Add.Palette.GetColor(index));
                    (line.LineWidth, line.MarkerSize) = isPaper ? (1, 0) : (0, 7);    // no dashes: an SVG of SkiaSharp has none
                    if (isPaper) line.LegendText = family.Name;
                }
            }
            plot.Axes.Bottom.SetTicks(
                [.. ratios.Select((_, index) => (double)index)], [.. ratios.Select(ratio => ratio.ToString(CultureInfo.InvariantCulture))]);
            plot.ShowLegend(Alignment.UpperRight);
            plot.XLabel("ratio");
            page.Figure(plot, $"fig5-{name}", $"{axis} over ratios", 560, 360);

            double Shown(double value) => logarithmic ? Math.Log10(Math.Max(value, 1e-12)) : value;
        }
    }

    // A picture that is rebuilt bit for bit has no noise. It is shown at the limit of float32.
    static double Finite(double decibels) => double.IsInfinity(decibels) ? 160 : decibels;
}
