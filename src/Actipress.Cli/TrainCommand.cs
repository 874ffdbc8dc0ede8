using System.CommandLine;
using System.Globalization;
using Actipress.Data;
using Actipress.Distributed;
using Actipress.Experiments;
using Spectre.Console;

namespace Actipress.Cli;

/// <summary><c>train</c>: a network with and without compression, side by side.</summary>
static class TrainCommand
{
    public static Command Make()
    {
        var model = new Option<string?>("--model") { Description = $"The network: "
            + $"{string.Join(", ", Trainable.All.Select(network => network.Name))}. By default unet3d for a folder of volumes, else "
            + "lenet.", HelpName = "name" };
        var data = new Option<string?>("--data") { Description = $"The data set: "
            + $"{string.Join("; ", KnownData.All.Select(known => $"{known.Name}, {known.Meaning}"))}; or the path of a folder or .csv "
            + "file of volumes (docs/volumes.md). By default the network's own, real where there is a data folder.", HelpName = "name" };
        var codec = CommonOptions.Codec();
        var layers = CommonOptions.Layers();
        var epochs = Number("--epochs", $"Passes over the training set. By default {string.Join(", ", Trainable.All.Select(network => $"{network.Epochs} for {network.Name}"))}.");
        var batch = Number("--batch", $"Examples a step. By default {string.Join(", ", Trainable.All.Select(network => $"{network.Batch} for {network.Name}"))}.");
        var rate = new Option<double>("--learning-rate") { Description = "Step size of Adam; the paper's is 1e-4, for 50 to 70 epochs.", HelpName = "rate", DefaultValueFactory = _ => new TrainingPlan { Model = "", Data = "" }.LearningRate };
        var schedule = new Option<Schedule>("--schedule") { Description = "How the step size goes on: constant as in the paper, or down to zero along half a cosine.", HelpName = "constant|cosine" };
        var loss = new Option<string>("--loss") { Description = "What a segmentation minimises: dice as in the paper, cross-entropy, or both.", HelpName = "dice|cross-entropy|both" };
        loss.AcceptOnlyFromAmong("dice", "cross-entropy", "both");
        var augmentation = new Option<Augmenting?>("--augmentation") { Description = "What chance does to examples while training: flips (the paper's for CIFAR), spleen (turned, scaled, shifted a little), brats (both).", HelpName = "flips|spleen|brats" };
        var extents = new Option<string?>("--extents") { Description = "Depth, height and width to which volumes are cut or padded, multiples of 16, such as 64x64x64.", HelpName = "size" };
        var patch = new Option<string?>("--patch") { Description = "Depth, height and width of patches that are drawn from whole volumes, "
            + "multiples of 16; volumes are then tested window by window. By default for a folder of volumes, of a size that their own "
            + "suggests.", HelpName = "size" };
        var memory = new Option<string?>("--memory") { Description = "Bytes that a training step may take, such as 8GiB: the largest "
            + "patch and batch within them are chosen for the codec, and for plain training what it would have been allowed.",
            HelpName = "bytes" };
        var volumes = new VolumeOptions();
        var seed = new Option<int>("--seed") { Description = "Decides parameters, order and dropout; the same seed gives the same run.", DefaultValueFactory = _ => 1 };
        var most = Number("--train-examples", "Train on so many examples only, taken at even distances.");
        var mostTested = Number("--test-examples", "Test on so many examples only, likewise.");
        var features = Number("--features", "Channels of the network's first level.");
        var dataDir = CommonOptions.DataDir();
        var download = new Option<bool>("--download") { Description = "Get MNIST's files into the data folder first (internet)." };
        var output = new Option<string>("--out") { Description = "The folder for results.jsonl, and for the training's state until it is finished.", HelpName = "folder", DefaultValueFactory = _ => "runs" };
        var resume = new Option<bool>("--resume") { Description = "Go on with the interrupted training of the same options whose state is in the --out folder." };
        var tensorBoard = new Option<string?>("--tensorboard") { Description = "The folder for TensorBoard's logs.", HelpName = "folder" };
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var command = new Command("train", "Train a network twice from the same seed, plain and with compressed activation maps: accuracy or DSC, memory, time and gradient fidelity side by side. Without a data folder, on data that the program draws.")
        { model, data, codec, layers, epochs, batch, rate, schedule, loss, augmentation, seed, most, mostTested, features, extents, patch,
            memory, dataDir, download, output, resume, tensorBoard, device, json };
        volumes.AddTo(command);

        command.SetAction(async (parsed, cancellation) =>
        {
            var folder = DataFolder.Of(parsed.GetValue(dataDir));
            var ranks = Ranks.World;
            var isFirst = ranks.Rank == 0;
            if (parsed.GetValue(download))
            {
                folder ??= "data";
                using var status = new StatusLine();
                if (isFirst) await Mnist.DownloadAsync(DataFolder.Part(folder, "mnist"), status, cancellation);
                ranks.Barrier();
            }
            var isOwn = parsed.GetValue(data) is { } named && KnownData.All.All(known => known.Name != named);
            var usual = Trainable.Find(parsed.GetValue(model) ?? (isOwn ? "unet3d" : "lenet")).Plan(realData: folder is not null);
            var plan = usual with
            {
                Data = parsed.GetValue(data) ?? usual.Data,
                Codec = $"{ActivationCodec.Parse(parsed.GetValue(codec)!)}",
                Layers = parsed.GetValue(layers)!,
                Epochs = parsed.GetValue(epochs) ?? usual.Epochs,
                Batch = parsed.GetValue(batch) ?? usual.Batch,
                LearningRate = parsed.GetValue(rate),
                Schedule = parsed.GetValue(schedule),
                Loss = parsed.GetValue(loss) switch { "dice" => SegmentationLoss.Dice, "cross-entropy" => SegmentationLoss.CrossEntropy, "both" => SegmentationLoss.Both, _ => null },
                Augmentation = parsed.GetValue(augmentation),
                Seed = parsed.GetValue(seed),
                TrainExamples = parsed.GetValue(most),
                TestExamples = parsed.GetValue(mostTested),
                Features = parsed.GetValue(features),
                Extents = parsed.GetValue(extents) is { } size ? Extents("--extents", size) : null,
                Patch = parsed.GetValue(patch) is { } drawn ? Extents("--patch", drawn) : null,
                Memory = parsed.GetValue(memory) is { } bound ? Bytes(bound) : null,
                Volumes = volumes.Of(parsed),
            };
            plan.Check();
            var where = Devices.Of(ranks, parsed.GetValue(device)!);
            var results = isFirst ? new ResultsFile(parsed.GetValue(output)!) : null;
            var state = new TrainingState(Path.Combine(parsed.GetValue(output)!, "training.state"), plan);
            if (isFirst && !parsed.GetValue(resume)) state.Delete();
            else if (isFirst && !state.Exists) throw new InvalidDataException($"No {state.Path}: no training was interrupted there. Give its --out folder, or begin anew without --resume.");
            var loaded = KnownData.Load(plan, folder);
            if (isFirst)
                foreach (var line in loaded.Lines) await Console.Error.WriteLineAsync(line);
            if (isFirst) await Announce(plan, loaded, ranks, where);
            using var progress = isFirst ? new ProgressLine(parsed.GetValue(tensorBoard) is { } logs ? new TensorBoardLog(logs) : null) : null;
            var done = Training.Run(plan, loaded, results, state, progress, cancellation, where, ranks, parsed.GetValue(output));
            progress?.Clear();
            if (isFirst && (done is null || done.Value.Result.Interrupted) && state.Exists) await Console.Error.WriteLineAsync($"Interrupted; the state is in {state.Path}. The same command with --resume goes on.");
            if (isFirst && done is null) await Console.Error.WriteLineAsync("Interrupted before both runs had finished an epoch: nothing to compare.");
            // An exit code other than 0 would end ranks that are not that far.
            ranks.Dispose();
            if (done is not var (result, report)) return UserErrors.Interrupted;
            if (isFirst && parsed.GetValue(json)) Console.WriteLine(Json.Document(result));
            else if (isFirst) Show(result, report, results!.Path, loaded.Scans?.ClassNames);
            return result.Interrupted ? UserErrors.Interrupted : 0;
        });
        return command;
    }

