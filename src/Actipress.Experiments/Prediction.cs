using System.Globalization;
using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>The scores of one class of one scan.</summary>
/// <param name="Case">The scan.</param>
/// <param name="Class">The name of the class, or its number.</param>
/// <param name="Dsc">The DSC from 0 to 1; null where the truth has no such class.</param>
/// <param name="Hd95Mm">See <see cref="SurfaceDistance.Hd95"/>; null where prediction or truth has no such class.</param>
/// <param name="TruthMl">The true volume; null where the truth is not known.</param>
/// <param name="PredictedMl">The predicted volume.</param>
public sealed record PredictedClass(string Case, string Class, double? Dsc, double? Hd95Mm, double? TruthMl, double PredictedMl);

/// <summary>The result of predicting a folder of scans.</summary>
/// <param name="Weights">The network's file.</param>
/// <param name="Cases">The number of predicted scans.</param>
/// <param name="Skipped">The scans that could not be read, with the reason.</param>
/// <param name="Scored">The number of scans with masks.</param>
/// <param name="MeanDsc">The mean over these scans of the mean over their classes, as training scores; null where there are none.</param>
/// <param name="Classes">The scores of each class of each scan.</param>
public sealed record PredictionResult(string Weights, int Cases, IReadOnlyList<string> Skipped, int Scored, double? MeanDsc,
    IReadOnlyList<PredictedClass> Classes);

/// <summary>
/// Predicts scans from files. Writes masks as NIfTI in each scan's own space, a picture of each, scores where masks are given, and a page
/// of all.
/// </summary>
/// <param name="Weights">The network's file.</param>
/// <param name="Cases">The scans: see <see cref="ScanFolder"/>.</param>
/// <param name="Folder">The folder of the results.</param>
public sealed record Prediction(string Weights, IReadOnlyList<VolumeCase> Cases, string Folder)
{
    const string Table = "scores.csv", Page = "index.html";
    const double CubicMmPerMl = 1000;

    /// <summary>Whether only the largest connected component of each class is kept.</summary>
    public bool Largest { get; init; }

    /// <summary>Whether windows are predicted mirrored too.</summary>
    public bool Flips { get; init; }

    /// <summary>The least overlap of neighbouring windows, as a share of a window.</summary>
    public double Overlap { get; init; } = 0.5;

    /// <summary>Whether files in the folder may be replaced.</summary>
    public bool Overwrite { get; init; }

    /// <summary>How channels and masks that lie elsewhere than their scan are handled.</summary>
    public Misplaced Misplaced { get; init; }

    /// <summary>How a scan that cannot be read is handled.</summary>
    public Unreadable Unreadable { get; init; }

