using System.CommandLine;
using Actipress.Data;
using Actipress.Distributed;
using Actipress.Experiments;
using Spectre.Console;
using static TorchSharp.torch;

namespace Actipress.Cli;

/// <summary><c>sweep</c>: runs an experiment's trainings, here or on a cluster.</summary>
static class SweepCommand
{
    public static Command Make(Interruption interruption)
    {
        var config = new Argument<string>("config")
        {
            Description = "An experiment's config.json or its folder, such as experiments/figure6a-mnist.",
        };
        var workers = Values.Count(
            "--workers", "Trainings at once, each in a process of its own. By default one a core.", Environment.ProcessorCount);
        var threads = Values.Count("--threads", "Threads of each training.", 1);
        var list = new Option<bool>("--list") { Description = "Only say what is done and what is not." };
        var slurm = new Option<bool>("--slurm")
        {
            Description = "Hand what is not done to Slurm as a job array; the experiment's folder must be visible from its nodes.",
        };
        var slurmOptions = new Option<string[]>("--slurm-option")
        {
            Description = "A further option of sbatch, such as --slurm-option=--time=1:00:00; may be given several times.",
            HelpName = "option",
        };
        var together = Values.Count("--ranks", "With --slurm: processes that do each training together, by MPI.", 1);
        var mpi = new Option<string>("--mpi")
        {
            Description = "With --ranks: Slurm's plug-in for them, pmix for Open MPI or pmi2 for MPICH.",
            DefaultValueFactory = _ => "pmix",
        };
        var dataDir = CommonOptions.DataDir();
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var worker = new Option<bool>("--worker") { Hidden = true };
        var only = new Option<string?>("--only") { Hidden = true };
        var command = new CliCommand("sweep", "Train all runs of an experiment.")
        {
            Details = "Each layer set, codec, ratio and seed of its config.json. What is done is skipped, what was begun is gone on with: "
                + "end or kill a sweep at any moment and start it again. Under mpirun or srun all ranks do each training together.",
            Examples =
            [
                ("experiments/mnist-lenet-10-epochs --list", "what is done and what is not"),
                ("experiments/mnist-lenet-10-epochs --data-dir DATA", "on all cores"),
                ("my-experiment --slurm --slurm-option=--time=2:00:00", "as a job array"),
                ("my-experiment --slurm --ranks 4", "as a job array, each training by 4 processes"),
            ],
        }.With(config, workers, threads, list, slurm, slurmOptions, together, mpi, dataDir, device, json, worker, only);

        command.SetAction(async (parsed, _) =>
        {
            using var afterStep = interruption.AfterStep(silently: parsed.GetValue(worker));
            var cancellation = interruption.Token;
            set_num_threads(parsed.GetValue(threads));
            var ranks = Ranks.World;
            var sweep = new Sweep(parsed.GetValue(config)!)
            {
                Device = Devices.Of(ranks, parsed.GetValue(device)!),
                Ranks = ranks.Size > 1 ? ranks : null,
            };
            var folder = DataFolder.Of(parsed.GetValue(dataDir)) is { } named ? Path.GetFullPath(named) : null;
            if (parsed.GetValue(worker)) return SweepWorkers.Work(sweep, folder, cancellation);
            if (parsed.GetValue(only) is { } key) return Train(sweep, key, folder, cancellation);
            if (sweep.Ranks is not null)
            {
                Option[] ofOneProcess = [list, workers, slurm, together];
                if (ofOneProcess.FirstOrDefault(option => parsed.GetResult(option) is { Implicit: false }) is { } own)
                    throw new ArgumentException($"{own.Name} among {ranks.Size} ranks, which do each training together: wanted it without "
                        + "mpirun or srun.");
                sweep.CheckAmong(ranks.Size);
                var code = TrainTogether(sweep, sweep.Plans, folder, cancellation);
                if (ranks.Rank == 0) ShowDone(sweep, parsed.GetValue(json));
                return code;
            }
            if (parsed.GetValue(together) > 1 && !parsed.GetValue(slurm))
                throw new ArgumentException($"--ranks {parsed.GetValue(together)} goes with --slurm. Here: mpirun -n "
                    + $"{parsed.GetValue(together)} ./actipress sweep {parsed.GetValue(config)}");
            if (sweep.Results.Dropped is { } broken)
                await Console.Error.WriteLineAsync($"{sweep.Results.Path} ended in the middle of a line, which was dropped: "
                    + $"{broken[..Math.Min(60, broken.Length)]}...");
            string[] common =
            [
                sweep.ConfigPath, "--threads", $"{parsed.GetValue(threads)}", "--device", parsed.GetValue(device)!,
                .. folder is null ? [] : (string[])["--data-dir", folder],
            ];
            if (parsed.GetValue(list)) List(sweep);
            else if (parsed.GetValue(slurm))
            {
                var jobs = new SlurmArray(sweep, [.. SweepWorkers.Self, "sweep", .. common, "--only"])
                {
                    Threads = parsed.GetValue(threads),
                    Ranks = parsed.GetValue(together),
                    Mpi = parsed.GetValue(mpi)!,
                    Options = parsed.GetValue(slurmOptions) ?? [],
                }.Submit();
                Console.WriteLine(jobs.Count == 0 ? "Everything is done." : $"Job array {string.Join(", ", jobs)}: "
                    + $"{sweep.Remaining().Count} runs; squeue shows them, and sweep --list what is done.");
            }
            else
            {
                var failed = await SweepWorkers.Run(sweep, parsed.GetValue(workers), common, cancellation);
                ShowDone(sweep, parsed.GetValue(json));
                return cancellation.IsCancellationRequested ? CommandLine.Interrupted : failed > 0 ? CommandLine.Mistake : 0;
            }
            return 0;
        });
        return command;
    }

