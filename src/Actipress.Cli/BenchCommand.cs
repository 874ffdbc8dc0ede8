using System.CommandLine;
using Actipress.Benchmarks;
using Actipress.Data;
using Actipress.Distributed;
using Actipress.Experiments;
using Spectre.Console;
using TorchSharp;

namespace Actipress.Cli;

/// <summary><c>bench</c>: measures the cost and the quality of codecs.</summary>
static class BenchCommand
{
    const string Several = "ranks";

    static readonly string[] defaultCodecs = ["dct:10", "wt:haar:10", "wt:db3:10", "st:10", "quant:2"];

    public static Command Make(Interruption interruption)
    {
        var parts = new Argument<string[]>("parts")
        {
            Description = "Any of the parts below; by default all but ranks.",
            HelpName = "parts",
            Arity = ArgumentArity.ZeroOrMore,
        };
        parts.AcceptOnlyFromAmong([.. Suite.Parts.Select(part => part.Name), Several]);
        var codecs = new Option<string[]>("--codec")
        {
            Description = $"Codecs to time; the first is that of the training steps. By default {string.Join(", ", defaultCodecs)}.",
            HelpName = "codecs",
            AllowMultipleArgumentsPerToken = true,
        };
        var maps = new Option<string[]>("--map")
        {
            Description = $"Activation maps to time them on: {string.Join(", ", RealMaps.Names)}. By default all, and a photo where there "
                + "is a data folder.",
            HelpName = "maps",
            AllowMultipleArgumentsPerToken = true,
        };
        maps.AcceptOnlyFromAmong([.. RealMaps.Names]);
        var networks = new Option<string[]>("--network")
        {
            Description = $"Networks whose training steps to time: {string.Join(", ", Suite.Networks)}; for fits any network of memory. By "
                + "default all.",
            HelpName = "networks",
            AllowMultipleArgumentsPerToken = true,
        };
        networks.AcceptOnlyFromAmong([.. Suite.Networks, .. Models.Networks.All.Select(network => network.Name)]);
        var rounds = Values.Count("--rounds", "Repetitions of each timing; the median counts.", 9);
        var dataDir = CommonOptions.DataDir();
        var output = new Option<string>("--out")
        {
            Description = "The folder for results.jsonl.",
            HelpName = "folder",
            DefaultValueFactory = _ => "runs/bench",
        };
        var store = new Option<string?>("--store")
        {
            Description = "The repository: adds the results to its experiments codec-bench, resnet20-fidelity and largest-batch, from "
                + "which ./dev readme writes. ./dev bench --store names it by itself.",
            HelpName = "folder",
        };
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var command = new CliCommand("bench", "Measure codecs and training steps on this machine.")
        {
            Details = "Pack and unpack stand beside clone and copy of the same activation map, quality beside ZFP. Medians count.",
            Lists =
            [
                ("Parts", Suite.Parts.Append((Several, "alone, or under mpirun: what averaging ResNet-18's gradients over ranks costs"))),
                CommonOptions.Codecs,
            ],
            Examples =
            [
                ("codecs --rounds 3", "a first look, in a few minutes"),
                ("steps --network resnet18 --codec dct:10 dct:4", "whole training steps of one network"),
                ("", "everything: an hour"),
            ],
        }.With(parts, codecs, maps, networks, rounds, dataDir, output, store, device, json);
        command.SetAction(parsed =>
        {
            if (Ranks.Own is not null || parsed.GetValue(parts)!.Contains(Several))
                return MeasureRanks(parsed.GetValue(parts)!, parsed.GetValue(output)!, parsed.GetValue(rounds), parsed.GetValue(json));
            var where = Devices.Parse(parsed.GetValue(device)!);
            var possible = where.type == DeviceType.CPU ? [.. Suite.Parts.Select(part => part.Name)] : Suite.OnGpus;
            var chosen = parsed.GetValue(parts) is { Length: > 0 } some ? some : possible;
            if (chosen.Except(possible).FirstOrDefault() is { } cpuOnly)
                throw new ArgumentException($"{cpuOnly} is measured on the CPU only, not on {where}: wanted any of "
                    + $"{string.Join(", ", possible)}.");
            if (!chosen.Contains("fits") && parsed.GetValue(networks)!.Except(Suite.Networks).FirstOrDefault() is { } untimed)
                throw new ArgumentException($"--network {untimed}: its steps are not timed, wanted any of "
                    + $"{string.Join(", ", Suite.Networks)}, or the part fits.");
            var plan = new SuitePlan
            {
                Parts = chosen,
                Codecs = [.. (parsed.GetValue(codecs) is { Length: > 0 } given ? given : defaultCodecs).Select(ActivationCodec.Parse)],
                Maps = parsed.GetValue(maps) is { Length: > 0 } named ? named : null,
                Networks = parsed.GetValue(networks) is { Length: > 0 } these ? these : null,
                Device = where,
                Rounds = parsed.GetValue(rounds),
                DataFolder = DataFolder.Of(parsed.GetValue(dataDir)),
            };
            var stored = parsed.GetValue(store) is { } repository ? Path.Combine(repository, "experiments") : null;
            var results = new ResultsFile(
                stored is null ? Outputs.Folder("--out", parsed.GetValue(output)!) : Path.Combine(stored, CodecTable.Folder));
            var (fidelity, fits) = stored is null
                ? (results, results)
                : (new ResultsFile(Path.Combine(stored, CodecTable.FidelityFolder)),
                    new ResultsFile(Path.Combine(stored, FitTable.Folder)));
            using var progress = new StatusLine();
            using var afterStep = interruption.AfterStep();
            var written = new SortedSet<string>(StringComparer.Ordinal);
            var result = new Suite(plan, Of, progress, interruption.Token).Run();
            progress.Clear();
            if (parsed.GetValue(json)) Console.WriteLine(Json.Document(result));
            else Show(result, string.Join(", ", written));
            return interruption.Token.IsCancellationRequested ? CommandLine.Interrupted : 0;

            ResultsFile Of(string part)
            {
                var file = part switch { "fidelity" => fidelity, "fits" => fits, _ => results };
                written.Add(file.Path);
                return file;
            }
        });
        return command;
    }

