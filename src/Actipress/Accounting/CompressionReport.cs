using System.Globalization;
using System.Text;

namespace Actipress;

/// <summary>What one layer saved for the backward pass in the last step, and what was kept of it.</summary>
/// <param name="Name">The layer's name in the model.</param>
/// <param name="Type">The module's type.</param>
/// <param name="Maps">Saved tensors that this layer was the first to save.</param>
/// <param name="SharedMaps">Saved tensors that another layer had saved already; they cost nothing more.</param>
/// <param name="SavedBytes">Bytes of the saved tensors as they were.</param>
/// <param name="KeptBytes">Bytes kept in their place.</param>
/// <param name="KeptAs">The codec, or how else they were kept, or why they were left alone.</param>
/// <param name="AliveElsewhereBytes">
/// Bytes of maps that were still alive when the backward pass began, since something else (an undisposed handle, a module that holds
/// its output) kept them: they are handed out as they are, and compressing them would save nothing.
/// </param>
/// <param name="NotFinite">Maps with NaN or infinities, which were kept as they are.</param>
public sealed record LayerReport(
    string Name, string Type, int Maps, int SharedMaps, long SavedBytes, long KeptBytes, string KeptAs, long AliveElsewhereBytes, int NotFinite)
{
    /// <summary>
    /// The root mean square of the compressed maps' relative errors, each the norm of the error by that of the map, as the samples told that
    /// were taken while packing, before zeros are put back; null where none was taken: on a GPU, and of quantised maps.
    /// </summary>
    public double? RelativeError { get; init; }

    /// <summary>The operations that saved what is counted in <see cref="AliveElsewhereBytes"/>, such as <c>aten::cat</c>; with commas between them.</summary>
    public string AliveElsewhereBy { get; init; } = "";
}

/// <summary>The activation maps of the last step, by layer. Made by <see cref="ActivationCompression.Report"/>.</summary>
public sealed record CompressionReport
{
    /// <summary>One line for each layer that saved anything but parameters and inputs, in the order of the forward pass.</summary>
    public required IReadOnlyList<LayerReport> Layers { get; init; }

    /// <summary>Bytes held for a backward pass at this moment: zero after <c>backward()</c>.</summary>
    public required long LiveBytes { get; init; }

    /// <summary>What a user should know of the step: what went wrong without stopping it, what stays exact and why, what was still alive.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>Bytes of all saved activation maps as they were, each storage counted once.</summary>
    public long SavedBytes => Layers.Sum(layer => layer.SavedBytes);

    /// <summary>Bytes kept in their place.</summary>
    public long KeptBytes => Layers.Sum(layer => layer.KeptBytes);

    /// <summary>Bytes of compressed maps whose originals something else kept alive.</summary>
    public long AliveElsewhereBytes => Layers.Sum(layer => layer.AliveElsewhereBytes);

    /// <summary>The report as a table for people.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        var name = Math.Max(5, Layers.Select(layer => Label(layer).Length).DefaultIfEmpty().Max());
        text.AppendLine(CultureInfo.InvariantCulture, $"{"layer".PadRight(name)}  {"saved",11}  {"kept",11}  {"",7}  {"error",5}  kept as");
        foreach (var layer in Layers)
            text.AppendLine(CultureInfo.InvariantCulture, $"{Label(layer).PadRight(name)}  {Bytes(layer.SavedBytes),11}  {Bytes(layer.KeptBytes),11}  {Share(layer.KeptBytes, layer.SavedBytes),7}  {layer.RelativeError,5:0.00}  {layer.KeptAs}");
        text.AppendLine(CultureInfo.InvariantCulture, $"{"all".PadRight(name)}  {Bytes(SavedBytes),11}  {Bytes(KeptBytes),11}  {Share(KeptBytes, SavedBytes),7}");
        foreach (var note in Notes) text.AppendLine(note);
        return text.ToString();

        static string Label(LayerReport layer) => layer.Type.Length == 0 ? layer.Name : layer.Name.Length == 0 ? $"({layer.Type})" : $"{layer.Name} ({layer.Type})";
        static string Share(long part, long whole) => whole == 0 ? "" : (100.0 * part / whole).ToString("0.0", CultureInfo.InvariantCulture) + " %";
    }

    internal static string Bytes(long bytes) => bytes switch
    {
        >= 10L << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 30):0.0} GiB"),
        >= 10 << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 20):0.0} MiB"),
        >= 10 << 10 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:0.0} KiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes} B"),
    };
}
