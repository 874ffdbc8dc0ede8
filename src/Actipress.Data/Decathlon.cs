using System.Text.Json;

namespace Actipress.Data;

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
        if (images.Count == 0)
            throw new InvalidDataException($"No volumes in {Path.Combine(folder, "imagesTr")}: wanted a task of the Medical Segmentation Decathlon, with .nii.gz files in imagesTr and labelsTr.");
        if (images.Keys.FirstOrDefault(name => !labels.ContainsKey(name)) is { } lone)
            throw new InvalidDataException($"{images[lone]} has no labels: wanted {lone}.nii.gz in {Path.Combine(folder, "labelsTr")}. Add them, or take the image out.");
        if (classes is null) throw new InvalidDataException($"No {description}: wanted it to tell how many classes there are. Add it, or give the number of classes.");
        return new(Path.GetFileName(Path.TrimEndingDirectorySeparator(folder)), [.. images.Select(image => new VolumeCase(image.Key, [image.Value], [labels[image.Key]]))], channels: 1, classes.Value);
    }

    static VolumeFiles Described(string folder, string description, int? classes)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllText(description));
            var root = json.RootElement;
            var listed = root.GetProperty("training").EnumerateArray().Select(one => (Image: one.GetProperty("image").GetString()!, Label: one.GetProperty("label").GetString()!));
            var cases = listed.Select(one => new VolumeCase(Path.GetFileName(one.Image).Split(".nii")[0], [In(one.Image)], [In(one.Label)])).OrderBy(one => one.Name, StringComparer.Ordinal);
            return new(root.GetProperty("name").GetString()!.ToLowerInvariant(), [.. cases], Entries("modality"), classes ?? Entries("labels"));

            int Entries(string name) => root.GetProperty(name).EnumerateObject().Count();
        }
        catch (Exception failure) when (failure is JsonException or KeyNotFoundException or InvalidOperationException or NullReferenceException or ArgumentException)
        {
            throw new InvalidDataException($"{description} is no description of a task: {failure.Message} Wanted name, modality, labels, and training as a list of image and label.", failure);
        }

        string In(string file) => Path.GetFullPath(file, Path.GetFullPath(folder));
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
        var files = Open(folder, classes);
        if (files.Channels != 1) throw new InvalidDataException($"{folder} has {files.Channels} modalities: wanted one. Use Decathlon.Open.");
        int[] size = [extents.Depth, extents.Height, extents.Width];
        var data = files.Subset([.. Enumerable.Range(0, Math.Min(most, files.Count))]).Select(volume => volume.ZScore().Fit(size, outside: 0), size).InMemory();
        var volumes = Enumerable.Range(0, data.Count).Select(data.Read).ToArray();
        return new(name, [.. volumes.Select(volume => volume.Image)], [.. volumes.Select(volume => Array.ConvertAll(volume.Labels, label => (byte)label))], extents, classes)
        {
            Cases = [.. volumes.Select(volume => volume.Case)],
        };
    }
}
