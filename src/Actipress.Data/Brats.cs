namespace Actipress.Data;

/// <summary>
/// The Brain Tumour Segmentation challenge: a folder for each patient, at any depth, with a NIfTI file for each of four modalities and one
/// for the labels, as named in 2019 (<c>patient_t1ce.nii.gz</c>, <c>patient_seg.nii.gz</c>), 2023 (<c>patient-t1c.nii.gz</c>) or 2015
/// (<c>T1c…</c>, <c>OTMultiClass</c>).
/// </summary>
public static class Brats
{
    // What files call each modality, by year.
    static readonly (string Modality, string[] Words)[] modalities =
    [
        ("t1", ["t1", "t1n"]),
        ("t1c", ["t1c", "t1ce", "t1gd"]),
        ("t2", ["t2", "t2w"]),
        ("flair", ["flair", "t2f"]),
    ];

    // 2015 calls labels "observed truth" and has classes 0 to 4; later years have no 3, and 4 takes its place.
    static readonly string[] oldLabels = ["ot", "otmulticlass"], labels = ["seg", .. oldLabels];

    /// <summary>Finds the patients' files.</summary>
    /// <param name="folder">The folder of folders.</param>
    /// <param name="wanted">Modalities in the channels' order: t1, t1c, t2, flair; null: those of them that every patient has.</param>
    /// <exception cref="InvalidDataException">There is no patient, or one lacks a modality or its labels; the message names them.</exception>
    public static VolumeFiles Open(string folder, IReadOnlyList<string>? wanted = null)
    {
        if (wanted?.FirstOrDefault(word => !modalities.Any(known => known.Modality == word)) is { } unknown)
            throw new ArgumentException($"No modality '{unknown}': wanted {string.Join(", ", modalities.Select(known => known.Modality))}.", nameof(wanted));
        var patients = (Directory.Exists(folder) ? Directory.GetDirectories(folder, "*", SearchOption.AllDirectories).Append(folder) : [])
            .Order(StringComparer.Ordinal)
            .Select(patient => (Folder: patient, Files: Kinds(patient)))
            .Where(patient => patient.Files.Keys.Any(kind => kind != "labels"))
            .ToArray();
        if (patients.Length == 0)
            throw new InvalidDataException($"No patients in {folder}: wanted a folder for each, with files such as {{patient}}_flair.nii.gz and {{patient}}_seg.nii.gz.");
        wanted ??= [.. modalities.Select(known => known.Modality).Where(modality => patients.All(patient => patient.Files.ContainsKey(modality)))];
        if (wanted.Count == 0)
            throw new InvalidDataException($"The patients in {folder} have no modality in common: wanted one of {string.Join(", ", modalities.Select(known => known.Modality))} in each folder.");
        var cases = patients.Select(patient => new VolumeCase(Path.GetFileName(patient.Folder), [.. wanted.Select(kind => File(patient, kind))], [File(patient, "labels")])).ToArray();
        var older = patients.Any(patient => Words(Path.GetFileName(patient.Files["labels"])).Intersect(oldLabels).Any());
        return new("brats", cases, wanted.Count, older ? 5 : 4, older ? null : label => label == 4 ? 3 : label);

        static string File((string Folder, Dictionary<string, string> Files) patient, string kind) => patient.Files.TryGetValue(kind, out var file)
            ? file
            : throw new InvalidDataException($"{patient.Folder} has no {kind}: found {string.Join(", ", patient.Files.Keys.Order(StringComparer.Ordinal))}. Add the file, take the patient out, or ask for the modalities that all have.");
    }

    static Dictionary<string, string> Kinds(string folder)
    {
        var kinds = new Dictionary<string, string>();
        foreach (var (stem, file) in VolumeFiles.In(folder))
        {
            var words = Words(stem);
            if (words.Intersect(labels).Any()) kinds.TryAdd("labels", file);
            else if (modalities.FirstOrDefault(known => words.Intersect(known.Words).Any()).Modality is { } modality) kinds.TryAdd(modality, file);
        }
        return kinds;
    }

    static string[] Words(string file) => file.ToLowerInvariant().Split('_', '-', '.');
}
