using System.Globalization;
using System.Text.RegularExpressions;
using TorchSharp.Modules;

namespace Actipress.Experiments;

/// <summary>
/// Which layers of a network are compressed, as text: <c>all</c>; or, with commas between them, names and patterns of layers and the
/// paper's blocks, <c>block0</c> or <c>block0-2</c>. <c>:bn</c> at the end leaves batch norms only, which is all that the paper's
/// accuracy figures compress beyond MNIST.
/// </summary>
public sealed partial record LayerSet
{
    const string Norms = ":bn";

    readonly string[] patterns;
    readonly bool normsOnly;

    LayerSet(string[] patterns, bool normsOnly) => (this.patterns, this.normsOnly) = (patterns, normsOnly);

    /// <exception cref="ArgumentException">It names a block that the network does not have, or nothing at all.</exception>
    public static LayerSet Parse(string text, Trainable network)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(network);
        var normsOnly = text.EndsWith(Norms, StringComparison.Ordinal);
        var names = (normsOnly ? text[..^Norms.Length] : text).Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (names.Length == 0) throw new ArgumentException($"No layers in '{text}': wanted all, or names and patterns with commas between them.");
        return new(names is ["all"] ? [] : [.. names.SelectMany(Patterns)], normsOnly);

        IEnumerable<string> Patterns(string name)
        {
            if (Block().Match(name) is not { Success: true } block) return [name];
            var first = int.Parse(block.Groups[1].Value, CultureInfo.InvariantCulture);
            var last = block.Groups[2].Success ? int.Parse(block.Groups[2].Value, CultureInfo.InvariantCulture) : first;
            if (first > last || last >= network.Blocks.Count) throw new ArgumentException($"No '{name}' in {network.Name}: it has block0 to block{network.Blocks.Count - 1}.");
            return network.Blocks.Skip(first).Take(last - first + 1).SelectMany(layers => layers);
        }
    }

    /// <summary>Has these layers' maps stored by <paramref name="codec"/>, and all others left alone.</summary>
    public void Configure(CompressionOptions options, ActivationCodec codec)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Blocks(patterns);
        if (normsOnly) options.Default(ActivationCodec.None).Where(layer => layer.Is<BatchNorm2d>() || layer.Is<BatchNorm3d>(), codec);
        else options.Default(codec);
    }

    [GeneratedRegex("^block([0-9]{1,4})(?:-(?:block)?([0-9]{1,4}))?$")]
    private static partial Regex Block();
}
