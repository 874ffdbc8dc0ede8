using System.Text.Json;
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

    string IDataSet.Case(int index) => $"{Name}[{index}]";

    /// <summary>A volume of one channel.</summary>
    public Example Read(int index) => new($"{Name}[{index}]", Images[index], Array.ConvertAll(Labels[index], label => (ushort)label), [Extents.Depth, Extents.Height, Extents.Width]);

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

/// <summary>A task of the Medical Segmentation Decathlon: NIfTI volumes in <c>imagesTr</c>, and of the same names in <c>labelsTr</c>.</summary>
public static class Decathlon
{
    /// <summary>
    /// A task as published: <c>dataset.json</c> names it, its modalities and its classes, and lists the volumes of <c>imagesTr</c> and
    /// <c>labelsTr</c>. Without that file, one modality and what the folders hold.
    /// </summary>
    /// <param name="folder">The task's folder.</param>
    /// <param name="classes">Needed where there is no <c>dataset.json</c>.</param>
    /// <exception cref="InvalidDataException">A folder or file is missing or not what it should be; the message says which.</exception>
    public static VolumeFiles Open(string folder, int? classes = null)
    {
        var description = Path.Combine(folder, "dataset.json");
        if (File.Exists(description)) return Described(folder, description, classes);
        var (images, labels) = (VolumeFiles.In(Path.Combine(folder, "imagesTr")), VolumeFiles.In(Path.Combine(folder, "labelsTr")));
        if (images.Count == 0) throw new InvalidDataException($"No volumes in {Path.Combine(folder, "imagesTr")}: wanted a task of the Medical Segmentation Decathlon, with .nii.gz files in imagesTr and labelsTr.");
        if (images.Keys.FirstOrDefault(name => !labels.ContainsKey(name)) is { } lone) throw new InvalidDataException($"{images[lone]} has no labels: wanted {lone}.nii.gz in {Path.Combine(folder, "labelsTr")}. Add them, or take the image out.");
        if (classes is null) throw new InvalidDataException($"No {description}: wanted it to tell how many classes there are. Add it, or give the number of classes.");
        return new(Path.GetFileName(Path.TrimEndingDirectorySeparator(folder)), [.. images.Select(image => new VolumeCase(image.Key, [image.Value], [labels[image.Key]]))], channels: 1, classes.Value);
    }

    static VolumeFiles Described(string folder, string description, int? classes)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllText(description));
            var root = json.RootElement;
            var cases = root.GetProperty("training").EnumerateArray().Select(one => Case(one.GetProperty("image").GetString()!, one.GetProperty("label").GetString()!)).OrderBy(one => one.Name, StringComparer.Ordinal);
            return new(root.GetProperty("name").GetString()!.ToLowerInvariant(), [.. cases], Entries("modality"), classes ?? Entries("labels"));

            int Entries(string name) => root.GetProperty(name).EnumerateObject().Count();
        }
        catch (Exception failure) when (failure is JsonException or KeyNotFoundException or InvalidOperationException or NullReferenceException)
        {
            throw new InvalidDataException($"{description} is no description of a task: {failure.Message} Wanted name, modality, labels, and training as a list of image and label.", failure);
        }

        VolumeCase Case(string image, string label) => new(Path.GetFileName(image).Split(".nii")[0], [Path.GetFullPath(image, Path.GetFullPath(folder))], [Path.GetFullPath(label, Path.GetFullPath(folder))]);
    }

    /// <summary>Reads the first volumes of a task of one modality, cut or padded with zeros about their middle to one size.</summary>
    /// <param name="name">As reports call it.</param>
    /// <param name="folder">The task's folder.</param>
    /// <param name="most">How many volumes.</param>
    /// <param name="extents">The size.</param>
    /// <param name="classes">Labels go from 0 to one less.</param>
    /// <exception cref="InvalidDataException">A folder or file is missing, or a file is not what it should be; the message says which.</exception>
    public static LabelledVolumes Load(string name, string folder, int most, (int Depth, int Height, int Width) extents, int classes)
    {
        var (images, labels) = (Path.Combine(folder, "imagesTr"), Path.Combine(folder, "labelsTr"));
        var files = Directory.Exists(images) ? Directory.GetFiles(images, "*.nii*").Where(file => !Path.GetFileName(file).StartsWith('.')).Order(StringComparer.Ordinal).Take(most).ToArray() : [];
        if (files.Length == 0) throw new InvalidDataException($"No volumes in {images}: wanted a task of the Medical Segmentation Decathlon, with .nii.gz files in imagesTr and labelsTr.");
        var (allImages, allLabels) = (new float[files.Length][], new byte[files.Length][]);
        Parallel.For(0, files.Length, i =>
        {
            var (image, label) = (Nifti.Read(files[i]), Nifti.Read(Path.Combine(labels, Path.GetFileName(files[i]))));
            if (!image.Extents.SequenceEqual(label.Extents)) throw new InvalidDataException($"{files[i]} is {string.Join(" x ", image.Extents)}, but its labels are {string.Join(" x ", label.Extents)}: wanted the same.");
            if (image.Extents.Length != 3) throw new InvalidDataException($"{files[i]} has {image.Extents.Length} axes: wanted 3.");
            if (label.Values.FirstOrDefault(value => !(value >= 0 && value < classes && value == (int)value), 0) is var strange and not 0) throw new InvalidDataException($"{files[i]}'s labels hold {strange}: wanted 0 to {classes - 1}.");
            var mean = image.Values.Average(value => (double)value);
            var deviation = Math.Sqrt(image.Values.Average(value => (value - mean) * (value - mean)));
            allImages[i] = Centre(image, value => (float)((value - mean) / Math.Max(deviation, 1e-12)));
            allLabels[i] = Centre(label, value => (byte)value);
        });
        return new(name, allImages, allLabels, extents, classes);

        T[] Centre<T>(Volume volume, Func<float, T> convert)
        {
            var result = new T[extents.Depth * extents.Height * extents.Width];
            var (w, h, d) = (volume.Extents[0], volume.Extents[1], volume.Extents[2]);
            var (z0, y0, x0) = ((extents.Depth - d) / 2, (extents.Height - h) / 2, (extents.Width - w) / 2);
            for (var z = Math.Max(0, -z0); z < d && z + z0 < extents.Depth; z++)
                for (var y = Math.Max(0, -y0); y < h && y + y0 < extents.Height; y++)
                    for (var x = Math.Max(0, -x0); x < w && x + x0 < extents.Width; x++)
                        result[((z + z0) * extents.Height + y + y0) * extents.Width + x + x0] = convert(volume.Values[(z * h + y) * w + x]);
            return result;
        }
    }
}
