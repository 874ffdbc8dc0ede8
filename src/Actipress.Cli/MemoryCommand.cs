using System.CommandLine;
using System.Globalization;
using Actipress.Accounting;
using Actipress.Experiments;
using Actipress.Models;
using Spectre.Console;
using TorchSharp;

namespace Actipress.Cli;

/// <summary><c>memory</c>: measures the memory of one network, plain and compressed.</summary>
static class MemoryCommand
{
    public static Command Make()
    {
        var network = new Argument<string>("network")
        {
            Description = $"One of: {string.Join(", ", Networks.All.Select(known => known.Name))}.",
            DefaultValueFactory = _ => "ResNet18",
        };
        var batch = Values.OptionalCount("--batch", "Examples of a step; by default the paper's.");
        var input = new Option<string?>("--input")
        {
            Description = "Shape of one example, channels first, such as 3x32x32; by default the paper's.",
            HelpName = "shape",
        };
        var codec = CommonOptions.Codec();
        var layers = CommonOptions.Layers();
        var forwardOnly =
            new Option<bool>("--forward-only") { Description = "Leave out the backward pass, and with it the peak: a third of the time." };
        var timeline = new Option<string?>("--timeline")
        {
            Description = "Draw the allocator's level through the plain and the compressed step to this .svg or .png file.",
            HelpName = "file",
        };
        var html = new Option<string?>("--html")
        {
            Description = "Write a page of both steps to this .html file: what takes the memory at each moment.",
            HelpName = "file",
        };
        var snapshot = new Option<string?>("--snapshot")
        {
            Description = "Write both steps to this .json file for PyTorch's memory viewer (pytorch.org/memory_viz), as devices 0 and 1.",
            HelpName = "file",
        };
        var predict = new Option<bool>("--predict") { Description = "Do not run the step: predict it from small ones." };
        var budget = Values.Bytes(
            "--budget",
            "Choose each layer's ratio so that the compressed step's peak keeps to so much; with --fits, the memory to fit in.");
        var fits = new Option<bool>("--fits")
        {
            Description = "Do not run the step: predict the largest batch that fits in this machine's memory, or in --budget.",
        };
        var patch = new Option<bool>("--patch")
        {
            Description = "With --fits: the largest patch at --batch in place of the largest batch. It has --input's proportions.",
        };
        var confirm = new Option<bool>("--confirm")
        {
            Description = "With --fits: run one step of each largest size and say what it took. This may take minutes.",
        };
        var stepInBackward = new Option<bool>("--step-in-backward")
        {
            Description = "Let Adam step within the compressed run's backward pass, which frees each parameter's gradient at once.",
        };
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var command = new CliCommand("memory", "Measure what a network holds, plain and compressed.")
        {
            Details = "A network of the paper, after its forward pass and at the peak of the whole step, by layer.",
            Lists = [CommonOptions.Codecs, CommonOptions.LayerSets],
            Examples =
            [
                ("", "ResNet18 at the paper's batch: ten seconds and 1 GiB"),
                ("UNet3D --predict", "what a large step will take, from small ones"),
                ("ResNet18 --fits", "the largest batch that fits in this machine, plain and compressed"),
                ("UNet3D --fits --patch --budget 11GiB", "the largest cube in 11 GiB, at a batch of 1"),
                ("ResNet20 --budget 60MiB", "the finest codecs that keep a step's peak below 60 MiB"),
                ("ResNet152 --batch 32 --step-in-backward", "without the parameters' gradients in the peak"),
                ("ResNet18 --timeline level.svg", "the level through both steps, drawn"),
                ("ResNet18 --html memory.html", "what takes the memory at each moment of both steps, in a browser"),
                ("ResNet20 --batch 32 --codec dct:4", "finer"),
            ],
        }.With(
            network, batch, input, codec, layers, forwardOnly, timeline, html, snapshot, predict, budget, fits, patch, confirm,
            stepInBackward, device, json);
        command.SetAction(parsed =>
        {
            var known = Networks.Find(parsed.GetValue(network)!);
            var plan = new MemoryPlan(
                known, parsed.GetValue(batch) ?? known.Batch, parsed.GetValue(input) is { } shape ? Shape(shape, known.Input) : known.Input,
                [ActivationCodec.Parse(parsed.GetValue(codec)!)], parsed.GetValue(layers)!, parsed.GetValue(forwardOnly),
                Devices.Parse(parsed.GetValue(device)!), parsed.GetValue(budget), parsed.GetValue(stepInBackward));
            if (plan.StepsInBackward && (plan.ForwardOnly || parsed.GetValue(predict) || parsed.GetValue(fits)))
                throw new ArgumentException("--step-in-backward is of the whole step, which is run: leave --forward-only, --predict or "
                    + "--fits out.");
            if (!parsed.GetValue(fits) && (parsed.GetValue(patch) || parsed.GetValue(confirm)))
                throw new ArgumentException("--patch and --confirm belong to --fits: add it, or leave them out.");
            if (plan.Budget is not null && (plan.ForwardOnly || parsed.GetValue(predict)))
                throw new ArgumentException("--budget is of the whole step, which is run: leave --forward-only or --predict out.");
            var ofCpu = parsed.GetValue(predict) || parsed.GetValue(fits) || plan.Budget is not null
                || parsed.GetValue(timeline) is not null || parsed.GetValue(html) is not null || parsed.GetValue(snapshot) is not null;
            if (ofCpu && plan.Device is { type: not DeviceType.CPU })
                throw new ArgumentException("--predict, --fits, --budget, --timeline, --html and --snapshot follow the CPU's allocator, "
                    + $"not that of {plan.Device}: leave one of the options out.");
            if (parsed.GetValue(timeline) is { } figure) Outputs.File("--timeline", figure, ".svg", ".png");
            if (parsed.GetValue(html) is { } wantedPage) Outputs.File("--html", wantedPage, ".html");
            if (parsed.GetValue(snapshot) is { } wantedSnapshot) Outputs.File("--snapshot", wantedSnapshot, ".json");
            if (Devices.MemoryNote(plan.Device ?? torch.CPU) is { } note) Terminal.Say(note);
            using var progress = new StatusLine();
            if (parsed.GetValue(fits))
            {
                var fit = parsed.GetValue(patch)
                    ? MemoryFit.OfPatch(plan, plan.Budget, parsed.GetValue(confirm), progress)
                    : MemoryFit.OfBatch(plan, plan.Budget, parsed.GetValue(confirm), progress);
                progress.Clear();
                if (parsed.GetValue(json)) Console.WriteLine(Json.Document(fit));
                else Show(fit);
                return 0;
            }
            if (parsed.GetValue(predict))
            {
                ((IProgress<string>)progress).Report("small steps, to see what the large one will take");
                var prediction = MemoryMeasure.Predict(plan);
                progress.Clear();
                if (parsed.GetValue(json)) Console.WriteLine(Json.Document(prediction));
                else Show(plan, prediction);
                return 0;
            }
            var result = MemoryMeasure.Run(plan, progress, out var timelines, CancellationToken.None)[0];
            progress.Clear();
            var title = $"{known.Name}, batch {plan.Batch}";
            if (parsed.GetValue(timeline) is { } file) TimelineFigure.Draw(title, timelines).Save(file);
            if (parsed.GetValue(html) is { } page)
                MemoryPage.Save(
                    page, $"{title} of {string.Join(" x ", plan.Input)}: the memory of a step",
                    [.. timelines.Select(step => (step.Name, step.Timeline!))]);
            if (parsed.GetValue(snapshot) is { } traces) MemorySnapshot.Save(traces, [.. timelines.Select(step => step.Timeline!)]);
            if (parsed.GetValue(json)) Console.WriteLine(Json.Document(result));
            else Show(result, plan.Budget);
            return 0;
        });
        return command;
    }

