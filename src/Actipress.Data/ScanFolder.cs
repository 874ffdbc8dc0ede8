namespace Actipress.Data;

/// <summary>The scans of a folder to predict, with their masks where there are some.</summary>
public static class ScanFolder
{
    /// <summary>Finds the scans.</summary>
    /// <param name="folder">
    /// A folder of volumes with one file a case or one file a channel (<c>case_0000</c>, <c>case_0001</c>), a folder of BraTS' patients or
    /// of TotalSegmentator's subjects, or one file.
    /// </param>
    /// <param name="labels">
    /// The folder of masks of the same names; null for <c>labelsTr</c> beside <c>imagesTr</c>, or <c>labelsTs</c> beside <c>imagesTs</c>,
    /// where it exists.
    /// </param>
    /// <param name="channels">The number of channels of a scan.</param>
    /// <param name="channelNames">The names of the channels, where they are known: the modalities of BraTS' patients.</param>
    /// <param name="classNames">
    /// The names of the classes, background first, where they are known: the organs of TotalSegmentator's subjects. A subject with a mask
    /// of each has these as its labels, unless a folder of masks is given.
    /// </param>
    /// <returns>The cases; a case without masks has no label files.</returns>
    /// <exception cref="InvalidDataException">
    /// There are no scans, a scan lacks a channel, or no scan has a mask in a given folder; the message says what was found.
    /// </exception>
    public static IReadOnlyList<VolumeCase> Open(string folder, string? labels, int channels, IReadOnlyList<string>? channelNames,
        IReadOnlyList<string>? classNames = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        var scans = Scans(folder, labels, channels, channelNames, classNames ?? []);
        if (labels is not null && scans.All(scan => scan.Labels.Count == 0))
            throw new InvalidDataException($"No scan has a mask in {labels}: found {VolumeFolder.Holds(labels)}; wanted the scans' names, "
                + $"such as {scans[0].Name}.nii.gz.");
        return scans;
    }

    static IReadOnlyList<VolumeCase> Scans(
        string folder, string? labels, int channels, IReadOnlyList<string>? channelNames, IReadOnlyList<string> classNames)
    {
        if (File.Exists(folder))
        {
            var name = VolumeFolder.Stem(folder) ?? throw new InvalidDataException($"{folder} is no volume: wanted .nii.gz or .nii.");
            var truth = Listed(labels ?? Beside(Path.GetDirectoryName(Path.GetFullPath(folder))!));
            // nnU-Net's only channel has a number at the end of its name, and its mask has none.
            var own = Labels(truth, name);
            if (own.Count == 0 && name.EndsWith("_0000", StringComparison.Ordinal)) own = Labels(truth, name[..^5]);
            return [new(name, [folder], own)];
        }
        if (!Directory.Exists(folder)) throw new InvalidDataException($"No folder {folder}: wanted scans to predict.");
        var images = VolumeFolder.Of(folder);
        labels ??= Beside(folder);
        var areModalities = channelNames is not null && channelNames.All(Brats.IsModality);
        if (images.Volumes.Count > 0 && !(areModalities && Brats.IsPatient(images)))
        {
            var truth = Listed(labels);
            return [.. Decathlon.ByCase(images, name => truth?.Volumes.ContainsKey(name) == true, channels)
                .Select(one => one with { Labels = Labels(truth, one.Name) })];
        }
        if (areModalities && Brats.Scans(folder, channelNames!) is { Count: > 0 } patients) return patients;
        var subjects = TotalSegmentator.Subjects(folder).ToArray();
        if (subjects.Length > 0)
        {
            var truth = Listed(labels);
            return [.. subjects.Select(subject => new VolumeCase(
                subject.Name, [subject.Image], truth is null ? Organs(subject.Folder) : Labels(truth, subject.Name)))];
        }
        throw new InvalidDataException($"No scans in {folder}: found "
            + $"{VolumeFolder.Holds(folder)}; wanted .nii.gz or .nii files, a folder for each patient, or the folder within that holds "
            + "them, such as imagesTs.");

        IReadOnlyList<string> Organs(string subject)
        {
            var (masks, organs) = (TotalSegmentator.MasksOf(subject), classNames.Skip(1).ToArray());
            return organs.All(masks.ContainsKey) ? [.. organs.Select(organ => masks[organ])] : [];
        }

        static VolumeFolder? Listed(string? labels) => labels is null ? null : VolumeFolder.Of(labels);

        static IReadOnlyList<string> Labels(VolumeFolder? truth, string name) =>
            truth?.Volumes.TryGetValue(name, out var file) == true ? [file] : [];
    }

    static string? Beside(string folder)
    {
        var whole = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        var name = Path.GetFileName(whole);
        if (!name.StartsWith("images", StringComparison.Ordinal)) return null;
        var beside = Path.Combine(Path.GetDirectoryName(whole)!, "labels" + name["images".Length..]);
        return Directory.Exists(beside) ? beside : null;
    }
}