    /// <summary>Predicts every case.</summary>
    /// <param name="model">The network in evaluation mode; it is moved to the device, and not disposed.</param>
    /// <param name="description">The description of the network.</param>
    /// <param name="device">The device.</param>
    /// <param name="progress">Called for each case.</param>
    /// <param name="notes">Receives notes about cases.</param>
    /// <param name="cancellation">Ends the prediction between windows; written files stay.</param>
    /// <exception cref="ArgumentException">The network does not segment scans.</exception>
    /// <exception cref="InvalidDataException">
    /// A scan cannot be read and the run stops there, or the folder holds results; the message says which.
    /// </exception>
    public PredictionResult Run(
        torch.nn.Module<torch.Tensor, torch.Tensor> model, ModelDescription description, torch.Device device, IProgress<string>? progress,
            DataNotes notes, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(description);
        ArgumentNullException.ThrowIfNull(notes);
        var scans = description.Scans
            ?? throw new ArgumentException($"{Weights} is a {description.Model} trained on {description.Plan.Data}, which is no set of "
            + "scans from files: wanted a network that segments such scans, such as unet3d trained on a folder of volumes.",
            nameof(description));
        Directory.CreateDirectory(Folder);
        if (!Overwrite && Directory.EnumerateFileSystemEntries(Folder).FirstOrDefault() is { } there)
            throw new InvalidDataException($"{Folder} is not empty: found {Path.GetFileName(there)}. Give another folder, or let its "
                + "results be replaced (--overwrite).");
        RefuseToReplaceInputs();
        // Scans that have the training's channels have them in the same order.
        var chosen = scans.Chosen is { } those && those.Of == ChannelsOf(Cases[0]) ? those : null;
        var channels = chosen?.Of ?? description.Channels;
        if (Cases.FirstOrDefault(one => one.Images.Count > 1 && one.Images.Count != channels) is { } odd)
            throw new InvalidDataException($"{odd.Name} has {odd.Images.Count} channels: {Weights} was trained with "
                + $"{channels}{(scans.ChannelNames is null ? "" : $", {string.Join(", ", scans.ChannelNames)}")}. Give scans "
                + "with these.");
        model.to(device);
        var isOfSlices = Trainable.Find(description.Model).IsOfSlices;
        var predictor =
            new Predictor(model, scans, description.Classes, device) { IsOfSlices = isOfSlices, Flips = Flips, Overlap = Overlap };
        var files = new VolumeFiles(Path.GetFileName(Weights), Cases, channels, description.Classes)
        {
            Relabelling = scans.Relabelling,
            Misplaced = Misplaced,
            Notes = notes,
        };
        if (chosen is not null) files = files.WithChannels(chosen.Numbers);
        var (rows, skipped, tally, page) = (new List<PredictedClass>(), new List<string>(), new ScoreTally(),
            new HtmlPage($"{Cases.Count} scans, predicted by {Path.GetFileName(Weights)}"));
        try
        {
            for (var index = 0; index < files.Count; index++)
            {
                cancellation.ThrowIfCancellationRequested();
                progress?.Report($"{index + 1} of {files.Count}: {files.Case(index)}");
                Example scan;
                try { scan = files.ReadNamed(index); }
                catch (InvalidDataException failure) when (Unreadable == Unreadable.Skip)
                {
                    skipped.Add(failure.Message);
                    continue;
                }
                if (files.Files(index).Labels.Count > 0 && description.TrainCases.Contains(scan.Case))
                    notes.Add("the network was trained on it, so that its score tells nothing of other scans", scan.Case);
                Scan(scan, files.Files(index), predictor, cancellation, rows, tally, page);
            }
        }
        finally
        {
            WriteScores(rows, page);    // also those of the scans before an interruption
            NameOthers(rows, notes);
        }
        return new(Weights, files.Count - skipped.Count, skipped, tally.Counted, tally.Counted == 0 ? null : tally.Mean, rows);
    }

    // A mask has the name of its scan, and so may have the path of the scan or of its labels.
    void RefuseToReplaceInputs()
    {
        var inputs = Cases.SelectMany(one => one.Images.Concat(one.Labels)).ToLookup(RealPath, StringComparer.Ordinal);
        if (Cases.FirstOrDefault(one => inputs.Contains(RealPath(MaskOf(one.Name)))) is { } own)
            throw new InvalidDataException($"The mask of {own.Name} would replace {inputs[RealPath(MaskOf(own.Name))].First()}: wanted "
                + "another folder for the results.");
    }

    string MaskOf(string name) => Path.Combine(Folder, $"{name}.nii.gz");

    // The path without links.
    static string RealPath(string path)
    {
        var full = Path.GetFullPath(path);
        if (Path.GetDirectoryName(full) is not { } parent) return full;
        var here = Path.Combine(RealPath(parent), Path.GetFileName(full));
        FileSystemInfo entry = Directory.Exists(here) ? new DirectoryInfo(here) : new FileInfo(here);
        return entry.LinkTarget is not null && entry.ResolveLinkTarget(returnFinalTarget: true) is { } target ? RealPath(target.FullName)
            : here;
    }

    // Where results may be replaced, masks of other scans stay in the folder.
    void NameOthers(List<PredictedClass> rows, DataNotes notes)
    {
        var written = rows.Select(row => MaskOf(row.Case)).ToHashSet(StringComparer.Ordinal);
        foreach (var file in Directory.EnumerateFiles(Folder, "*.nii.gz").Where(file => !written.Contains(file)))
            notes.Add("a mask of an earlier prediction, which these scores do not count", file);
    }

