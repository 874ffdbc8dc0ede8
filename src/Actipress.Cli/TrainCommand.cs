using System.CommandLine;
using Actipress.Data;
using Actipress.Experiments;
using Spectre.Console;

namespace Actipress.Cli;

/// <summary><c>train</c>: a network with and without compression, side by side.</summary>
static class TrainCommand
{
    public static Command Make()
    {
        var codec = CommonOptions.Codec();
        var layers = new Option<string>("--layers") { Description = "Which layers are compressed: all, or names and patterns such as conv1,relu*.", HelpName = "names", DefaultValueFactory = _ => "all" };
        var epochs = CommonOptions.Positive("--epochs", "Passes over the training set.", 3);
        var batch = CommonOptions.Positive("--batch", "Images a step.", 128);
        var seed = new Option<int>("--seed") { Description = "Decides parameters, order and dropout; the same seed gives the same run.", DefaultValueFactory = _ => 1 };
        var dataDir = CommonOptions.DataDir();
        var download = new Option<bool>("--download") { Description = "Get MNIST's files into the data folder first (internet)." };
        var output = new Option<string>("--out") { Description = "The folder for results.jsonl.", HelpName = "folder", DefaultValueFactory = _ => "runs" };
        var json = CommonOptions.Json();
        var command = new Command("train", "Train LeNet twice from the same seed, plain and with compressed activation maps: accuracy, memory, time and gradient fidelity side by side. Without a data folder, on digits that the program draws.")
        { codec, layers, epochs, batch, seed, dataDir, download, output, json };

        command.SetAction(async (parsed, cancellation) =>
        {
            var chosen = ActivationCodec.Parse(parsed.GetValue(codec)!);
            using var results = new ResultsFile(parsed.GetValue(output)!);
            var folder = DataFolder.Of(parsed.GetValue(dataDir));
            var quiet = parsed.GetValue(json);
            if (parsed.GetValue(download))
                await Mnist.DownloadAsync(DataFolder.Part(folder ??= "data", "mnist"), new Progress<string>(Console.Error.WriteLine), cancellation);
            var data = folder is null ? GeneratedDigits.Make() : Mnist.Load(DataFolder.Part(folder, "mnist"));
            if (parsed.GetValue(batch) > data.Train.Count) throw new ArgumentException($"No batch of {parsed.GetValue(batch)}: {data.Name} has {data.Train.Count} images.");
            var plan = new TrainingPlan
            {
                Data = data,
                Codec = chosen,
                Layers = parsed.GetValue(layers)!,
                Epochs = parsed.GetValue(epochs),
                Batch = parsed.GetValue(batch),
                Seed = parsed.GetValue(seed),
            };
            await Console.Error.WriteLineAsync($"LeNet on {data.Name}: {data.Train.Count} images to train on, {data.Test.Count} to test on; {chosen}, layers {plan.Layers}.");
            using var progress = new ProgressLine();
            var done = Training.Run(plan, results, progress, cancellation);
            progress.Clear();
            if (done is not var (result, report))
            {
                await Console.Error.WriteLineAsync("Interrupted before both runs had finished an epoch: nothing to compare.");
                return UserErrors.Interrupted;
            }
            if (quiet) Console.WriteLine(Json.Document(result));
            else Show(result, report, results.Path);
            return result.Interrupted ? UserErrors.Interrupted : 0;
        });
        return command;
    }

    static void Show(TrainingResult result, CompressionReport report, string path)
    {
        var table = new Table { Title = new TableTitle($"{result.Model} on {result.Data}, {result.Epochs} epochs, seed {result.Seed}{(result.Interrupted ? " (interrupted)" : "")}") };
        table.AddColumn("");
        table.AddColumn(new TableColumn("baseline").RightAligned());
        table.AddColumn(new TableColumn(Markup.Escape(result.Codec)).RightAligned());
        var (plain, packed) = (result.Baseline, result.Compressed);
        void Row(string name, FormattableString baseline, FormattableString compressed) => table.AddRow(name, FormattableString.Invariant(baseline), FormattableString.Invariant(compressed));
        Row("test accuracy", $"{100 * plain.TestAccuracy:0.00} %", $"{100 * packed.TestAccuracy:0.00} %");
        Row("train loss", $"{plain.TrainLoss:0.0000}", $"{packed.TrainLoss:0.0000}");
        Row("saved activation maps", $"{MiB(packed.SavedBytes!.Value)}", $"{MiB(packed.KeptBytes!.Value)}");
        Row("bytes an element", $"4", $"{packed.BytesPerElement:0.000}");
        Row("allocator after forward", $"{MiB(plain.AfterForwardBytes)}", $"{MiB(packed.AfterForwardBytes)}");
        Row("allocator peak in a step", $"{MiB(plain.PeakBytes)}", $"{MiB(packed.PeakBytes)}");
        Row("time a batch", $"{plain.StepMs:0.0} ms", $"{packed.StepMs:0.0} ms");
        Row("gradient cosine", $"1", $"{packed.GradientCosine:0.0000}");
        Row("gradient norm ratio", $"1", $"{packed.GradientNormRatio:0.000}");
        AnsiConsole.Write(table);
        Console.WriteLine(report);
        Console.WriteLine($"Results: {path}");
    }

    static string MiB(long bytes) => FormattableString.Invariant($"{bytes / 1048576.0:0.00} MiB");
}