    // This process is a task of a job array.
    static int Train(Sweep sweep, string key, string? folder, CancellationToken cancellation)
    {
        var plan = sweep.Plans.FirstOrDefault(plan => plan.Key() == key) ?? throw new ArgumentException($"No run {key} in "
            + $"{sweep.ConfigPath}: it was changed since the job array was made. Make another with --slurm.");
        return TrainTogether(sweep, [plan], folder, cancellation);
    }

    // Trains by this process, or by all ranks; rank 0 tells.
    static int TrainTogether(Sweep sweep, IReadOnlyList<TrainingPlan> plans, string? folder, CancellationToken cancellation)
    {
        var failed = false;
        foreach (var plan in plans)
        {
            var begun = false;
            using var progress = new ProgressLine(plan.Epochs, runs: 1);
            sweep.Train(plan, folder, new Told(told =>
            {
                failed |= told.Failed;
                if (sweep.Ranks is { Rank: > 0 }) return;
                if (told.At is not null)
                {
                    if (!begun && sweep.Ranks is not null)
                        Console.Error.WriteLine($"{plan.Layers}, {plan.Codec}, {plan.Repetition()}, by {sweep.Ranks.Size} ranks:");
                    begun = true;
                    progress.Report(told.At);
                }
                if (told.Notice is not null) Console.Error.WriteLine(told.Notice);
            }), cancellation);
        }
        // An exit code other than 0 would end ranks that still work.
        if (!failed) sweep.Ranks?.Dispose();
        return failed ? CommandLine.Mistake : cancellation.IsCancellationRequested ? CommandLine.Interrupted : 0;
    }

    sealed class Told(Action<SweepProgress> tell) : IProgress<SweepProgress>
    {
        public void Report(SweepProgress value) => tell(value);
    }

    static void List(Sweep sweep)
    {
        var remaining = sweep.Remaining().Select(plan => plan.Key()).ToHashSet();
        foreach (var plan in sweep.Plans)
            Console.WriteLine($"{(remaining.Contains(plan.Key()) ? "    " : "done")}  {plan.Key()}  {plan.Layers}  {plan.Codec}  "
                + plan.Repetition());
        Console.WriteLine($"{sweep.Plans.Count - remaining.Count} of {sweep.Plans.Count} done.");
    }

    static void ShowDone(Sweep sweep, bool json)
    {
        var summary = SweepSummary.Of(sweep);
        if (json) Console.WriteLine(Json.Document(summary));
        else Show(summary, sweep.Results.Path);
    }

    static void Show(SweepSummary summary, string path)
    {
        var table = new Table { Title = new TableTitle($"{summary.Experiment}: {summary.Done} of {summary.Runs} runs") };
        foreach (var (name, right) in ((string, bool)[])[
            ("layers", false), ("codec", false), ("seeds", true), ("test %", true), ("against plain", true), ("train %", true),
            ("kept %", true), ("cosine", true), ("ms a step", true),
        ])
            table.AddColumn(right ? new TableColumn(name).RightAligned() : new TableColumn(name).NoWrap());
        foreach (var row in summary.Rows)
            table.AddRow([.. ((FormattableString[])[
                $"{row.Layers}", $"{row.Codec}", $"{row.Seeds}", WithError(row.TestAccuracy ?? row.TestDsc, row.StandardError, "0.00"),
                WithError(row.Difference, row.DifferenceStandardError, "+0.00;-0.00"), $"{100 * row.TrainScore:0.00}",
                $"{row.KeptPercent:0.0}", $"{row.GradientCosine:0.000}", $"{row.StepMs:0.0}"])
                .Select(cell => Markup.Escape(FormattableString.Invariant(cell)))]);
        AnsiConsole.Write(table);
        Console.WriteLine($"Results: {path}");
    }

    static FormattableString WithError(double? share, double? error, string format)
    {
        var (value, plusMinus) = (
            (100 * share)?.ToString(format, System.Globalization.CultureInfo.InvariantCulture),
            error is null ? "" : FormattableString.Invariant($" ± {100 * error:0.00}"));
        return $"{value}{plusMinus}";
    }
}
