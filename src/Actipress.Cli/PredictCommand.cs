using System.CommandLine;
using Actipress.Data;
using Actipress.Experiments;
using Spectre.Console;

namespace Actipress.Cli;

/// <summary><c>predict</c>: writes masks of scans by a trained network.</summary>
static class PredictCommand
{
    public static Command Make(Interruption interruption)
    {
        var weights = new Option<string>("--weights")
        {
            Description = "The network: a .safetensors or .dat file that train wrote.",
            HelpName = "file",
            Required = true
        };
        var images = new Option<string>("--images")
        {
            Description = "Scans: a folder of .nii.gz files, one a case or one a channel "
            + "(case_0000, case_0001), or of BraTS' patients, or one file.",
            HelpName = "folder",
            Required = true
        };
        var output = new Option<string>("--out")
        {
            Description = "The folder for masks, pictures, scores.csv and index.html.",
            HelpName = "folder",
            Required = true
        };
        var labels = new Option<string?>("--labels")
        {
            Description = "The folder of masks to score by, named as the scans. By default "
            + "labelsTr beside imagesTr, and labelsTs beside imagesTs.",
            HelpName = "folder"
        };
        var largest = new Option<bool>("--largest") { Description = "Keep of each class the largest connected part." };
        var flips = new Option<bool>("--flips")
        {
            Description = "Predict each window mirrored along every axis too, and add: eight times "
            + "the work."
        };
        var overlap = Values.Fraction("--overlap", "Least share of a window that its neighbour has too, from 0 to below 1.", 0.5);
        var overwrite = new Option<bool>("--overwrite")
        {
            Description = "Replace files of the same names in the --out folder; others stay, and their masks are named.",
        };
        var misplaced = VolumeOptions.Misplaced();
        var unreadable = VolumeOptions.Unreadable();
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var command = new CliCommand("predict", "Segment scans with a trained network.")
        {
            Details = "Masks are NIfTI in each scan's own space, with a picture beside each, and scores (DSC, HD95, volumes) where masks "
                + "are at hand. train says at its end where the weights are.",
            Examples =
            [
                ("--weights WEIGHTS --images scans --out masks", "masks and pictures of every scan in a folder"),
                ("--weights WEIGHTS --images scan.nii.gz --out masks --largest", "of one scan, each class in one piece"),
                ("--weights WEIGHTS --images imagesTs --labels labelsTs --out masks", "with scores"),
            ],
        }.With(weights, images, output, labels, largest, flips, overlap, overwrite, misplaced, unreadable, device, json);
        command.SetAction(parsed =>
        {
            var where = Devices.Parse(parsed.GetValue(device)!);
            if (parsed.GetValue(overlap) is var share && !(share >= 0 && share < 1)) throw new ArgumentException($"--overlap {share}: "
                + "wanted at least 0 and below 1.");
            if (parsed.GetValue(labels) is { } folder && !Directory.Exists(folder)) throw new InvalidDataException($"No folder {folder}: "
                + "wanted masks to score by.");
            var (model, description) = ModelFile.Read(parsed.GetValue(weights)!);
            using (model)
            {
                var cases = ScanFolder.Open(
                    parsed.GetValue(images)!, parsed.GetValue(labels), description.Scans?.Chosen?.Of ?? description.Channels,
                    description.Scans?.ChannelNames, description.Scans?.ClassNames);
                var notes = new DataNotes();
                using var progress = new StatusLine();
                using var afterStep = interruption.AfterStep();
                var result = new Prediction(parsed.GetValue(weights)!, cases, Outputs.Folder("--out", parsed.GetValue(output)!))
                {
                    Largest = parsed.GetValue(largest),
                    Flips = parsed.GetValue(flips),
                    Overlap = share,
                    Overwrite = parsed.GetValue(overwrite),
                    Misplaced = parsed.GetValue(misplaced) ?? Data.Misplaced.Refuse,
                    Unreadable = parsed.GetValue(unreadable)
                        ?? Data.Unreadable.Stop,
                }.Run(model, description, where, progress, notes, interruption.Token);
                progress.Clear();
                foreach (var line in notes.Lines().Concat(result.Skipped)) Console.Error.WriteLine(line);
                if (parsed.GetValue(json)) Console.WriteLine(Json.Document(result));
                else Show(result, parsed.GetValue(output)!);
                return 0;
            }
        });
        return command;
    }

    static void Show(PredictionResult result, string folder)
    {
        var table = new Table { Title = new TableTitle($"{result.Cases} scans, {result.Scored} with masks") };
        foreach (var name in (string[])["class", "DSC", "cases", "HD95", "truth", "predicted"]) table.AddColumn(name == "class"
            ? new TableColumn(name) : new TableColumn(name).RightAligned());
        foreach (var one in result.Classes.GroupBy(row => row.Class))
        {
            var (scored, near) = (one.Where(row => row.Dsc is not null).ToArray(), one.Where(row => row.Hd95Mm is not null).ToArray());
            table.AddRow(
                Markup.Escape(one.Key), scored.Length == 0 ? ""
                    : FormattableString.Invariant($"{100 * scored.Average(row => row.Dsc!.Value):0.00} %"), $"{scored.Length}",
                near.Length == 0 ? "" : FormattableString.Invariant($"{near.Average(row => row.Hd95Mm!.Value):0.00} mm"),
                one.Any(row => row.TruthMl is not null) ? FormattableString.Invariant($"{one.Average(row => row.TruthMl):0.00} ml") : "",
                    FormattableString.Invariant($"{one.Average(row => row.PredictedMl):0.00} ml"));
        }
        AnsiConsole.Write(table);
        if (result.MeanDsc is { } mean)
            Console.WriteLine(FormattableString.Invariant($"Mean DSC {100 * mean:0.00} %, of the classes that each has."));
        if (result.Skipped.Count > 0) Console.WriteLine($"Left out: {result.Skipped.Count} scans that cannot be read.");
        Console.WriteLine($"Masks, pictures, scores.csv and index.html: {folder}");
    }
}
