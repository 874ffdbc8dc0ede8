namespace Actipress.Data;

/// <summary>
/// The Brain Tumour Segmentation challenge: a folder for each patient, at any depth, with a NIfTI file for each of four modalities and one
/// for the labels, as named from 2017 (<c>patient_t1ce.nii.gz</c>, <c>patient_seg.nii.gz</c>), from 2023 (<c>patient-t1c.nii.gz</c>) or in
/// 2015 (<c>T1c…</c>, <c>OTMultiClass</c>). The last known word of a file's name gives its kind.
/// </summary>
public static class Brats
{
    // The names of each modality in files, by year.
    static readonly (string Modality, string[] Words)[] modalities =
    [
        ("t1", ["t1", "t1n"]),
        ("t1c", ["t1c", "t1ce", "t1gd"]),
        ("t2", ["t2", "t2w"]),
        ("flair", ["flair", "t2f"]),
    ];

    static readonly string[] labels = ["seg", "ot", "otmulticlass"];

    // The years 2017 to 2022 have no label 3, and label 4 is the enhancing tumour. In the other years every number is a class of its own.
    // In 2015 label 3 is the part that does not enhance; since 2023 label 3 is the enhancing tumour; in 2024 label 4 is the resection
    // cavity.
    static readonly int[] withoutThree = [0, 1, 2, 4];
    static readonly Relabelling fourIsThree = Relabelling.InOrder(withoutThree);

    /// <summary>Finds the patients' files.</summary>
    /// <param name="folder">The folder of folders.</param>
    /// <param name="wanted">The modalities in the channels' order: t1, t1c, t2, flair; null for those that every patient has.</param>
    /// <param name="relabelling">
    /// The relabelling of the numbers in label files; null for that of the year, which the names and the files give.
    /// </param>
    /// <param name="unreadable">How a patient without labels, and a label file that holds no labels, are handled.</param>
    /// <exception cref="InvalidDataException">
    /// There is no patient, or a patient lacks a modality or labels; the message names the patients.
    /// </exception>
    public static VolumeFiles Open(string folder, IReadOnlyList<string>? wanted = null, Relabelling? relabelling = null,
        Unreadable unreadable = Unreadable.Stop)
    {
        if (wanted?.FirstOrDefault(word => !modalities.Any(known => known.Modality == word)) is { } unknown)
            throw new ArgumentException($"No modality '{unknown}': wanted "
                + $"{string.Join(", ", modalities.Select(known => known.Modality))}.", nameof(wanted));
        var notes = new DataNotes();
        var patients = Patients(folder, notes).ToArray();
        if (patients.Length == 0)
            throw new InvalidDataException($"No patients in {folder}: wanted a folder for each, with files such as "
                + $"{{patient}}_flair.nii.gz and {{patient}}_seg.nii.gz.");
        wanted ??= [.. modalities.Select(known => known.Modality)
            .Where(modality => patients.All(patient => patient.Files.ContainsKey(modality)))];
        if (wanted.Count == 0)
            throw new InvalidDataException($"The patients in {folder} have no modality in common: wanted one of "
                + $"{string.Join(", ", modalities.Select(known => known.Modality))} in each folder.");
        foreach (var patient in patients)
            foreach (var (kind, file) in patient.Files)
                if (kind != Labels && !wanted.Contains(kind)) notes.Add("a modality that not every patient has, or none that is wanted, "
                    + "left out", file);
        var cases = unreadable.Cases(
            patients, Name,
            patient => new(Name(patient), [.. wanted.Select(kind => File(patient, kind))], [File(patient, Labels)]), notes);
        var (become, classes) = LabelsOf(folder, cases, relabelling, unreadable, notes);
        return new("brats", cases, wanted.Count, classes) { Relabelling = become, ChannelNames = wanted, Notes = notes };

        static string Name((string Folder, Dictionary<string, string> Files) patient) => Path.GetFileName(Path.GetFullPath(patient.Folder));

        static string File((string Folder, Dictionary<string, string> Files) patient, string kind) =>
            patient.Files.TryGetValue(kind, out var file)
            ? file
            : throw new InvalidDataException($"{patient.Folder} has no {kind}: found "
            + $"{string.Join(", ", patient.Files.Keys.Order(StringComparer.Ordinal))}. Add the file, take the patient out "
            + "(--unreadable skip does), or ask for the modalities that all have.");
    }

    internal static bool IsModality(string name) => modalities.Any(known => known.Modality == name);

    /// <summary>Whether a folder has the files of one patient, one of each kind.</summary>
    internal static bool IsPatient(VolumeFolder folder)
    {
        var kinds = folder.Volumes.Keys.Select(KindOf).ToArray();
        return kinds.Length > 1 && kinds.All(kind => kind is not null) && kinds.Distinct().Count() == kinds.Length;
    }

