using System.CommandLine;
using System.Globalization;
using Actipress.Data;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary><c>train</c>: a network with and without compression, side by side.</summary>
static class TrainCommand
{
    public static Command Make(Interruption interruption)
    {
        var model = new Option<string?>("--model")
        {
            Description = $"The network: {string.Join(", ", Trainable.All.Select(network => network.Name))}. By default resnet20, with --download lenet.",
            HelpName = "name",
        };
        var data = new Option<string?>("--data")
        {
            Description = "The data set: one of those below. By default the network's own, real where there is a data folder.",
            HelpName = "name",
        };
        var codec = CommonOptions.Codec();
        var layers = CommonOptions.Layers();
        var epochs = Values.OptionalCount("--epochs", $"Passes over the training set. By default {ByNetwork(network => network.Epochs)}.");
        var batch = Values.OptionalCount("--batch", $"Examples a step. By default {ByNetwork(network => network.Batch)}.");
        var usualRate = new TrainingPlan { Model = "", Data = "" }.LearningRate;
        var rate = Values.Fraction("--learning-rate", "Step size of Adam; the paper's is 1e-4, for 50 to 70 epochs.", usualRate);
        var schedule = Values.OneOf<Schedule>(
            "--schedule", "How the step size goes on: constant as in the paper, or to zero along a cosine, resnet20's default.");
        var loss = Values.OneOf<SegmentationLoss>("--loss", "What a segmentation minimises: dice as in the paper, cross-entropy, or both.");
        var augmentation = Values.OneOf<Augmenting>(
            "--augmentation", "What chance does to examples: flips (the paper's for CIFAR), spleen (turned, scaled, shifted), brats (both).");
        var extents = new Option<string?>("--extents") { Description = "Depth, height and width to which volumes are cut or padded, multiples of 16, such as 64x64x64.", HelpName = "size" };
        var seed = Values.Number("--seed", "Decides parameters, order and dropout; the same seed gives the same run.", 1);
        var most = Values.OptionalCount("--train-examples", "Train on so many examples only, taken at even distances.");
        var mostTested = Values.OptionalCount("--test-examples", "Test on so many examples only, likewise.");
        var features = Values.OptionalCount("--features", "Channels of the network's first level.");
        var dataDir = CommonOptions.DataDir();
        var download = new Option<bool>("--download") { Description = "Get MNIST's files into the data folder first (internet)." };
        var output = new Option<string>("--out") { Description = "The folder for results.jsonl, and for the training's state until it is finished.", HelpName = "folder", DefaultValueFactory = _ => "runs" };
        var resume = new Option<bool>("--resume") { Description = "Go on with the interrupted training of the same options whose state is in the --out folder." };
        var tensorBoard = new Option<string?>("--tensorboard") { Description = "The folder for TensorBoard's logs.", HelpName = "folder" };
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var command = new CliCommand("train", "Train a network plain and compressed, side by side.")
        {
            Details = "Both runs begin from the same seed and take turns, an epoch each. Accuracy or DSC, memory, time and the gradient's "
                + "fidelity are measured in them. Without a data folder they train on data that the program draws.",
            Lists =
            [
                ("Data sets", KnownData.All.Select(known => (known.Name, known.Meaning))), CommonOptions.Codecs, CommonOptions.LayerSets,
            ],
            Examples =
            [
                ("", "a residual network on drawn digits: a minute or two"),
                ("--codec dct:4 --layers all:bn", "finer, and the batch norms only"),
                ("--model unet3d", "a segmentation of volumes"),
                ("--model lenet --data mnist --download", "get MNIST and train on it"),
                ("--epochs 20 --out runs/long", "into a folder of its own; Ctrl-C keeps the state, and"),
                ("--epochs 20 --out runs/long --resume", "goes on with it"),
            ],
        }.With(
            model, data, codec, layers, epochs, batch, rate, schedule, loss, augmentation, seed, most, mostTested, features, extents, dataDir,
            download, output, resume, tensorBoard, device, json);

        command.SetAction(async (parsed, ending) =>
        {
            var (given, downloads) = (parsed.GetValue(dataDir), parsed.GetValue(download));
            var folder = DataFolder.Of(given) ?? (downloads ? "data" : null);
            var network = Trainable.Find(parsed.GetValue(model) ?? (downloads ? "lenet" : "resnet20"));
            // A folder that only the environment names need not have this network's data.
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
                Extents = parsed.GetValue(extents) is { } size ? Extents(size) : null,
            };
            plan.Check();
            var where = Devices.Parse(parsed.GetValue(device)!);
            var into = Outputs.Folder("--out", parsed.GetValue(output)!);
            if (parsed.GetValue(tensorBoard) is { } logFolder) Outputs.Folder("--tensorboard", logFolder);
            if (downloads)
            {
                using var status = new StatusLine();
                await Mnist.DownloadAsync(DataFolder.Part(folder!, "mnist"), status, ending);
            }
            var state = new TrainingState(Path.Combine(into, "training.state"), plan);
            using var alone = state.Alone();
            if (parsed.GetValue(resume) && !state.Exists)
                throw new InvalidDataException(
                    $"No {state.Path}: no training was interrupted there. Give its --out folder, or begin anew without --resume.");
            if (!parsed.GetValue(resume) && state.Exists)
            {
                var which = state.PlanOfFile() is { } begun ? $", of {CommandLine(begun, into)}" : "";
                throw new InvalidDataException($"{state.Path} is an unfinished training{which}. "
                    + "The same command with --resume goes on with it, another --out folder leaves it alone, removing the file gives it up.");
            }
            var results = new ResultsFile(into);
            var loaded = KnownData.Load(plan, folder);
            using var afterStep = interruption.AfterStep();
            await Console.Error.WriteLineAsync($"{plan.Model} on {loaded.Name}: {loaded.Train.Count} examples to train on, {loaded.Test.Count} to test on; {plan.Codec}, layers {plan.Layers}, on {Devices.Name(where)}.");
            using (Devices.Meter(where, out var refusal))
                if (refusal is not null) await Console.Error.WriteLineAsync($"The allocator's figures are left out. {refusal}");
            var log = parsed.GetValue(tensorBoard) is { } logs ? new TensorBoardLog(logs) : null;
            using var progress = new ProgressLine(plan.Epochs, runs: 2, log);
            var done = Training.Run(plan, loaded, results, state, progress, interruption.Token, where);
            progress.Clear();
            if (interruption.Token.IsCancellationRequested && state.Exists)
                await Console.Error.WriteLineAsync($"Interrupted; the state is in {state.Path}. The same command with --resume goes on.");
            if (done is not var (result, report))
            {
                await Console.Error.WriteLineAsync("Interrupted before both runs had finished an epoch: nothing to compare.");
                return UserErrors.Interrupted;
            }
            if (parsed.GetValue(json)) Console.WriteLine(Json.Document(result));
            else TrainingTable.Show(result, report, loaded.Test.Count, results.Path);
            return result.Interrupted ? UserErrors.Interrupted : 0;
        });
        return command;
    }

    static string ByNetwork(Func<Trainable, int> value) =>
        string.Join(", ", Trainable.All.Select(network => $"{value(network)} for {network.Name}"));

    // What trains this plan, without the network's usual choices.
    static string CommandLine(TrainingPlan plan, string into)
    {
        var usual = Trainable.Find(plan.Model).Plan(realData: false) with { Data = plan.Data };
        (string Option, object? Value, object? Usual)[] options =
        [
            ("codec", plan.Codec, usual.Codec), ("layers", plan.Layers, usual.Layers), ("epochs", plan.Epochs, usual.Epochs),
            ("batch", plan.Batch, usual.Batch), ("learning-rate", plan.LearningRate, usual.LearningRate),
            ("schedule", plan.Schedule, usual.Schedule), ("loss", plan.Loss, usual.Loss),
            ("augmentation", plan.Augmentation, usual.Augmentation), ("seed", plan.Seed, usual.Seed), ("train-examples", plan.TrainExamples, usual.TrainExamples),
            ("test-examples", plan.TestExamples, usual.TestExamples), ("features", plan.Features, usual.Features),
            ("extents", plan.Extents is { } size ? string.Join('x', size) : null, null),
        ];
        var given = options.Where(option => !Equals(option.Value, option.Usual))
            .Select(option => string.Create(CultureInfo.InvariantCulture, $" --{option.Option} {Word(option.Value)}"));
        return $"'./actipress train --model {plan.Model} --data {plan.Data}{string.Concat(given)} --out {into}'";

        static object? Word(object? value) => value is Enum one ? Values.Word(one) : value;
    }

    static int[] Extents(string size)
    {
        try { return [.. size.Split('x').Select(extent => int.Parse(extent, CultureInfo.InvariantCulture))]; }
        catch (Exception failure) when (failure is FormatException or OverflowException) { throw new FormatException($"--extents {size}: wanted three numbers such as 64x64x64.", failure); }
    }
}
