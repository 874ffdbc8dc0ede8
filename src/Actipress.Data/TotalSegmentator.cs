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
    /// <param name="unreadable">How a subject that lacks a mask is handled.</param>
    /// <exception cref="InvalidDataException">There is no subject, or a subject lacks a mask; the message names it.</exception>
    public static VolumeFiles Open(string folder, IReadOnlyList<string> organs, Unreadable unreadable = Unreadable.Stop)
    {
        ArgumentNullException.ThrowIfNull(organs);
        if (organs.Count == 0) throw new ArgumentException("No organs: wanted at least one, such as spleen.", nameof(organs));
        var notes = new DataNotes();
        var cases = unreadable.Cases(
            [.. Subjects(folder)], subject => subject.Name, subject => new(subject.Name, [subject.Image], Masks(subject.Folder)), notes);
        if (cases.Length == 0)
            throw new InvalidDataException($"No subjects in {folder}: wanted a folder for each, with ct.nii.gz or mri.nii.gz, and masks in "
                + "segmentations.");
        return new(string.Join("+", organs), cases, channels: 1, organs.Count + 1)
        {
            ClassNames = ["background", .. organs],
            Notes = notes,
        };

        string[] Masks(string subject)
        {
            var masks = MasksOf(subject);
            return [.. organs.Select(organ => masks.TryGetValue(organ, out var file)
                ? file
                : throw new InvalidDataException($"{subject} has no mask of '{organ}': found "
                    + $"{(masks.Count == 0 ? "none" : string.Join(", ", masks.Keys))} in segmentations. Choose among them, or take the "
                    + "subject out (--unreadable skip does)."))];
        }
    }

    /// <summary>The folders of subjects in a folder, each with its scan.</summary>
    internal static IEnumerable<(string Name, string Folder, string Image)> Subjects(string folder) =>
        (Directory.Exists(folder) ? Directory.GetDirectories(folder) : []).Order(StringComparer.Ordinal)
            .Select(subject => (Path.GetFileName(subject), subject,
                VolumeFolder.Of(subject).Volumes.FirstOrDefault(file => file.Key is "ct" or "mri").Value))
            .Where(subject => subject.Value is not null);

    /// <summary>The masks of a subject, by the organ's name.</summary>
    internal static IReadOnlyDictionary<string, string> MasksOf(string subject) =>
        VolumeFolder.Of(Path.Combine(subject, "segmentations")).Volumes;
}
