namespace Actipress.Transforms;

/// <summary>
/// The transforms that codecs name, from simple to complex. A new transform is a file with its definition, and a line here.
/// </summary>
static class KnownTransforms
{
    /// <summary>All transforms, with the options that hold where a codec's text does not give them.</summary>
    public static IReadOnlyList<Transform> All { get; } =
    [
        new Identity(), .. Wavelet.Families.Select(family => new Wavelet(family)), new Dct(),
    ];

    /// <summary>The transform of this name.</summary>
    /// <exception cref="FormatException">The name is unknown; the message lists the known names.</exception>
    public static Transform Named(string name) =>
        All.FirstOrDefault(transform => transform.Name == name)
        ?? throw new FormatException($"No transform '{name}'. Known: {string.Join(", ", All.Select(transform => transform.Name))}.");
}
