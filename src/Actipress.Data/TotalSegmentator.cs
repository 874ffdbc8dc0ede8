namespace Actipress.Data;

/// <summary>
/// CT or MR with a mask for each organ, in the layout of TotalSegmentator: a folder for each subject, with <c>ct.nii.gz</c> or
/// <c>mri.nii.gz</c>, and <c>segmentations/spleen.nii.gz</c> and so on.
/// </summary>
public static class TotalSegmentator
{
    /// <summary>Finds the subjects' files.</summary>
    /// <param name="folder">The folder of folders.</param>
    /// <param name="organs">The names of the masks; the first becomes class 1. Where two masks overlap, the later one wins.</param>
    /// <exception cref="InvalidDataException">There is no subject, or a subject lacks a mask; the message names it.</exception>
    public static VolumeFiles Open(string folder, params IReadOnlyList<string> organs)
    {
        ArgumentNullException.ThrowIfNull(organs);
        if (organs.Count == 0) throw new ArgumentException("No organs: wanted at least one, such as spleen.", nameof(organs));
        var cases = Subjects(folder)
            .Select(subject => new VolumeCase(Path.GetFileName(subject.Folder), [subject.Image], Masks(subject.Folder)))
            .ToArray();
        if (cases.Length == 0)
            throw new InvalidDataException($"No subjects in {folder}: wanted a folder for each, with ct.nii.gz or mri.nii.gz, and masks in "
                + "segmentations.");
        return new(string.Join("+", organs), cases, channels: 1, organs.Count + 1) { ClassNames = ["background", .. organs] };

        string[] Masks(string subject)
        {
            var masks = VolumeFolder.Of(Path.Combine(subject, "segmentations")).Volumes;
            return [.. organs.Select(organ => masks.TryGetValue(organ, out var file)
                ? file
                : throw new InvalidDataException($"{subject} has no mask of '{organ}': found "
                    + $"{(masks.Count == 0 ? "none" : string.Join(", ", masks.Keys))} in segmentations. Choose among them, or take the "
                    + "subject out."))];
        }
    }

    /// <summary>The folders of subjects in a folder, each with its scan.</summary>
    internal static IEnumerable<(string Folder, string Image)> Subjects(string folder) =>
        (Directory.Exists(folder) ? Directory.GetDirectories(folder) : []).Order(StringComparer.Ordinal)
            .Select(subject => (subject, VolumeFolder.Of(subject).Volumes.FirstOrDefault(file => file.Key is "ct" or "mri").Value))
            .Where(subject => subject.Value is not null);
}
