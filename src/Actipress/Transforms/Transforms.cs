namespace Actipress;

/// <summary>The transforms that codecs name, from simple to complex. To add one: a file with its definition, and a line here.</summary>
static class Transforms
{
    /// <summary>Each with its options as they are where a codec's text says nothing of them.</summary>
    public static IReadOnlyList<Transform> All { get; } = [new Identity(), .. Wavelet.Families.Select(family => new Wavelet(family)), new Dct()];

    /// <summary>The transform of this name.</summary>
    /// <exception cref="FormatException">An unknown name; the message lists the known ones.</exception>
    public static Transform Named(string name) =>
        All.FirstOrDefault(transform => transform.Name == name)
        ?? throw new FormatException($"No transform '{name}'. Known: {string.Join(", ", All.Select(transform => transform.Name))}.");
}
