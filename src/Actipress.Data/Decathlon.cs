using System.Globalization;
using System.Text.Json;

namespace Actipress.Data;

/// <summary>
/// A task of the Medical Segmentation Decathlon, or in nnU-Net's layout, which follows it: NIfTI images in <c>imagesTr</c>, and labels of
/// the same names in <c>labelsTr</c>. Several channels are one file of four axes, or files that end in <c>_0000</c>, <c>_0001</c> and so
/// on.
/// </summary>
public static class Decathlon
{
    /// <summary>
    /// Opens a task. <c>dataset.json</c> names its channels (<c>modality</c>, or nnU-Net 2's <c>channel_names</c>) and its classes, and may
    /// list the volumes. Without this file the task is the content of the folders.
    /// </summary>
    /// <param name="folder">The task's folder.</param>
    /// <param name="classes">The number of classes; null for that of <c>dataset.json</c>, else that of the label files.</param>
    /// <param name="relabelling">The relabelling of the numbers in label files.</param>
    /// <param name="unreadable">How an image without labels, and a label file that holds no labels, are handled.</param>
    /// <exception cref="InvalidDataException">A folder or file is missing or of another format; the message says which.</exception>
    public static VolumeFiles Open(
        string folder, int? classes = null, Relabelling? relabelling = null, Unreadable unreadable = Unreadable.Stop)
    {
        var path = Path.Combine(folder, "dataset.json");
        var description = File.Exists(path) ? Description.Read(path) : null;
        var (images, labels) = (VolumeFolder.Of(Path.Combine(folder, "imagesTr")), VolumeFolder.Of(Path.Combine(folder, "labelsTr")));
        var (name, notes) = (description?.Name ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))),
            new DataNotes());
        var cases = description?.Listed is { Count: > 0 } listed ? Listed(folder, listed, description.Channels.Count)
            : InFolders(folder, images, labels, description?.Channels.Count, unreadable, notes);
        var channels = description?.Channels.Count
            ?? (cases[0].Images.Count > 1 ? cases[0].Images.Count : Nifti.Channels(cases[0].Images[0]));
        var (become, count, classNames) = (classes ?? description?.Classes.Count) is { } known
            ? (relabelling ?? description?.Relabelling ?? Relabelling.None, known, known == description?.Classes.Count
            ? description.Classes : null)
            : LabelValues.Classes([.. cases.SelectMany(one => one.Labels)], relabelling, name, unreadable, notes);
        var files = new VolumeFiles(name, cases, channels, count)
        {
            Relabelling = become,
            ClassNames = classNames,
            ChannelNames = description?.Channels,
            Notes = notes
        };
        var used = cases.SelectMany(one => one.Images.Concat(one.Labels)).Select(Path.GetFullPath).ToHashSet(StringComparer.Ordinal);
        var isListed = description?.Listed is { Count: > 0 };
        IEnumerable<string> found = isListed ? images.Volumes.Values.Concat(labels.Volumes.Values) : labels.Volumes.Values;
        foreach (var file in found.Where(file => !used.Contains(Path.GetFullPath(file))))
            files.Notes.Add(isListed ? "not listed in dataset.json, left out" : "a label without its image, left out", file);
        files.Notes.AddLeftOut(images);
        files.Notes.AddLeftOut(labels);
        return files;
    }

    static VolumeCase[] InFolders(
        string folder, VolumeFolder images, VolumeFolder labels, int? channels, Unreadable unreadable, DataNotes notes)
    {
        if (images.Volumes.Count == 0)
            throw new InvalidDataException($"No volumes in {Path.Combine(folder, "imagesTr")}: wanted a task of the Medical Segmentation "
                + "Decathlon or of nnU-Net, with .nii.gz files in imagesTr and labelsTr.");
        return unreadable.Cases(
            ByCase(images, name => labels.Volumes.ContainsKey(name), channels), one => one.Name,
            one => labels.Volumes.TryGetValue(one.Name, out var label) ? one with { Labels = [label] }
                : throw new InvalidDataException($"{one.Images[0]} has no labels: wanted {one.Name}.nii.gz in "
                    + $"{Path.Combine(folder, "labelsTr")}. Add them, or take the image out (--unreadable skip does)."),
            notes);
    }

    /// <summary>
    /// Groups images by case: channel 0 of a case is <c>case_0000</c>, channel 1 is <c>case_0001</c>, and any other name is a case of its
    /// own.
    /// </summary>
    /// <param name="images">The images of the folder.</param>
    /// <param name="isCase">Whether there are labels of a name. If so, a number at its end belongs to the name.</param>
    /// <param name="channels">The number of channels of each case; null where all cases must have equally many.</param>
    /// <exception cref="InvalidDataException">A channel is missing; the message says which.</exception>
    internal static IReadOnlyList<VolumeCase> ByCase(VolumeFolder images, Func<string, bool> isCase, int? channels)
    {
        // Channels are numbered from 0. Names of another kind may end in numbers too.
        var isNumbered = images.Volumes.Keys.Any(name => name.EndsWith("_0000", StringComparison.Ordinal));
        var cases = images.Volumes.Select(image => (Of: Split(image.Key), image.Value)).GroupBy(image => image.Of.Case, image =>
            (image.Of.Channel, image.Value), StringComparer.Ordinal)
            .Select(one => (Name: one.Key, Channels: one.OrderBy(image => image.Channel).ToArray())).ToArray();
        // A file without a channel number may hold several channels.
        var wanted = channels is > 1 && !isNumbered && cases.All(one => one.Channels.Length == 1) ? 1
            : channels ?? cases.Max(one => one.Channels.Length);
        if (cases.FirstOrDefault(one => one.Channels.Length != wanted) is { Name: not null } odd)
            throw new InvalidDataException($"{odd.Name} has {odd.Channels.Length} channels, "
                + $"{string.Join(", ", odd.Channels.Select(channel => channel.Value))}: wanted {wanted}, files that end in "
                + $"{string.Join(", ", Enumerable.Range(0, wanted).Select(channel => $"_{channel:0000}"))}. Add what is missing, or take "
                + "the case out.");
        return [.. cases.Select(one => new VolumeCase(one.Name, [.. one.Channels.Select(channel => channel.Value)], []))];

        (string Case, int Channel) Split(string name) => isNumbered && name.Length > 5 && name[^5] == '_'
            && int.TryParse(name.AsSpan(name.Length - 4), NumberStyles.None, CultureInfo.InvariantCulture, out var channel) && !isCase(name)
            ? (name[..^5], channel)
            : (name, 0);
    }

    static VolumeCase[] Listed(string folder, IReadOnlyList<(string Image, string Label)> listed, int channels)
    {
        return [.. listed.Select(one => new VolumeCase(VolumeFolder.Stem(one.Image) ?? Path.GetFileName(one.Image), Images(In(one.Image)),
            [In(one.Label)])).OrderBy(one => one.Name, StringComparer.Ordinal)];

        string In(string file) => VolumeFolder.Listed(Path.Combine(folder, "dataset.json"), folder, file);

        // nnU-Net's first version lists case.nii.gz and means case_0000.nii.gz and so on.
        IReadOnlyList<string> Images(string image)
        {
            if (File.Exists(image) || VolumeFolder.Stem(image) is not { } stem) return [image];
            var (beginning, ending) = (Path.Combine(Path.GetDirectoryName(image)!, stem), Path.GetFileName(image)[stem.Length..]);
            string[] numbered = [.. Enumerable.Range(0, channels).Select(channel => $"{beginning}_{channel:0000}{ending}")];
            return File.Exists(numbered[0]) ? numbered : [image];
        }
    }

    /// <summary>The content of <c>dataset.json</c>.</summary>
    sealed record Description(string? Name, IReadOnlyList<string> Channels, IReadOnlyList<string> Classes, Relabelling Relabelling,
        IReadOnlyList<(string Image, string Label)> Listed)
    {
        public static Description Read(string path)
        {
            try
            {
                using var json = JsonDocument.Parse(File.ReadAllText(path));
                var root = json.RootElement;
                var channels = root.TryGetProperty("channel_names", out var names) ? names : root.GetProperty("modality");
                if (root.TryGetProperty("file_ending", out var ending) && ending.GetString() is { } own && VolumeFolder.Stem("x" + own)
                    is null)
                    throw new InvalidDataException($"{path} has volumes that end in {own}: wanted .nii.gz or .nii. Convert them to NIfTI.");
                var (classes, relabelling) = Labels(root.GetProperty("labels"), path);
                return new(
                    root.TryGetProperty("name", out var name) ? name.GetString()!.ToLowerInvariant() : null,
                    [.. channels.EnumerateObject()
                        .Select(channel => (Number: int.Parse(channel.Name, NumberStyles.None, CultureInfo.InvariantCulture),
                        channel.Value)).OrderBy(channel => channel.Number).Select(channel => channel.Value.GetString()!)],
                    classes, relabelling,
                    root.TryGetProperty("training", out var training)
                        ? [.. training.EnumerateArray()
                        .Select(one => (one.GetProperty("image").GetString()!, one.GetProperty("label").GetString()!))] : []);
            }
            catch (Exception failure) when (failure
                is JsonException or KeyNotFoundException or InvalidOperationException or NullReferenceException or ArgumentException
                or FormatException or OverflowException)
            {
                throw new InvalidDataException($"{path} is no description of a task: {failure.Message} Wanted modality or channel_names, "
                    + "labels, and where volumes are listed, training as a list of image and label.", failure);
            }
        }

        // The Decathlon gives names by number. nnU-Net gives numbers by name, or a list of numbers for a region of several labels.
        static (IReadOnlyList<string> Classes, Relabelling Relabelling) Labels(JsonElement labels, string path)
        {
            var names = new SortedDictionary<int, string>();
            foreach (var label in labels.EnumerateObject())
            {
                if (label.Name == "ignore")
                    throw new InvalidDataException($"{path} has a label to ignore: wanted a class for each voxel. Take 'ignore' out of "
                        + $"its labels, and say what {label.Value} becomes (--relabel {label.Value}=0 makes it background).");
                if (label.Value.ValueKind == JsonValueKind.String
                    && int.TryParse(label.Name, NumberStyles.None, CultureInfo.InvariantCulture,
                    out var number)) names[number] = label.Value.GetString()!;
                else if (label.Value.ValueKind == JsonValueKind.Number) names[label.Value.GetInt32()] = label.Name;
                else
                    foreach (var part in label.Value.EnumerateArray())
                        if (!names.TryAdd(part.GetInt32(), label.Name)) names[part.GetInt32()] = $"{names[part.GetInt32()]} & {label.Name}";
            }
            if (names.Count == 0 || names.Keys.First() != 0) throw new FormatException("labels do not begin with background, 0.");
            return ([.. names.Values], names.Keys.Last() < names.Count ? Relabelling.None : Relabelling.InOrder(names.Keys));
        }
    }

    /// <summary>Reads the first volumes of a task of one modality, cut or padded with zeros about their centre to one size.</summary>
    /// <param name="name">The name in reports.</param>
    /// <param name="folder">The task's folder.</param>
    /// <param name="most">The largest number of volumes.</param>
    /// <param name="extents">The size.</param>
    /// <param name="classes">Labels go from 0 to one less.</param>
    /// <exception cref="InvalidDataException">
    /// A folder or file is missing, or a file has another format; the message says which.
    /// </exception>
    public static LabelledVolumes Load(string name, string folder, int most, (int Depth, int Height, int Width) extents, int classes)
    {
        var files = Open(folder, classes);
        if (files.Channels != 1) throw new InvalidDataException($"{folder} has {files.Channels} modalities: wanted one. Use "
            + "Decathlon.Open.");
        int[] size = [extents.Depth, extents.Height, extents.Width];
        var data = files.Subset([.. Enumerable.Range(0, Math.Min(most, files.Count))])
            .Select(volume => volume.ZScore().Fit(size, outside: 0), size).InMemory();
        var volumes = Enumerable.Range(0, data.Count).Select(data.Read).ToArray();
        return new(name, [.. volumes.Select(volume => volume.Image)],
            [.. volumes.Select(volume => Array.ConvertAll(volume.Labels, label => (byte)label))], extents, classes)
        {
            Cases = [.. volumes.Select(volume => volume.Case)],
        };
    }
}
