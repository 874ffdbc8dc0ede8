using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>Volumes as pictures. Each slice along the first axis is an example with the volume's case.</summary>
/// <param name="volumes">Volumes of one size.</param>
sealed class Slices(IDataSet volumes) : IDataSet
{
    readonly int depth = volumes.Extents?[0]
        ?? throw new ArgumentException($"{volumes.Name} has volumes of several sizes: wanted one.", nameof(volumes));

    public string Name => volumes.Name;
    public int Count => volumes.Count * depth;
    public int Channels => volumes.Channels;
    public int Classes => volumes.Classes;
    public bool IsSegmentation => volumes.IsSegmentation;
    public IReadOnlyList<int> Extents => [.. volumes.Extents!.Skip(1)];
    public string Case(int index) => volumes.Case(index / depth);

    public Example Read(int index)
    {
        var (volume, elements) = (volumes.Read(index / depth), Extents[0] * Extents[1]);
        var image = new float[volume.Channels * elements];
        for (var channel = 0; channel < volume.Channels; channel++)
            volume.Channel(channel).Slice(index % depth * elements, elements).CopyTo(image.AsSpan(channel * elements));
        return new(volume.Case, image, volume.Labels[(index % depth * elements)..((index % depth + 1) * elements)], Extents);
    }
}