    static int MeasureRanks(string[] parts, string output, int rounds, bool json)
    {
        if (parts is not [Several])
            throw new ArgumentException($"Under mpirun: found {(parts.Length == 0 ? "no part" : string.Join(", ", parts))}, wanted "
                + $"{Several} alone.");
        var ranks = Ranks.World;
        using var subject = Subject.ResNet18(null, batch: 32);
        var timing = RanksBenchmark.Run(subject, ranks, rounds, steps: 2);
        if (ranks.Rank == 0)
        {
            var results = new ResultsFile(Outputs.Folder("--out", output));
            results.Add(new { kind = Several, result = timing, provenance = Provenance.Here() });
            if (json) Console.WriteLine(Json.Document(timing));
            else ShowRanks(timing, results.Path);
        }
        ranks.Dispose();
        return 0;
    }

    static void ShowRanks(RanksTiming measured, string path)
    {
        if (measured.Ranks == 1)
        {
            ShowTable(
                $"One rank, {measured.Network}, {measured.Batch} examples: what DataParallel costs there", [measured],
                ("step without, ms", one => $"{one.ApartMs:0}"), ("with", one => $"{one.TogetherMs:0}"),
                ("ratio", one => $"{one.Ratio:0.000}"), ("peak without, MiB", one => $"{one.PeakApartBytes / 1048576.0:0.0}"),
                ("with", one => $"{one.PeakTogetherBytes / 1048576.0:0.0}"));
            Console.WriteLine($"Several ranks: mpirun -n 2 ./actipress bench {Several}. Results: {path}");
            return;
        }
        ShowTable(
            $"{measured.Ranks} ranks, {measured.Network}, {measured.Batch} examples each", [measured],
            ("step apart, ms", one => $"{one.ApartMs:0}"), ("together", one => $"{one.TogetherMs:0}"),
            ("ratio", one => $"{one.Ratio:0.00}"), ("peak apart, MiB", one => $"{one.PeakApartBytes / 1048576.0:0.0}"),
            ("together", one => $"{one.PeakTogetherBytes / 1048576.0:0.0}"), ("MiB sent", one => $"{one.Bytes / 1048576.0:0.0}"),
            ("messages", one => $"{one.Messages}"), ("buckets, MiB", one => $"{one.BufferBytes / 1048576.0:0.0}"),
            ("reducing, ms", one => $"{one.ReducingMs:0}"), ("waiting, ms", one => $"{one.WaitingMs:0}"),
            ("hidden", one => $"{100 * one.Hidden:0} %"));
        var rows = new[] { 1.0, 30 }.SelectMany(faster => StatedNetwork.All.Select(network => (Network: network, Faster: faster)));
        ShowTable(
            "share of the time that ranks train, on paper", rows, ("network", row => $"{row.Network.Name}"),
            ("steps", row => row.Faster == 1 ? $"as measured" : (FormattableString)$"{row.Faster} times as fast"),
            ("8 ranks", row => Share(row, 8)), ("64", row => Share(row, 64)), ("512", row => Share(row, 512)));
        FormattableString Share((StatedNetwork Network, double Faster) row, int ranks) =>
            $"{100 * row.Network.Efficiency(measured, ranks, row.Faster):0.0} %";
        Console.WriteLine($"Results: {path}");
    }

