using System.Diagnostics;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary>
/// The processes of a sweep on this machine. torch's random state and the allocator's level belong to a process, so that trainings that run
/// at the same time need processes of their own. A process runs one training after the other, because its start takes a second. Its
/// standard input is a pipe from the parent process. When the parent ends, in whatever way, the worker saves its state and ends too.
/// </summary>
static class SweepWorkers
{
    /// <summary>The command that starts this program.</summary>
    public static IReadOnlyList<string> Self { get; } = Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet"
        ? [Environment.ProcessPath!, Environment.GetCommandLineArgs()[0]] : [Environment.ProcessPath!];

    /// <summary>A worker's message, one line of JSON.</summary>
    sealed record Said(string Key, string? At, string? Notice, bool Failed);

    /// <summary>Runs workers until all trainings are done.</summary>
    /// <param name="sweep">The experiment.</param>
    /// <param name="count">The number of workers.</param>
    /// <param name="arguments">The arguments of the command.</param>
    /// <param name="cancellation">Ends the workers after the current step.</param>
    /// <returns>The number of failed trainings.</returns>
    public static async Task<int> Run(Sweep sweep, int count, string[] arguments, CancellationToken cancellation)
    {
        var remaining = sweep.Remaining();
        if (remaining.Count == 0) return 0;
        await Console.Error.WriteLineAsync($"{Path.GetFileName(sweep.Folder)}: {sweep.Plans.Count - remaining.Count} of "
            + $"{sweep.Plans.Count} runs are done.");
        using var board = new Board(sweep, remaining.Count);
        var workers = Enumerable.Range(0, Math.Min(count, remaining.Count))
            .Select(number => Worker(number, [.. Self.Skip(1), "sweep", .. arguments, "--worker"], board, cancellation));
        var crashes = (await Task.WhenAll(workers)).Count(crashed => crashed);
        return board.Failed + crashes;    // failures that the workers have reported by now
    }

    static async Task<bool> Worker(int number, string[] arguments, Board board, CancellationToken cancellation)
    {
        using var process =
            Process.Start(new ProcessStartInfo(Self[0], arguments) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        await using var ended = cancellation.Register(process.StandardInput.Close);
        while (await process.StandardOutput.ReadLineAsync(CancellationToken.None) is { } line)
            if (Json.Read<Said>(line) is { } said) board.Show(number, said);
        await process.WaitForExitAsync(CancellationToken.None);
        var crashed = process.ExitCode is not (0 or CommandLine.Interrupted);    // a worker reports a failed training
        if (crashed)
            Terminal.Say($"A worker ended with exit code {process.ExitCode}; its run is gone on with when the sweep is started again.");
        return crashed;
    }

    /// <summary>Runs a worker: trains, and writes messages.</summary>
    public static int Work(Sweep sweep, string? dataFolder, CancellationToken cancellation)
    {
        using var orphaned = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var watch = new Thread(() =>
        {
            while (Console.In.Read() >= 0) { }
            orphaned.Cancel();
        })
        { IsBackground = true };
        watch.Start();
        sweep.Work(dataFolder, new Speaker(), orphaned.Token);
        return orphaned.IsCancellationRequested ? CommandLine.Interrupted : 0;
    }

    sealed class Speaker : IProgress<SweepProgress>
    {
        static readonly TimeSpan between = TimeSpan.FromMilliseconds(500);
        readonly Stopwatch sinceSaid = new();

        public void Report(SweepProgress value)
        {
            if (value.At is not null && sinceSaid.IsRunning && sinceSaid.Elapsed < between) return;
            sinceSaid.Restart();
            var at = value.At is { } now ? FormattableString.Invariant($"epoch {now.Epoch}, step {now.Step} of {now.Steps}") : null;
            // Where nobody reads the messages any more, the standard input has ended too.
            try { Console.WriteLine(Json.Line(new Said(value.Plan.Key(), at, value.Notice, value.Failed))); }
            catch (IOException) { }
        }
    }

    /// <summary>Shows all workers on one line of a terminal; elsewhere one line for each run that has ended.</summary>
    sealed class Board(Sweep sweep, int remaining) : IDisposable
    {
        readonly Dictionary<string, TrainingPlan> plans = sweep.Plans.ToDictionary(plan => plan.Key());
        readonly SortedDictionary<int, string> at = [];
        readonly Stopwatch watch = Stopwatch.StartNew();
        readonly Lock one = new();
        int ended;

        public int Failed { get; private set; }

        public void Show(int worker, Said said)
        {
            lock (one)
            {
                var plan = plans[said.Key];
                var name = $"{plan.Layers} {plan.Codec} {plan.Repetition()}";
                if (said.Failed) Failed++;
                if (said.Notice is not null) Terminal.Say($"{name}: {said.Notice}");
                if (said.At is not null) at[worker] = $"{name}: {said.At}";
                else if (said.Notice is null || said.Failed)
                {
                    at.Remove(worker);
                    ended++;
                    if (!said.Failed) Terminal.Say($"{sweep.Plans.Count - remaining + ended} of {sweep.Plans.Count}  {name}{Left()}");
                }
                Terminal.Show(string.Join(" | ", at.Values));
            }
        }

        string Left() => ended == remaining ? "" : $"  (about {Terminal.Time(watch.Elapsed / ended * (remaining - ended))} left)";

        public void Dispose() => Terminal.Clear();
    }
}
