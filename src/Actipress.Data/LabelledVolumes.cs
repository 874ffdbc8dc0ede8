using static TorchSharp.torch;

namespace Actipress.Data;

/// <summary>Image volumes of one size with a class for each voxel.</summary>
/// <param name="Name">The name in reports.</param>
/// <param name="Images">Each (depth, height, width), row-major, with mean 0 and standard deviation 1.</param>
/// <param name="Labels">A class for each voxel, (depth, height, width), row-major.</param>
/// <param name="Extents">Depth, height and width.</param>
/// <param name="Classes">The number of classes, with background.</param>
public sealed record LabelledVolumes(
    string Name, IReadOnlyList<float[]> Images, IReadOnlyList<byte[]> Labels, (int Depth, int Height, int Width) Extents, int Classes)
    : IDataSet
{
    /// <summary>The number of volumes.</summary>
    public int Count => Images.Count;

    int IDataSet.Channels => 1;

    bool IDataSet.IsSegmentation => true;

    IReadOnlyList<int> IDataSet.Extents => [Extents.Depth, Extents.Height, Extents.Width];

    /// <summary>The names of the cases; null for the data set's name and a number.</summary>
    public IReadOnlyList<string>? Cases { get; init; }

    /// <inheritdoc/>
    public string Case(int index) => Cases?[index] ?? $"{Name}[{index}]";

    /// <summary>A volume of one channel.</summary>
    public Example Read(int index) => new(
        Case(index), Images[index], Array.ConvertAll(Labels[index], label => (ushort)label),
        [Extents.Depth, Extents.Height, Extents.Width]);

    /// <summary>
    /// Some volumes for a network: (n, 1, depth, height, width) float32 and labels (n, depth, height, width) int64. The caller disposes
    /// both.
    /// </summary>
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
        return (
            flatImages.view(indices.Length, 1, Extents.Depth, Extents.Height, Extents.Width),
            flatLabels.view(indices.Length, Extents.Depth, Extents.Height, Extents.Width));
    }
}