    static void Show(SuiteResult result, string path)
    {
        ShowTable(
            "pack and unpack", result.Codecs.Concat(result.Large).Concat(result.Scaling), ("map", timing => $"{timing.Map}"),
            ("MiB", timing => $"{timing.Elements / (1 << 18)}"), ("threads", timing => $"{timing.Threads}"),
            ("codec", timing => $"{timing.Codec}"), ("pack ms", timing => $"{timing.PackMs:0.0}"),
            ("unpack ms", timing => $"{timing.UnpackMs:0.0}"), ("of a clone", timing => $"{timing.Clones:0.00}"),
            ("of a copy", timing => $"{timing.Copies:0.0}"), ("bytes/element", timing => $"{timing.BytesPerElement:0.000}"),
            ("PSNR dB", timing => $"{timing.PsnrDb:0.0}"),
            ("extra KiB", timing => $"{(timing.PeakExtraBytes - timing.PackedBytes) / 1024}"));
        ShowTable(
            "PSNR at equal bytes, dB", result.Rivals, ("map", rival => $"{rival.Map}"), ("codec", rival => $"{rival.Codec}"),
            ("bytes/element", rival => $"{rival.BytesPerElement:0.000}"), ("ours", rival => $"{rival.PsnrDb:0.0}"),
            ("dct", rival => $"{rival.DctPsnrDb:0.0}"),
            ("ZFP", rival => rival.ZfpPsnrDb is { } zfp ? $"{zfp:0.0}" : (FormattableString)$"not installed"),
            ("paper's storage", rival => $"{rival.PaperPsnrDb:0.0}"));
        ShowTable(
            "training step", result.Steps, ("network", step => $"{step.Network}"), ("codec", step => $"{step.Codec}"),
            ("plain ms", step => $"{step.PlainMs:0.0}"), ("compressed ms", step => $"{step.CompressedMs:0.0}"),
            ("ratio", step => $"{step.Ratio:0.00}"), ("peak MiB", step => $"{step.PlainPeakBytes >> 20}"),
            ("compressed", step => $"{step.CompressedPeakBytes >> 20}"), ("maps MiB", step => $"{step.SavedBytes >> 20}"),
            ("kept", step => $"{step.KeptBytes / 1048576.0:0.0}"));
        ShowTable(
            "the observer of operations", result.Observer, ("network", step => $"{step.Network}"),
            ("without ms", step => $"{step.PlainMs:0.0}"), ("with ms", step => $"{step.ObservedMs:0.0}"),
            ("ratio", step => $"{step.Ratio:0.000}"), ("quartiles", step => $"{step.LowRatio:0.000} to {step.HighRatio:0.000}"));
        ShowTable(
            "beside other ways to need less memory", result.Comparators, ("network", step => $"{step.Network}"),
            ("way", step => $"{step.Way}"), ("after forward MiB", step => $"{step.AfterForwardBytes / 1048576.0:0.0}"),
            ("peak MiB", step => $"{step.PeakBytes / 1048576.0:0.0}"), ("time of plain", step => $"{step.Ratio:0.00}"),
            ("cosine", step => $"{step.Cosine:0.0000}"));
        ShowTable(
            "gradient fidelity", result.Fidelity, ("network", one => $"{one.Network}"), ("codec", one => $"{one.Codec}"),
            ("by layer", one => $"{(one.Adapted ? "yes" : "no")}"), ("bytes/element", one => $"{one.BytesPerElement:0.000}"),
            ("cosine", one => $"{one.Cosine:0.0000}"), ("norm ratio", one => $"{one.NormRatio:0.000}"));
        ShowTable(
            "what fits in 11 GiB", result.Fits, ("network", one => $"{one.Network}"), ("codec", one => $"{one.Codec}"),
            ("plain", one => $"{MemoryFit.Size(one.Plain.Largest)}"), ("compressed", one => $"{MemoryFit.Size(one.Compressed.Largest)}"),
            ("times", one => $"{one.Times:0.0}"), ("took MiB", one => $"{one.Plain.LargestBytes / 1048576.0:0}"),
            ("compressed", one => $"{one.Compressed.LargestBytes / 1048576.0:0}"));
        Console.WriteLine($"Results: {path}");
    }

    static void ShowTable<T>(string title, IEnumerable<T> rows, params (string Name, Func<T, FormattableString> Cell)[] columns)
    {
        if (!rows.Any()) return;
        var table = new Table { Title = new TableTitle(title) };
        foreach (var (name, _) in columns) table.AddColumn(new TableColumn(name).NoWrap());
        foreach (var row in rows) table.AddRow([.. columns.Select(column => Markup.Escape(FormattableString.Invariant(column.Cell(row))))]);
        AnsiConsole.Write(table);
    }
}