    static int ChannelsOf(VolumeCase one) => one.Images.Count > 1 ? one.Images.Count : Nifti.Channels(one.Images[0]);

    void Scan(Example scan, VolumeCase files, Predictor predictor, CancellationToken cancellation, List<PredictedClass> rows,
        ScoreTally tally, HtmlPage page)
    {
        var labels = predictor.Predict(scan, cancellation);
        if (Largest) labels = Components.Largest(labels, scan.Extents);
        var truth = files.Labels.Count > 0 ? scan.Labels : null;
        if (truth is not null) tally.Add<ushort>(labels, truth, predictor.Classes);
        var own = Enumerable.Range(1, predictor.Classes - 1).Select(label => Score(scan, labels, truth, (ushort)label, predictor.Scans))
            .ToArray();
        rows.AddRange(own);
        var values = Enumerable.Range(0, predictor.Classes).Select(label => (ushort)predictor.Scans.Relabelling.ValueOf(label)).ToArray();
        Nifti.WriteMask(MaskOf(scan.Case), files.Images[0], Array.ConvertAll(labels, label => values[label]));
        var picture = ScanPicture.Draw(scan, labels, truth);
        WholeFile.Write(Path.Combine(Folder, $"{scan.Case}.png"), part => File.WriteAllBytes(part, picture));
        page.Section(scan.Case);
        page.Image(picture, $"red: predicted{(truth is null ? "" : ", green: truth, yellow: both")}; "
            + string.Join(", ", own.Select(row =>
            FormattableString.Invariant($"{row.Class} {(row.Dsc is { } dsc ? $"DSC {100 * dsc:0.0} %, " : "")}{row.PredictedMl:0.0} ml"))));
    }

    static PredictedClass Score(Example scan, ushort[] labels, ushort[]? truth, ushort label, ScanDescription scans)
    {
        var affine = scan.Affine!;
        var (depth, height, width) = affine.Spacing;
        var ml = affine.VoxelVolume / CubicMmPerMl;
        var (found, wanted, common) = (0L, 0L, 0L);
        for (var voxel = 0; voxel < labels.Length; voxel++)
        {
            if (labels[voxel] == label) found++;
            if (truth?[voxel] != label) continue;
            wanted++;
            if (labels[voxel] == label) common++;
        }
        return new(
            scan.Case, scans.ClassNames?[label] ?? $"{scans.Relabelling.ValueOf(label)}", wanted == 0 ? null
                : 2.0 * common / (found + wanted),
            truth is null ? null : SurfaceDistance.Hd95(labels, truth, label, scan.Extents, [depth, height, width]), truth is null ? null
                : wanted * ml, found * ml);
    }

    void WriteScores(List<PredictedClass> rows, HtmlPage page)
    {
        WriteTable(rows);
        page.Section("Scores");
        page.Table(["case", "class", "DSC, %", "HD95, mm", "truth, ml", "predicted, ml"], rows.Select(row => Cells(row, 100)));
        page.Save(Path.Combine(Folder, Page));
    }

    void WriteTable(List<PredictedClass> rows)
    {
        var lines = rows.Select(row => string.Join(',', Cells(row, 1).Select(Quoted)))
            .Prepend("case,class,dsc,hd95_mm,truth_ml,predicted_ml");
        WholeFile.Write(Path.Combine(Folder, Table), part => File.WriteAllLines(part, lines));

        static string Quoted(string cell) => cell.AsSpan().IndexOfAny(",\"\n") < 0 ? cell
            : $"\"{cell.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }

    static string[] Cells(PredictedClass row, int dice)
    {
        return [row.Case, row.Class, Number(row.Dsc * dice, dice == 1 ? "0.######" : "0.0"), Number(row.Hd95Mm, "0.###"),
            Number(row.TruthMl, "0.####"), Number(row.PredictedMl, "0.####")];

        static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";
    }
}
