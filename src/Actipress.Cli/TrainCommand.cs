using System.CommandLine;
using System.Globalization;
using Actipress.Data;
using Actipress.Distributed;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary><c>train</c>: trains a network with and without compression, side by side.</summary>
static class TrainCommand
{
    public static Command Make(Interruption interruption)
    {
        var model = new Option<string?>("--model")
        {
            Description = $"The network: {string.Join(", ", Trainable.All.Select(network => network.Name))}. "
                + "By default resnet20, with --download lenet, for volumes of your own unet3d.",
            HelpName = "name",
        };
        var data = new Option<string?>("--data")
        {
            Description = "The data set: one of those below, or the path of a folder or .csv file of volumes (docs/volumes.md). "
                + "By default the network's own, real where there is a data folder.",
            HelpName = "name",
        };
        var codec = CommonOptions.Codec();
        var layers = CommonOptions.Layers();
        var epochs = Values.OptionalCount("--epochs", $"Passes over the training set. By default {ByNetwork(network => network.Epochs)}.");
        var batch = Values.OptionalCount(
            "--batch", $"Examples a step, over all ranks together. By default {ByNetwork(network => network.Batch)}.");
        var usualRate = new TrainingPlan { Model = "", Data = "" }.LearningRate;
        var rate = Values.Fraction("--learning-rate", "Step size of Adam; the paper's is 1e-4, for 50 to 70 epochs.", usualRate);
        var schedule = Values.OneOf<Schedule>(
            "--schedule", "How the step size goes on: constant as in the paper, or to zero along a cosine, resnet20's default.");
        var loss = Values.OneOf<SegmentationLoss>("--loss", "What a segmentation minimises: dice as in the paper, cross-entropy, or both.");
        var augmentation = Values.OneOf<Augmenting>(
            "--augmentation",
            "What chance does to examples: flips (the paper's for CIFAR), spleen (turned, scaled, shifted), brats (both).");
        var extents = new Option<string?>("--extents")
        {
            Description = "Depth, height and width to which volumes are cut or padded, multiples of 16, such as 64x64x64.",
            HelpName = "size",
        };
        var patch = new Option<string?>("--patch")
        {
            Description = "Depth, height and width of patches that are drawn from whole volumes, multiples of 16; volumes are then tested "
                + "window by window. By default for a folder of volumes, of a size that their own suggests.",
            HelpName = "size",
        };
        var memory = Values.Bytes("--memory", "What a training step may take, such as 8GiB: the largest patch and batch within it are "
            + "chosen for the codec, and for plain training what it would have been allowed.");
        var fold = new Option<string?>("--fold")
        {
            Description = "Of a cross-validation on volumes: the fold whose cases test, such as 1/5. By default a fifth of them tests.",
            HelpName = "number/count",
        };
        var volumes = new VolumeOptions();
        var seed = Values.Number("--seed", "Decides parameters, order and dropout; the same seed gives the same run.", 1);
        var most = Values.OptionalCount("--train-examples", "Train on so many examples only, taken at even distances.");
        var mostTested = Values.OptionalCount("--test-examples", "Test on so many examples only, likewise.");
        var features = Values.OptionalCount("--features", "Channels of the network's first level.");
        var batchNorms = Values.OneOf<BatchNorms>(
            "--batch-norms",
            "Of several ranks: by what a U-Net's batch norms normalise, a rank's own part of the batch (the default) or all parts together "
            + "(synchronised).");
        var dataDir = CommonOptions.DataDir();
        var download = new Option<bool>("--download") { Description = "Get MNIST's files into the data folder first (internet)." };
        var output = new Option<string>("--out")
        {
            Description = "The folder for results.jsonl, and for the training's state until it is finished.",
            HelpName = "folder",
            DefaultValueFactory = _ => "runs",
        };
        var resume = new Option<bool>("--resume")
        {
            Description = "Go on with the interrupted training of the same options whose state is in the --out folder.",
        };
        var tensorBoard = new Option<string?>("--tensorboard") { Description = "The folder for TensorBoard's logs.", HelpName = "folder" };
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var command = new CliCommand("train", "Train a network plain and compressed, side by side.")
        {
            Details = "Both runs begin from the same seed and take turns, an epoch each. Accuracy or DSC, memory, time and the gradient's "
                + "fidelity are measured in them. Without a data folder they train on data that the program draws. Under mpirun or srun "
                + "all processes train each network together: docs/distributed.md.",
            Lists =
            [
                ("Data sets", KnownData.All.Select(known => (known.Name, known.Meaning))), CommonOptions.Codecs, CommonOptions.LayerSets,
            ],
            Examples =
            [
                ("", "a residual network on drawn digits: a minute or two"),
                ("--codec dct:4 --layers all:bn", "finer, and the batch norms only"),
                ("--model unet3d", "a segmentation of volumes"),
                ("--data FOLDER --memory 8GiB", "volumes of your own, in the largest patches that 8 GiB hold"),
                ("--model lenet --data mnist --download", "get MNIST and train on it"),
                ("--epochs 20 --out runs/long", "into a folder of its own; Ctrl-C keeps the state, and"),
                ("--epochs 20 --out runs/long --resume", "goes on with it"),
            ],
        }.With(
        [
            model, data, codec, layers, epochs, batch, rate, schedule, loss, augmentation, seed, most, mostTested, features, batchNorms,
            extents, patch, memory, fold, .. volumes.All, dataDir, download, output, resume, tensorBoard, device, json,
        ]);

        command.SetAction(async (parsed, ending) =>
        {
            var (given, downloads) = (parsed.GetValue(dataDir), parsed.GetValue(download));
            var folder = DataFolder.Of(given) ?? (downloads ? "data" : null);
            var ranks = Ranks.World;
            var isFirst = ranks.Rank == 0;
            var isOwn = parsed.GetValue(data) is { } named && KnownData.All.All(known => known.Name != named);
            var network = Trainable.Find(parsed.GetValue(model) ?? (isOwn ? "unet3d" : downloads ? "lenet" : "resnet20"));
            // A folder that is named only by the environment need not have this network's data.
            var isReal = given is not null || downloads || folder is not null && KnownData.IsIn(folder, network.Data);
            var usual = network.Plan(isReal);
            var plan = usual with
            {
                Data = parsed.GetValue(data) ?? usual.Data,
                Codec = $"{ActivationCodec.Parse(parsed.GetValue(codec)!)}",
                Layers = parsed.GetValue(layers)!,
                Epochs = parsed.GetValue(epochs) ?? usual.Epochs,
                Batch = parsed.GetValue(batch) ?? usual.Batch,
                LearningRate = parsed.GetValue(rate),
                Schedule = parsed.GetValue(schedule) ?? usual.Schedule,
                Loss = parsed.GetValue(loss),
                Augmentation = parsed.GetValue(augmentation),
                Seed = parsed.GetValue(seed),
                TrainExamples = parsed.GetValue(most),
                TestExamples = parsed.GetValue(mostTested),
                Features = parsed.GetValue(features),
                BatchNorms = parsed.GetValue(batchNorms),
                Extents = parsed.GetValue(extents) is { } size ? Extents("--extents", size) : null,
                Patch = parsed.GetValue(patch) is { } drawn ? Extents("--patch", drawn) : null,
                Memory = parsed.GetValue(memory),
                Fold = parsed.GetValue(fold),
                Volumes = volumes.Of(parsed),
            };
            plan.Check();
            plan.CheckAmong(ranks.Size);
            var where = Devices.Of(ranks, parsed.GetValue(device)!);
            var into = parsed.GetValue(output)!;
            if (isFirst)
            {
                Outputs.Folder("--out", into);
                if (parsed.GetValue(tensorBoard) is { } logFolder) Outputs.Folder("--tensorboard", logFolder);
            }
            if (downloads)
            {
                using var status = new StatusLine();
                if (isFirst) await Mnist.DownloadAsync(DataFolder.Part(folder!, "mnist"), status, ending);
                ranks.Barrier();
            }
            var state = new TrainingState(Path.Combine(into, "training.state"), plan) { Ranks = ranks.Size };
            using var alone = isFirst ? state.Alone() : null;
            if (isFirst) EnsureBeginsOrGoesOn(state, into, parsed.GetValue(resume));
            var results = isFirst ? new ResultsFile(into) : null;
            var loaded = KnownData.Load(plan, folder);
            const string Ended = "where mpirun ends the ranks before, --resume goes on with what was saved within the last minute.";
            using var afterStep = ranks.Size == 1 ? interruption.AfterStep() : interruption.AfterStep(otherwise: Ended);
            if (isFirst) await Announce(plan, loaded, ranks, where);
            var log = isFirst && parsed.GetValue(tensorBoard) is { } logs ? new TensorBoardLog(logs) : null;
            using var progress = isFirst ? new ProgressLine(plan.Epochs, runs: 2, log) : null;
            var done = Training.Run(plan, loaded, results, state, progress, interruption.Token, where, ranks, into);
            progress?.Clear();
            if (isFirst && (done is null || done.Value.Result.Interrupted) && state.Exists)
                await Console.Error.WriteLineAsync($"Interrupted; the state is in {state.Path}. The same command with --resume goes on.");
            if (isFirst && done is null)
                await Console.Error.WriteLineAsync("Interrupted before both runs had finished an epoch: nothing to compare.");
            // An exit code other than 0 would end ranks that still work.
            ranks.Dispose();
            if (done is not var (result, report)) return CommandLine.Interrupted;
            if (isFirst && parsed.GetValue(json)) Console.WriteLine(Json.Document(result));
            else if (isFirst) TrainingTable.Show(result, report, loaded.Test.Count, results!.Path, loaded.Scans?.ClassNames);
            return result.Interrupted ? CommandLine.Interrupted : 0;
        });
        return command;
    }

