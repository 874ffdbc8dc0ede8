using System.Globalization;
using System.Text.RegularExpressions;
using Actipress.Saving;
using TorchSharp.Modules;

namespace Actipress.Experiments;

/// <summary>
/// The set of compressed layers of a network, as text: <c>all</c>, or names and patterns of layers and the paper's blocks (<c>block0</c>,
/// <c>block0-2</c>), separated by commas. <c>:bn</c> at the end selects batch norms only, which is what the paper's accuracy figures
/// compress beyond MNIST. <c>:conv+bn</c> and <c>:conv+bn+relu</c> are the other rows of its Table 2.
/// </summary>
public sealed partial record LayerSet
{
    static readonly Dictionary<string, Func<Layer, bool>> known = new()
    {
        ["bn"] = layer => layer.Is<BatchNorm1d>() || layer.Is<BatchNorm2d>() || layer.Is<BatchNorm3d>(),
        ["conv"] = layer => layer.Is<Conv1d>() || layer.Is<Conv2d>() || layer.Is<Conv3d>(),
        ["relu"] = layer => layer.Is<ReLU>() || layer.Is<ReLU6>(),
    };

    readonly string[] patterns, kinds;

    LayerSet(string[] patterns, string[] kinds) => (this.patterns, this.kinds) = (patterns, kinds);

    /// <exception cref="ArgumentException">The text names a block that the network does not have, or no layer.</exception>
    public static LayerSet Parse(string text, Trainable network)
    {
        ArgumentNullException.ThrowIfNull(network);
        return Parse(text, network.Name, network.Blocks);
    }

    /// <param name="text">The text of the set.</param>
    /// <param name="network">The network's name, for errors.</param>
    /// <param name="blocks">The network's blocks.</param>
    /// <exception cref="ArgumentException">The text names a block or a kind of layer that does not exist, or no layer.</exception>
    public static LayerSet Parse(string text, string network, IReadOnlyList<string[]> blocks)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(blocks);
        var (named, colon) = text.IndexOf(':', StringComparison.Ordinal) is >= 0 and var at ? (text[..at], text[(at + 1)..]) : (text, "");
        var kinds = colon.Split('+', StringSplitOptions.RemoveEmptyEntries);
        if (kinds.FirstOrDefault(kind => !known.ContainsKey(kind)) is { } unknown)
            throw new ArgumentException($"No kind of layer '{unknown}' in '{text}'. Known: {string.Join(", ", known.Keys)}, "
                + "with + between them.");
        var names = named.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (names.Length == 0)
            throw new ArgumentException($"No layers in '{text}': wanted all, or names and patterns with commas between them.");
        return new(names is ["all"] ? [] : [.. names.SelectMany(Patterns)], kinds);

        IEnumerable<string> Patterns(string name)
        {
            if (Block().Match(name) is not { Success: true } block) return [name];
            var first = int.Parse(block.Groups[1].Value, CultureInfo.InvariantCulture);
            var last = block.Groups[2].Success ? int.Parse(block.Groups[2].Value, CultureInfo.InvariantCulture) : first;
            if (first > last || last >= blocks.Count)
                throw new ArgumentException($"No '{name}' in {network}: it has block0 to block{blocks.Count - 1}.");
            return blocks.Skip(first).Take(last - first + 1).SelectMany(layers => layers);
        }
    }

    /// <summary>Compresses these layers' maps by <paramref name="codec"/>, and leaves all others as they are.</summary>
    public void Configure(CompressionOptions options, ActivationCodec codec)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Blocks(patterns);
        if (kinds.Length == 0) options.Default(codec);
        else options.Default(ActivationCodec.None).Where(OfKind, codec);
    }

    /// <summary>
    /// Checks that the model has layers of the kinds after the colon. <see cref="CompressActivations"/> checks names and patterns.
    /// </summary>
    /// <exception cref="ArgumentException">The model has no such layer, so that the set would compress nothing.</exception>
    public void EnsureIn(torch.nn.Module model)
    {
        if (kinds.Length == 0) return;
        Layer[] named = [.. new ModelLayers(model).All.Where(layer => patterns.Length == 0 || patterns.Any(layer.Matches))];
        if (named.Length == 0 || named.Any(OfKind)) return;
        var there = known.Where(kind => named.Any(kind.Value)).Select(kind => kind.Key).ToArray();
        var among = patterns.Length == 0 ? "all layers" : string.Join(", ", patterns);
        var found = there.Length == 0 ? "none of the known kinds" : string.Join(", ", there);
        throw new ArgumentException(
            $"No layer of kind {string.Join(" or ", kinds)} among {among}: found {found}. "
            + $"Leave out ':{string.Join('+', kinds)}', or name another kind.");
    }

    /// <summary>Whether a layer belongs to the set.</summary>
    public bool Contains(Layer layer)
    {
        ArgumentNullException.ThrowIfNull(layer);
        return (patterns.Length == 0 || patterns.Any(layer.Matches)) && (kinds.Length == 0 || OfKind(layer));
    }

    bool OfKind(Layer layer) => kinds.Any(kind => known[kind](layer));

    [GeneratedRegex("^block([0-9]{1,4})(?:-(?:block)?([0-9]{1,4}))?$")]
    private static partial Regex Block();
}