    static long[] Shape(string text, long[] example)
    {
        var extents = text.Split('x').Select(extent =>
            long.TryParse(extent, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value > 0 ? value : -1).ToArray();
        var elements = extents.Aggregate(1.0, (product, extent) => product * extent);
        if (extents.Length == example.Length && extents.All(extent => extent > 0) && elements <= int.MaxValue) return extents;
        var wanted = $"{example.Length} extents, channels first, and fewer than 2^31 numbers, such as {string.Join('x', example)}";
        throw new ArgumentException($"--input {text}: wanted {wanted}.");
    }

    static void Show(MemoryPlan plan, MemoryPrediction prediction)
    {
        var table = new Table
        {
            Title = new TableTitle($"{plan.Network.Name}, batch {plan.Batch} of {string.Join(" x ", plan.Input)}, "
                + $"{Markup.Escape($"{plan.Codecs[0]}")}, predicted"),
        };
        table.AddColumn("MiB");
        table.AddColumn(new TableColumn("plain").RightAligned());
        table.AddColumn(new TableColumn("compressed").RightAligned());
        table.AddRow("saved maps", MiB(prediction.Baseline.SavedBytes), MiB(prediction.Compressed.KeptBytes));
        table.AddRow(
            "the step after its forward pass", MiB(prediction.Baseline.AfterForwardBytes), MiB(prediction.Compressed.AfterForwardBytes));
        table.AddRow("peak of the whole step", MiB(prediction.Baseline.PeakBytes), MiB(prediction.Compressed.PeakBytes));
        table.AddRow(
            "parameters, buffers and input beside it", MiB(prediction.ParameterBytes + prediction.InputBytes),
            MiB(prediction.ParameterBytes + prediction.InputBytes));
        AnsiConsole.Write(table);
        Console.WriteLine($"This machine has {MiB(MemoryPrediction.AvailableBytes)} MiB available.");
    }

    static void Show(MemoryFit fit)
    {
        Console.WriteLine($"{fit.Network}: the largest input whose step fits in {MiB(fit.MemoryBytes)} MiB, with model and input,");
        Console.WriteLine("but without an optimizer's own state; predicted");
        foreach (var (name, step) in new[] { ("plain", fit.Plain), (fit.Codec, fit.Compressed) })
        {
            var took = step.LargestBytes is { } bytes ? $"; one step of it took {MiB(bytes)} MiB" : "";
            Console.WriteLine($"  {name,-12}  {MemoryFit.Size(step.Largest)}{took}");
            Console.WriteLine($"  {"",-12}  {MemoryFit.Size(fit.Given)} takes {MiB(step.GivenBytes)} MiB");
        }
    }

    static void Show(MemoryResult result, long? budget)
    {
        var table = new Table
        {
            Title = new TableTitle($"{result.Network}, batch {result.Batch} of {string.Join(" x ", result.Input)}, "
                + $"{Markup.Escape(result.Codec)} on "
                + $"{Markup.Escape(result.Blocks)}{(budget is { } bytes ? $", a step in {MiB(bytes)} MiB" : "")}"),
        };
        table.AddColumn("MiB");
        table.AddColumn(new TableColumn("plain").RightAligned());
        table.AddColumn(new TableColumn("compressed").RightAligned());
        table.AddColumn(new TableColumn("in the paper's storage").RightAligned());
        table.AddRow(
            "after the forward pass", MiB(result.BaselineBytes), MiB(result.AfterForwardBytes),
            result.PaperStorageBytes is { } paper ? MiB(paper) : "");
        if (result is { BaselinePeakBytes: { } plainPeak, PeakBytes: { } peak })
            table.AddRow("peak of the whole step", MiB(plainPeak), MiB(peak), "");
        table.AddRow("floor: parameters, input, output, target", MiB(result.FloorBytes), "", "");
        table.AddRow("others, as the paper counts", MiB(result.OthersBytes), "", "");
        AnsiConsole.Write(table);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"eta {result.EtaPercent:0.0} % as the paper counts, "
            + $"{result.EtaOfFloorPercent:0.0} % of what lies above the floor; "
            + $"{(result.PeakBytes is null ? "forward" : "forward and backward")} {result.BaselineMs:0} ms plain, {result.StepMs:0} ms "
            + $"compressed (once each, watched, which takes time at each allocation)"));
        Console.WriteLine("eta: what was saved, of what could be at all; -100 % would leave nothing but the others, or the floor.");
        Console.WriteLine();
        var report = new CompressionReport { Layers = result.Layers, LiveBytes = 0, Notes = [] };
        Console.WriteLine(report);
        foreach (var (word, meaning) in KeptTable.Words(report)) Console.WriteLine($"{word}: {meaning}.");
        Console.WriteLine("error: the length of a rebuilt map's error by that of the map.");
        Console.WriteLine("A layer of 0 B saves only what another one has saved.");
        Console.WriteLine();
        if (result.AliveAtPeak.Count > 0) Console.WriteLine("Alive at the compressed run's peak:");
        foreach (var block in result.AliveAtPeak.Take(12)) Console.WriteLine($"{MiB(block.Bytes),11} MiB  {block.What}");
    }

    static string MiB(long bytes) => FormattableString.Invariant($"{bytes / 1048576.0:0.0}");
}