    static void EnsureBeginsOrGoesOn(TrainingState state, string into, bool resumes)
    {
        if (resumes && !state.Exists)
            throw new InvalidDataException(
                $"No {state.Path}: no training was interrupted there. Give its --out folder, or begin anew without --resume.");
        if (resumes || !state.Exists) return;
        var which = state.PlanOfFile() is { } begun ? $", of {Command(begun, into)}" : "";
        throw new InvalidDataException($"{state.Path} is an unfinished training{which}. "
            + "The same command with --resume goes on with it, another --out folder leaves it alone, removing the file gives it up.");
    }

    static async Task Announce(TrainingPlan plan, TrainingData data, Ranks ranks, TorchSharp.torch.Device where)
    {
        foreach (var line in data.Lines) await Console.Error.WriteLineAsync(line);
        var together = ranks.Size > 1
            ? $", {ranks.Size} ranks by {ranks.Library}, {plan.Batch / ranks.Size} of a batch's {plan.Batch} examples each" : "";
        await Console.Error.WriteLineAsync($"{plan.Model} on {data.Name}: {data.Train.Count} examples to train on, "
            + $"{data.Test.Count} to test on; {plan.Codec}, layers {plan.Layers}, on {Devices.Name(where)}{together}.");
        using (Devices.Meter(where, out var refusal))
            if (refusal is not null) await Console.Error.WriteLineAsync($"The allocator's figures are left out. {refusal}");
            else if (Devices.MemoryNote(where) is { } note) await Console.Error.WriteLineAsync(note);
    }