    /// <summary>Finds the patients of a folder to predict, with labels for those that have them.</summary>
    internal static IReadOnlyList<VolumeCase> Scans(string folder, IReadOnlyList<string> wanted) =>
    [
        .. Patients(folder, new()).Select(patient => new VolumeCase(
            Path.GetFileName(Path.GetFullPath(patient.Folder)), [.. wanted.Select(kind => patient.Files.TryGetValue(kind, out var file)
                ? file : throw new InvalidDataException($"{patient.Folder} has no {kind}, which the network was trained with: found "
                + $"{string.Join(", ", patient.Files.Keys.Order(StringComparer.Ordinal))}. Add the file, or take the patient out."))],
            patient.Files.TryGetValue(Labels, out var label) ? [label] : [])),
    ];

    const string Labels = "labels";

    // Links to folders count as patients, but not a link to a folder above.
    static IEnumerable<(string Folder, Dictionary<string, string> Files)> Patients(string folder, DataNotes notes)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        return Walk(folder).OrderBy(patient => patient.Folder, StringComparer.Ordinal);

        IEnumerable<(string Folder, Dictionary<string, string> Files)> Walk(string one)
        {
            if (!Directory.Exists(one)) yield break;
            if (!seen.Add(new DirectoryInfo(one).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? Path.GetFullPath(one)))
            {
                notes.Add("a link to a folder that is read already, left out", one);
                yield break;
            }
            if (Kinds(one, notes) is var files && files.Keys.Any(kind => kind != Labels)) yield return (one, files);
            foreach (var inner in Directory.GetDirectories(one).Order(StringComparer.Ordinal))
                foreach (var patient in Walk(inner)) yield return patient;
        }
    }

    static Dictionary<string, string> Kinds(string folder, DataNotes notes)
    {
        var kinds = new Dictionary<string, string>();
        var found = VolumeFolder.Of(folder);
        foreach (var (stem, file) in found.Volumes)
        {
            if (KindOf(stem) is not { } kind) notes.Add("neither a modality nor labels, left out", file);
            else if (!kinds.TryAdd(kind, file))
                throw new InvalidDataException($"{folder} has two files of {kind}: {Path.GetFileName(kinds[kind])} and "
                    + $"{Path.GetFileName(file)}. Wanted one of each. Take one out, or give each patient a folder.");
        }
        if (kinds.Count > 0) notes.AddLeftOut(found);
        return kinds;
    }

    static string? KindOf(string stem)
    {
        foreach (var word in stem.ToLowerInvariant().Split('_', '-', '.', ' ').Reverse())
            if (labels.Contains(word)) return Labels;
            else if (modalities.FirstOrDefault(known => known.Words.Contains(word)).Modality is { } modality) return modality;
        return null;
    }

    static (Relabelling Relabelling, int Classes) LabelsOf(
        string folder, VolumeCase[] cases, Relabelling? relabelling, Unreadable unreadable, DataNotes notes)
    {
        var byYear = cases.Select(one => one.Labels[0]).ToLookup(Year);
        var (oldest, before, since) = (byYear[2015].ToArray(), byYear[2017].ToArray(), byYear[2023].ToArray());
        var none = relabelling ?? Relabelling.None;
        var (old, middle, late) =
            (LabelValues.In(oldest, none, unreadable), LabelValues.In(before, none, unreadable), LabelValues.In(since, none, unreadable));
        var most = old.Concat(middle).Concat(late).Append(0).Max() + 1;
        if (relabelling is not null) return (relabelling, Math.Max(2, most));
        if (!middle.Contains(4) || middle.Except(withoutThree).Any()) return (none, Math.Max(oldest.Length > 0 ? 5 : 4, most));
        if (oldest.Length + since.Length > 0)
            throw new InvalidDataException($"{folder} has patients of 2017 to 2022, whose enhancing tumour is label 4, and of other "
                + $"years, whose labels mean something else, such as {before[0]} and {oldest.Concat(since).First()}: wanted patients of "
                + "one meaning. Give each a folder of its own.");
        notes.Add("label 4, the enhancing tumour of 2017 to 2022, is class 3", folder);
        return (fourIsThree, 4);
    }

    // The first year in which files have these names.
    static int Year(string labels) => VolumeFolder.Stem(labels)!.ToLowerInvariant() is var name
        && name.EndsWith("-seg", StringComparison.Ordinal) ? 2023
        : name.EndsWith("_seg", StringComparison.Ordinal) || name == "seg" ? 2017 : 2015;
}
