using System.Globalization;
using System.Text;

namespace Actipress;

/// <summary>The maps that one layer saved for the backward pass in the last step, and what was kept in their place.</summary>
public sealed class LayerReport(
    string name, string type, int maps, int sharedMaps, long savedBytes, long keptBytes, string keptAs, long aliveElsewhereBytes,
    int notFinite)
{
    /// <summary>The layer's name in the model.</summary>
    public string Name { get; init; } = name;

    /// <summary>The module's type.</summary>
    public string Type { get; init; } = type;

    /// <summary>The number of saved tensors that this layer was the first to save.</summary>
    public int Maps { get; init; } = maps;

    /// <summary>The number of saved tensors that another layer had saved already; they take no more bytes.</summary>
    public int SharedMaps { get; init; } = sharedMaps;

    /// <summary>The bytes of the saved tensors before compression.</summary>
    public long SavedBytes { get; init; } = savedBytes;

    /// <summary>The bytes kept in their place.</summary>
    public long KeptBytes { get; init; } = keptBytes;

    /// <summary>The codec, another way of keeping, or the reason why the maps stayed as they are.</summary>
    public string KeptAs { get; init; } = keptAs;

    /// <summary>
    /// The bytes of maps that something else (an undisposed handle, a module that holds its output) kept alive until the backward pass
    /// began. These maps are handed out as they are; compressing them would save nothing.
    /// </summary>
    public long AliveElsewhereBytes { get; init; } = aliveElsewhereBytes;

    /// <summary>The number of maps with NaN or infinities, which were kept as they are.</summary>
    public int NotFinite { get; init; } = notFinite;

    /// <summary>
    /// The root mean square of the compressed maps' relative errors. A relative error is the norm of the error divided by the norm of the
    /// map, from the sample that packing takes, before zeros are restored. Null where packing takes no sample: on a GPU, and for quantised
    /// maps.
    /// </summary>
    public double? RelativeError { get; init; }

    /// <summary>
    /// The operations that saved the maps of <see cref="AliveElsewhereBytes"/>, such as <c>aten::cat</c>, separated by commas.
    /// </summary>
    public string AliveElsewhereBy { get; init; } = "";

    /// <summary>
    /// The lines of the program that saved the maps of <see cref="AliveElsewhereBytes"/>, such as <c>Net.cs:42 (Net.forward)</c>, separated
    /// by commas. The handle that was not disposed is nearly always one that this line makes or passes on.
    /// </summary>
    public string AliveElsewhereAt { get; init; } = "";
}

/// <summary>The activation maps of the last step, by layer. Made by <see cref="ActivationCompression.Report"/>.</summary>
public sealed record CompressionReport
{
    /// <summary>One line for each layer that saved more than parameters and inputs, in the order of the forward pass.</summary>
    public required IReadOnlyList<LayerReport> Layers { get; init; }

    /// <summary>The bytes currently held for a backward pass: zero after <c>backward()</c>.</summary>
    public required long LiveBytes { get; init; }

    /// <summary>
    /// Notes for the user: failures that did not stop the step, maps that stay exact and why, and maps that were still alive.
    /// </summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>The bytes of all saved activation maps before compression, each storage counted once.</summary>
    public long SavedBytes => Layers.Sum(layer => layer.SavedBytes);

    /// <summary>The bytes kept in place of the saved maps.</summary>
    public long KeptBytes => Layers.Sum(layer => layer.KeptBytes);

    /// <summary>The bytes of compressed maps whose originals something else kept alive.</summary>
    public long AliveElsewhereBytes => Layers.Sum(layer => layer.AliveElsewhereBytes);

    /// <summary>The report as a table of text.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        var name = Math.Max(5, Layers.Select(layer => Label(layer).Length).DefaultIfEmpty().Max());
        text.AppendLine(CultureInfo.InvariantCulture, $"{"layer".PadRight(name)}  {"saved",11}  {"kept",11}  {"",7}  {"error",5}  kept as");
        foreach (var layer in Layers)
            text.AppendLine(CultureInfo.InvariantCulture, $"{Label(layer).PadRight(name)}  {Bytes(layer.SavedBytes),11}  "
                + $"{Bytes(layer.KeptBytes),11}  {Share(layer.KeptBytes, layer.SavedBytes),7}  {layer.RelativeError,5:0.00}  "
                + $"{layer.KeptAs}");
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"{"all".PadRight(name)}  {Bytes(SavedBytes),11}  {Bytes(KeptBytes),11}  {Share(KeptBytes, SavedBytes),7}");
        foreach (var note in Notes) text.AppendLine(note);
        return text.ToString();

        static string Label(LayerReport layer) =>
            layer.Type.Length == 0 ? layer.Name : layer.Name.Length == 0 ? $"({layer.Type})" : $"{layer.Name} ({layer.Type})";
        static string Share(long part, long whole) =>
            whole == 0 ? "" : (100.0 * part / whole).ToString("0.0", CultureInfo.InvariantCulture) + " %";
    }

    internal static string Bytes(long bytes) => bytes switch
    {
        >= 10L << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 30):0.0} GiB"),
        >= 10 << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 20):0.0} MiB"),
        >= 10 << 10 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:0.0} KiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes} B"),
    };
}
