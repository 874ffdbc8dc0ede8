using System.Globalization;

namespace Actipress.Data;

/// <summary>Recognises the layout of a folder of volumes by its files, and opens it.</summary>
public static class VolumeLayout
{
    const string Known = "a task of the Medical Segmentation Decathlon or of nnU-Net (dataset.json, imagesTr, labelsTr), BraTS' patients "
        + "(a folder each, with files such as *_flair.nii.gz and *_seg.nii.gz),"
        + " TotalSegmentator's subjects (a folder each, with ct.nii.gz and segmentations), or a .csv file with columns image and label";

    /// <summary>Opens a folder or a table.</summary>
    /// <param name="path">The folder, or a .csv file.</param>
    /// <param name="classes">
    /// A number of classes, or the names of TotalSegmentator's masks; null for the classes that the data have.
    /// </param>
    /// <param name="channels">BraTS' modalities, or the names or numbers of another layout's channels; null for all.</param>
    /// <param name="relabelling">The relabelling of the numbers in label files; null for that of the layout.</param>
    /// <param name="unreadable">How a case without labels, and a label file that holds no labels, are handled.</param>
    /// <exception cref="InvalidDataException">
    /// The folder has no known layout, or does not follow its layout; the message says where.
    /// </exception>
    public static VolumeFiles Open(string path, IReadOnlyList<string>? classes = null, IReadOnlyList<string>? channels = null,
        Relabelling? relabelling = null, Unreadable unreadable = Unreadable.Stop)
    {
        ArgumentNullException.ThrowIfNull(path);
        int? count = classes is [var one] && int.TryParse(one, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number
            : null;
        if (count < 2) throw new ArgumentException($"--classes {count}: wanted 2 or more, background included.", nameof(classes));
        if (IsTable(path)) return Chosen(VolumeTable.Open(path, NoNames(), relabelling, unreadable), channels);
        if (!Directory.Exists(path)) throw new InvalidDataException($"No folder {path}: wanted {Known}.");
        if (File.Exists(Path.Combine(path, "dataset.json")) || Directory.Exists(Path.Combine(path, "imagesTr")))
            return Chosen(Decathlon.Open(path, NoNames(), relabelling, unreadable), channels);
        var folders = Directory.GetDirectories(path).Order(StringComparer.Ordinal).ToArray();
        if (folders.FirstOrDefault(folder => Directory.Exists(Path.Combine(folder, "segmentations"))) is { } subject)
        {
            if (relabelling is not null) throw new ArgumentException($"{path} has a mask for each class: nothing to relabel.",
                nameof(relabelling));
            if (classes is null || count is not null)
                throw new ArgumentException($"{path} has a mask for each organ: wanted their names, such as --classes spleen,liver. Found "
                    + $"{string.Join(", ", VolumeFolder.Of(Path.Combine(subject, "segmentations")).Volumes.Keys)}.", nameof(classes));
            return Chosen(TotalSegmentator.Open(path, classes, unreadable), channels);
        }
        if (folders.Length == 0 && VolumeFolder.Of(path).Volumes.Count == 0)
            throw new InvalidDataException($"Nothing is known of {path}: found "
                + $"{VolumeFolder.Holds(path)}; wanted {Known}.");
        VolumeFiles files;
        try { files = Brats.Open(path, channels, relabelling, unreadable); }
        catch (InvalidDataException failure) when (failure.Message.StartsWith("No patients", StringComparison.Ordinal))
        {
            throw new InvalidDataException($"Nothing is known of {path}: found folders and volumes, wanted {Known}.", failure);
        }
        return NoNames() is { } own ? files with { Classes = own } : files;

        int? NoNames() => classes is null || count is not null ? count
            : throw new ArgumentException($"--classes {string.Join(',', classes)}: wanted a number, since {path} has no mask for each "
            + "class.", nameof(classes));
    }

    /// <summary>Whether a path is a table of images and labels.</summary>
    public static bool IsTable(string path) => path.EndsWith(".csv", StringComparison.OrdinalIgnoreCase);

    static VolumeFiles Chosen(VolumeFiles files, IReadOnlyList<string>? channels)
    {
        if (channels is null) return files;
        return files.WithChannels([.. channels.Select(Number)]);

        int Number(string channel)
        {
            for (var i = 0; i < files.ChannelNames?.Count; i++)
                if (files.ChannelNames[i].Equals(channel, StringComparison.OrdinalIgnoreCase)) return i;
            if (int.TryParse(channel, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                && number < files.Channels) return number;
            throw new ArgumentException($"No channel '{channel}' in {files.Name}: wanted "
                + $"{string.Join(", ", files.ChannelNames ?? [])}{(files.ChannelNames is null ? "" : ", or ")}a number from 0 to "
                + $"{files.Channels - 1}.", nameof(channels));
        }
    }
}
