using System.Globalization;
using Actipress.Experiments;
using Spectre.Console;

namespace Actipress.Cli;

/// <summary>
/// The text that <c>train</c> prints at its end: both runs side by side, a sentence with the result, and commands to try next.
/// </summary>
static class TrainingTable
{
    /// <param name="result">Both runs.</param>
    /// <param name="report">The report of the last compressed step.</param>
    /// <param name="tested">The number of examples of the test scores.</param>
    /// <param name="path">The path of the results.</param>
    /// <param name="classNames">The names of a segmentation's classes, where they have names.</param>
    public static void Show(TrainingResult result, CompressionReport report, int tested, string path, IReadOnlyList<string>? classNames)
    {
        AnsiConsole.Write(KeptTable.Of(report));
        foreach (var note in report.Notes) Console.WriteLine(note);
        Console.WriteLine();
        AnsiConsole.Write(Table(result, classNames));
        AnsiConsole.Write(new Text(Sentence(result, tested) + "\n"));
        if (result.Provenance.Ranks is { } ranks)
            Console.WriteLine($"Memory and times are those of one of {ranks} ranks, with its part of each batch.");
        Console.WriteLine($"\nThe maps by layer: {LayersOf(path)}. Results: {path}");
        foreach (var weights in result.Weights ?? []) Console.WriteLine($"Weights: {weights}");
        if (!result.Interrupted) Console.WriteLine($"Next:\n{string.Join('\n', Next(result).Select(command => $"  {command}"))}");
        File.WriteAllText(LayersOf(path), $"{report}");
    }

    // The largest difference by chance, in points, with which the sentence says "as well". With fewer test examples chance alone is larger,
    // and "as well" would say too much.
    const double MostChance = 5;

    static string LayersOf(string results) => Path.Combine(Path.GetDirectoryName(results)!, "layers.txt");

    static Table Table(TrainingResult result, IReadOnlyList<string>? classNames)
    {
        var epochs = $"{result.Epochs} {(result.Epochs == 1 ? "epoch" : "epochs")}";
        var title = $"{result.Model} on {result.Data}, {epochs}, {result.Plan.Repetition()}{(result.Interrupted ? " (interrupted)" : "")}";
        var table = new Table { Title = new TableTitle(title) };
        table.AddColumn("");
        foreach (var column in (string[])["plain", result.Codec]) table.AddColumn(new TableColumn(Markup.Escape(column)).RightAligned());
        var (plain, packed) = (result.Baseline, result.Compressed);
        Row("peak memory of a step", MiB(plain.PeakBytes), MiB(packed.PeakBytes));
        Row("memory after its forward pass", MiB(plain.AfterForwardBytes), MiB(packed.AfterForwardBytes));
        if (plain.Batch is not null && packed.Batch is not null)
        {
            Row("a step", Examples(plain), Examples(packed));
            Row("maps that the compressed step saves", "-", MiB(packed.SavedBytes));
            Row("maps as it keeps them", "-", MiB(packed.KeptBytes));
        }
        else Row("of that, saved activation maps", MiB(packed.SavedBytes), MiB(packed.KeptBytes));
        Row("bytes an element of a map", "4", Number(packed.BytesPerElement, "0.000"));
        Row($"test {plain.ScoreName}", Percent(plain.TestScore), Percent(packed.TestScore));
        if (plain.TestClasses is { } classes && packed.TestClasses is { } packedClasses)
        {
            foreach (var (one, other) in classes.Zip(packedClasses))
                Row(
                    $"  of {Markup.Escape(classNames?[one.Class] ?? $"class {one.Class}")}, in {one.Present} of {one.Present + one.Absent}",
                    Found(one), Found(other));
            Row("  by the paper's formula", Percent(plain.TestDscPaper ?? double.NaN), Percent(packed.TestDscPaper ?? double.NaN));
        }
        Row($"train {plain.ScoreName}", Percent(plain.TrainScore), Percent(packed.TrainScore));
        Row("train loss", Number(plain.TrainLoss, "0.0000"), Number(packed.TrainLoss, "0.0000"));
        Row("time of a step", $"{Number(plain.StepMs, "0.0")} ms", $"{Number(packed.StepMs, "0.0")} ms");
        Row("gradient's cosine to the exact one", "1", Number(packed.GradientCosine, "0.0000"));
        Row("gradient's length by the exact one's", "1", Number(packed.GradientNormRatio, "0.000"));
        return table;

        void Row(string name, string baseline, string compressed) => table.AddRow(name, baseline, compressed);
    }

