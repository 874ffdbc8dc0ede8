namespace Actipress.Data;

/// <summary>One patient or scan and its files.</summary>
/// <param name="Name">The same in every run.</param>
/// <param name="Images">One file a channel, or one file of four axes, the last being the channel.</param>
/// <param name="Labels">One file with a class a voxel, or masks, of which the k-th, from 1, marks class k; none: all is background.</param>
public sealed record VolumeCase(string Name, IReadOnlyList<string> Images, IReadOnlyList<string> Labels);

/// <summary>Volumes that are read from their files when they are asked for.</summary>
public sealed class VolumeFiles : IDataSet
{
    readonly IReadOnlyList<VolumeCase> cases;
    readonly Func<float, float> relabel;

    /// <summary>Names the files; none is read yet.</summary>
    /// <param name="name">As reports call it.</param>
    /// <param name="cases">At least one.</param>
    /// <param name="channels">Of each image.</param>
    /// <param name="classes">Labels go from 0 to one less.</param>
    /// <param name="relabel">What a label in the files becomes; null: itself.</param>
    /// <exception cref="InvalidDataException">There are no cases.</exception>
    public VolumeFiles(string name, IReadOnlyList<VolumeCase> cases, int channels, int classes, Func<float, float>? relabel = null)
    {
        ArgumentNullException.ThrowIfNull(cases);
        if (cases.Count == 0) throw new InvalidDataException($"{name} has no cases: wanted at least one volume.");
        (Name, this.cases, Channels, Classes, this.relabel) = (name, cases, channels, classes, relabel ?? (label => label));
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Count => cases.Count;

    /// <inheritdoc/>
    public int Channels { get; }

    /// <inheritdoc/>
    public int Classes { get; }

    /// <inheritdoc/>
    public bool IsSegmentation => true;

    /// <inheritdoc/>
    public IReadOnlyList<int>? Extents => null;

    /// <inheritdoc/>
    public string Case(int index) => cases[index].Name;

    /// <summary>Its files.</summary>
    public VolumeCase Files(int index) => cases[index];

    /// <inheritdoc/>
    public Example Read(int index)
    {
        var files = cases[index];
        var first = Nifti.Read(files.Images[0]);
        int[] extents = [.. first.Extents.Take(3)];
        if (extents.Length < 3) throw new InvalidDataException($"{files.Images[0]} is {Size(first)}: wanted a volume of three axes, or four with the channel last.");
        var elements = extents[0] * extents[1] * extents[2];
        var image = first.Values;
        if (files.Images.Count > 1)
        {
            image = new float[checked(elements * files.Images.Count)];
            for (var channel = 0; channel < files.Images.Count; channel++)
            {
                var volume = channel == 0 ? first : Nifti.Read(files.Images[channel]);
                if (!volume.Extents.SequenceEqual(extents))
                    throw new InvalidDataException($"{files.Images[channel]} is {Size(volume)}, but {files.Images[0]} is {Size(first)}: wanted all channels of one size. Resample one to the other.");
                volume.Values.CopyTo(image, channel * elements);
            }
        }
        if (image.Length != (long)elements * Channels)
            throw new InvalidDataException($"{files.Images[0]} is {Size(first)}, so it has {image.Length / elements} channels: {Name} has {Channels}.");
        return new(files.Name, image, Labels(files, extents), [extents[2], extents[1], extents[0]]) { Affine = first.Affine };
    }

    ushort[] Labels(VolumeCase files, int[] extents)
    {
        var labels = new ushort[extents[0] * extents[1] * extents[2]];
        for (var file = 0; file < files.Labels.Count; file++)
        {
            var (path, volume) = (files.Labels[file], Nifti.Read(files.Labels[file]));
            if (!volume.Extents.SequenceEqual(extents))
                throw new InvalidDataException($"{path} is {Size(volume)}, but its image {files.Images[0]} is {string.Join(" x ", extents)}: wanted a label for each voxel. Resample the labels, or give those that belong to the image.");
            var isMask = files.Labels.Count > 1;
            for (var voxel = 0; voxel < labels.Length; voxel++)
            {
                var (value, most) = isMask ? (volume.Values[voxel], 1) : (relabel(volume.Values[voxel]), Classes - 1);
                if (!(value >= 0 && value <= most && value == (int)value))
                    throw new InvalidDataException($"{path} holds label {volume.Values[voxel]} at voxel ({voxel % extents[0]}, {voxel / extents[0] % extents[1]}, {voxel / extents[0] / extents[1]}): wanted whole numbers from 0 to {most}. Say how many classes there are, or mend the file.");
                if (!isMask) labels[voxel] = (ushort)value;
                else if (value == 1) labels[voxel] = (ushort)(file + 1);
            }
        }
        return labels;
    }

    static string Size(Volume volume) => string.Join(" x ", volume.Extents);

    /// <summary>Every NIfTI file of a folder as a case of its own, all background: to predict from, or to look at.</summary>
    /// <exception cref="InvalidDataException">There is none.</exception>
    public static VolumeFiles Unlabelled(string folder) => In(folder) is { Count: > 0 } files
        ? new(Path.GetFileName(Path.TrimEndingDirectorySeparator(folder)), [.. files.Select(file => new VolumeCase(file.Key, [file.Value], []))], channels: 1, classes: 1)
        : throw new InvalidDataException($"No volumes in {folder}: wanted .nii or .nii.gz files.");

    /// <summary>The NIfTI files of a folder by name, without their endings; hidden files, which archives from macOS hold, are no volumes.</summary>
    internal static SortedDictionary<string, string> In(string folder, SearchOption depth = SearchOption.TopDirectoryOnly)
    {
        var found = new SortedDictionary<string, string>(StringComparer.Ordinal);
        if (!Directory.Exists(folder)) return found;
        foreach (var file in Directory.GetFiles(folder, "*.nii*", depth).Order(StringComparer.Ordinal))
            if (!Path.GetFileName(file).StartsWith('.') && Stem(file) is { } stem) found[stem] = file;
        return found;
    }

    static string? Stem(string file)
    {
        var name = Path.GetFileName(file);
        foreach (var ending in (string[])[".nii.gz", ".nii"])
            if (name.EndsWith(ending, StringComparison.OrdinalIgnoreCase)) return name[..^ending.Length];
        return null;
    }
}