    static string ByNetwork(Func<Trainable, int> value) =>
        string.Join(", ", Trainable.All.Select(network => $"{value(network)} for {network.Name}"));

    // The command line that trains this plan, without the network's defaults.
    static string Command(TrainingPlan plan, string into)
    {
        var usual = Trainable.Find(plan.Model).Plan(realData: false) with { Data = plan.Data };
        (string Option, object? Value, object? Usual)[] options =
        [
            ("codec", plan.Codec, usual.Codec), ("layers", plan.Layers, usual.Layers), ("epochs", plan.Epochs, usual.Epochs),
            ("batch", plan.Batch, usual.Batch), ("learning-rate", plan.LearningRate, usual.LearningRate),
            ("schedule", plan.Schedule, usual.Schedule), ("loss", plan.Loss, usual.Loss),
            ("augmentation", plan.Augmentation, usual.Augmentation), ("seed", plan.Seed, usual.Seed),
            ("train-examples", plan.TrainExamples, usual.TrainExamples), ("test-examples", plan.TestExamples, usual.TestExamples),
            ("features", plan.Features, usual.Features), ("batch-norms", plan.BatchNorms, usual.BatchNorms),
            ("extents", plan.Extents is { } size ? string.Join('x', size) : null, null),
            ("patch", plan.Patch is { } drawn ? string.Join('x', drawn) : null, null),
            ("memory", plan.Memory is { } bytes ? $"{bytes}B" : null, null), ("fold", plan.Fold, null),
            .. VolumeOptions.Typed(plan.Volumes).Select(choice => (choice.Option, (object?)choice.Value, (object?)null)),
        ];
        var given = options.Where(option => !Equals(option.Value, option.Usual))
            .Select(option => string.Create(CultureInfo.InvariantCulture, $" --{option.Option} {Word(option.Value)}"));
        return $"'./actipress train --model {plan.Model} --data {plan.Data}{string.Concat(given)} --out {into}'";

        static object? Word(object? value) => value is Enum one ? Values.Word(one) : value;
    }

    static int[] Extents(string option, string size)
    {
        try { return [.. size.Split('x').Select(extent => int.Parse(extent, CultureInfo.InvariantCulture))]; }
        catch (Exception failure) when (failure is FormatException or OverflowException)
        {
            throw new FormatException($"{option} {size}: wanted three numbers such as 64x64x64.", failure);
        }
    }
}