    static string Examples(RunResult run) => $"{run.Batch} of {string.Join('x', run.Patch!)}";

    // A class that no example has has no score. False alarms are printed.
    static string Found(ClassScore score) => (score.Dsc is { } dsc ? Percent(dsc) : "absent")
        + (score.FalseAlarms > 0 ? $" (found in {score.FalseAlarms} of {score.Absent} without it)" : "");

    /// <summary>The memory, score and time of the compressed run relative to the plain run.</summary>
    internal static string Sentence(TrainingResult result, int tested)
    {
        var (plain, packed) = (result.Baseline, result.Compressed);
        var (who, whose, memory) = (result.Model, $"{result.Model}'s", "");
        if (result.Plan.Memory is { } bound)
        {
            (who, whose) = ("", "its");
            memory = $"a step of {result.Model} takes {Examples(packed)} voxels within {MiB(bound)} in place of {Examples(plain)}, and ";
        }
        else if (plain.PeakBytes is { } before && packed.PeakBytes is { } after)
        {
            (who, whose) = ("", "its");
            memory = $"{result.Model} needs {MiB(after)} at the peak of a step" + (after < before
                ? $" in place of {MiB(before)} ({Number(100.0 * after / before, "0")} %), and "
                : $", no less than the plain network's {MiB(before)}, and ");
        }
        var difference = 100 * (packed.TestScore - plain.TestScore);
        // For two accuracies over the same number of examples this is twice the standard error of their difference. The spread of other
        // scores is not known.
        var chance = plain.TestAccuracy is null ? 0 : 200 * Math.Sqrt((Variance(plain.TestScore) + Variance(packed.TestScore)) / tested);
        var points = $"{Number(Math.Abs(difference), "0.00")} points";
        var isChance = Math.Abs(difference) <= chance;
        var untold = isChance ? $", which {tested} examples cannot tell from chance" : "";
        var score = isChance && chance <= MostChance
            ? $"{who} learns as well: its test {plain.ScoreName} is the plain network's within {points}{untold}. ".TrimStart()
            : $"{whose} test {plain.ScoreName} is {points} {(difference < 0 ? "lower" : "higher")}{untold}. ";
        var time = $"A step takes {Number(packed.StepMs / plain.StepMs, "0.0")} times as long. ";
        return $"Compressed, {memory}{score}{time}Memory is what a step adds to the model and its optimizer.";

        static double Variance(double share) => share * (1 - share);
    }

    // Three commands to try next: after volumes of the user's own their masks, otherwise another network and the memory of a large network.
    static string[] Next(TrainingResult result)
    {
        var (plan, codec) = (result.Plan, result.Plan.Codec == "dct:4" ? "dct:10" : "dct:4");
        if (KnownData.All.Any(known => known.Name == plan.Data))
            return
            [
                $"./actipress train --codec {codec}",
                plan.Model == "unet3d" ? "./actipress train --model resnet20" : "./actipress train --model unet3d",
                "./actipress memory ResNet18",
            ];
        var again = $"./actipress train --data {Argument(plan.Data)}";
        return
        [
            .. (result.Weights ?? []).TakeLast(1).Select(weights =>
                $"./actipress predict --weights {Argument(weights)} --images FOLDER --out masks"),
            $"{again} --codec {codec}",
            .. plan.Memory is null ? (string[])[$"{again} --memory 8GiB"] : [],
        ];
    }

    static string Argument(string text) => text.Contains(' ') ? $"\"{text}\"" : text;

    static string MiB(long? bytes) => bytes is null ? "-" : FormattableString.Invariant($"{bytes / 1048576.0:0.0} MiB");

    static string Number(double? value, string format) =>
        value is { } known && double.IsFinite(known) ? known.ToString(format, CultureInfo.InvariantCulture) : "-";

    static string Percent(double share) => double.IsFinite(share) ? $"{Number(100 * share, "0.00")} %" : "-";
}
