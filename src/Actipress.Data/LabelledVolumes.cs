using static TorchSharp.torch;

namespace Actipress.Data;

/// <summary>Image volumes of one size with a class for each voxel.</summary>
/// <param name="Name">As reports call it.</param>
/// <param name="Images">Each (depth, height, width), row-major, with mean 0 and standard deviation 1.</param>
/// <param name="Labels">Likewise, a class each.</param>
/// <param name="Extents">Depth, height and width.</param>
/// <param name="Classes">Background included.</param>
public sealed record LabelledVolumes(string Name, IReadOnlyList<float[]> Images, IReadOnlyList<byte[]> Labels, (int Depth, int Height, int Width) Extents, int Classes) : IDataSet
{
    /// <summary>How many there are.</summary>
    public int Count => Images.Count;

    int IDataSet.Channels => 1;

    bool IDataSet.IsSegmentation => true;

    IReadOnlyList<int> IDataSet.Extents => [Extents.Depth, Extents.Height, Extents.Width];

    /// <summary>Where each comes from; null: name and number.</summary>
    public IReadOnlyList<string>? Cases { get; init; }

    /// <inheritdoc/>
    public string Case(int index) => Cases?[index] ?? $"{Name}[{index}]";

    /// <summary>A volume of one channel.</summary>
    public Example Read(int index) => new(Case(index), Images[index], Array.ConvertAll(Labels[index], label => (ushort)label), [Extents.Depth, Extents.Height, Extents.Width]);

    /// <summary>Some of them for a network: (n, 1, depth, height, width) float32 and (n, depth, height, width) int64. The caller disposes both.</summary>
    public (Tensor Images, Tensor Labels) Batch(ReadOnlySpan<int> indices)
    {
        var elements = Extents.Depth * Extents.Height * Extents.Width;
        var (images, labels) = (new float[indices.Length * elements], new long[indices.Length * elements]);
        for (var i = 0; i < indices.Length; i++)
        {
            Images[indices[i]].CopyTo(images, i * elements);
            for (var voxel = 0; voxel < elements; voxel++) labels[i * elements + voxel] = Labels[indices[i]][voxel];
        }
        using Tensor flatImages = tensor(images), flatLabels = tensor(labels);
        return (flatImages.view(indices.Length, 1, Extents.Depth, Extents.Height, Extents.Width), flatLabels.view(indices.Length, Extents.Depth, Extents.Height, Extents.Width));
    }
}
