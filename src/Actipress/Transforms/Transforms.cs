using System.Globalization;

namespace Actipress;

/// <summary>The transforms, from simple to complex. To add one: a file with its definition, and a line here.</summary>
public static class Transforms
{
    /// <summary>One of each, as it is written in a codec.</summary>
    public static IReadOnlyList<(string Name, Func<TransformOptions, Transform> Make)> All { get; } =
    [
        ("st", _ => new Identity()),
        .. Wavelet.Families.Select(family => ($"wt:{family}", (Func<TransformOptions, Transform>)(options => new Wavelet(family, options.Levels)))),
        ("dct", options => new Dct(options.Block)),
    ];

    /// <summary>The transform of this name.</summary>
    /// <exception cref="FormatException">An unknown name; the message lists the known ones.</exception>
    public static Transform Named(string name, TransformOptions? options = null)
    {
        foreach (var (known, make) in All)
            if (known == name) return make(options ?? new TransformOptions());
        throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"No transform '{name}'. Known: {string.Join(", ", All.Select(transform => transform.Name))}."));
    }
}

/// <summary>What a transform may be told beside its name.</summary>
public sealed record TransformOptions
{
    /// <summary>Edge of a DCT's blocks: 4, 8 or 16.</summary>
    public int Block { get; init; } = 16;

    /// <summary>Levels of a wavelet transform: 1 to 5.</summary>
    public int Levels { get; init; } = 3;
}