    static async Task Announce(TrainingPlan plan, TrainingData data, Ranks ranks, TorchSharp.torch.Device where)
    {
        var together = ranks.Size > 1 ? $", {ranks.Size} ranks by {ranks.Library}, {plan.Batch / ranks.Size} of a batch's {plan.Batch} examples each" : "";
        await Console.Error.WriteLineAsync($"{plan.Model} on {data.Name}: {data.Train.Count} examples to train on, {data.Test.Count} to test on; {plan.Codec}, layers {plan.Layers}, on {Devices.Name(where)}{together}.");
        using (Devices.Meter(where, out var refusal))
            if (refusal is not null) await Console.Error.WriteLineAsync($"The allocator's figures are left out. {refusal}");
    }

    static Option<int?> Number(string name, string description)
    {
        var option = new Option<int?>(name) { Description = description, HelpName = "number" };
        option.Validators.Add(found =>
        {
            if (found.GetValueOrDefault<int?>() < 1) found.AddError($"{name} {found.GetValueOrDefault<int?>()}: wanted 1 or more.");
        });
        return option;
    }

    static readonly (string Unit, long Bytes)[] units = [("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("kB", 1000),
        ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1), ("", 1)];

    static long Bytes(string text)
    {
        var (unit, bytes) = units.First(one => text.EndsWith(one.Unit, StringComparison.OrdinalIgnoreCase));
        return double.TryParse(text[..^unit.Length], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            && number * bytes is >= 1 and < long.MaxValue
            ? (long)(number * bytes) : throw new FormatException($"--memory {text}: wanted a number of bytes such as 8GiB or 900MiB.");
    }

    static int[] Extents(string option, string size)
    {
        try { return [.. size.Split('x').Select(extent => int.Parse(extent, CultureInfo.InvariantCulture))]; }
        catch (Exception failure) when (failure is FormatException or OverflowException)
        {
            throw new FormatException($"{option} {size}: wanted three numbers such as 64x64x64.", failure);
        }
    }

    static void Show(TrainingResult result, CompressionReport report, string path, IReadOnlyList<string>? classNames)
    {
        var table = new Table { Title = new TableTitle($"{result.Model} on {result.Data}, {result.Epochs} epochs, seed {result.Seed}{(result.Interrupted ? " (interrupted)" : "")}") };
        table.AddColumn("");
        table.AddColumn(new TableColumn("baseline").RightAligned());
        table.AddColumn(new TableColumn(Markup.Escape(result.Codec)).RightAligned());
        var (plain, packed) = (result.Baseline, result.Compressed);
        void Row(string name, FormattableString baseline, FormattableString compressed) => table.AddRow(name, FormattableString.Invariant(baseline), FormattableString.Invariant(compressed));
        Row($"test {plain.ScoreName}", $"{100 * plain.TestScore:0.00} %", $"{100 * packed.TestScore:0.00} %");
        if (plain.TestClasses is { } classes && packed.TestClasses is { } packedClasses)
        {
            foreach (var (one, other) in classes.Zip(packedClasses))
                Row($"  of {Markup.Escape(classNames?[one.Class] ?? $"class {one.Class}")}, in {one.Present} of "
                    + $"{one.Present + one.Absent}", $"{Percent(one)}", $"{Percent(other)}");
            Row($"  by the paper's formula", $"{100 * plain.TestDscPaper:0.00} %", $"{100 * packed.TestDscPaper:0.00} %");
        }
        Row($"train {plain.ScoreName}", $"{100 * plain.TrainScore:0.00} %", $"{100 * packed.TrainScore:0.00} %");
        Row("train loss", $"{plain.TrainLoss:0.0000}", $"{packed.TrainLoss:0.0000}");
        if (plain.Batch is not null && packed.Batch is not null)
        {
            Row("a step", $"{plain.Batch} of {string.Join("x", plain.Patch!)}", $"{packed.Batch} of {string.Join("x", packed.Patch!)}");
            Row("maps that the compressed step saves", $"-", $"{MiB(packed.SavedBytes)}");
            Row("maps as it keeps them", $"-", $"{MiB(packed.KeptBytes)}");
        }
        else Row("saved activation maps", $"{MiB(packed.SavedBytes)}", $"{MiB(packed.KeptBytes)}");
        Row("bytes an element", $"4", $"{packed.BytesPerElement:0.000}");
        Row("allocator after forward", $"{MiB(plain.AfterForwardBytes)}", $"{MiB(packed.AfterForwardBytes)}");
        Row("allocator peak in a step", $"{MiB(plain.PeakBytes)}", $"{MiB(packed.PeakBytes)}");
        Row("time a batch", $"{plain.StepMs:0.0} ms", $"{packed.StepMs:0.0} ms");
        Row("gradient cosine", $"1", $"{packed.GradientCosine:0.0000}");
        Row("gradient norm ratio", $"1", $"{packed.GradientNormRatio:0.000}");
        AnsiConsole.Write(table);
        Console.WriteLine(report);
        Console.WriteLine($"Results: {path}");
        foreach (var weights in result.Weights ?? []) Console.WriteLine($"Weights: {weights}");
    }

    // What is in no example has no score; what is found where it is not is told.
    static string Percent(ClassScore score) =>
        $"{(score.Dsc is { } dsc ? FormattableString.Invariant($"{100 * dsc:0.00} %") : "absent")}{(score.FalseAlarms > 0 ? $" (found in {score.FalseAlarms} of {score.Absent} without it)" : "")}";

    static string MiB(long? bytes) => bytes is null ? "-" : FormattableString.Invariant($"{bytes / 1048576.0:0.00} MiB");
}
