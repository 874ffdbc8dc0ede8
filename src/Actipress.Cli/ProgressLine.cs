using System.Diagnostics;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary>
/// The progress of a training on standard error: one rewritten line on a terminal, and one line for each epoch in any case.
/// </summary>
/// <param name="epochs">The number of epochs of each run.</param>
/// <param name="runs">The number of runs.</param>
/// <param name="also">Receives the same progress; null for none.</param>
sealed class ProgressLine(int epochs, int runs, IProgress<TrainingProgress>? also = null) : IProgress<TrainingProgress>, IDisposable
{
    static readonly TimeSpan between = TimeSpan.FromMilliseconds(200);
    readonly Stopwatch sinceShown = Stopwatch.StartNew(), sinceBegun = Stopwatch.StartNew();
    int done;

    public void Report(TrainingProgress value)
    {
        also?.Report(value);
        if (value.TestScore is { } score)
        {
            Terminal.Say(FormattableString.Invariant(
                $"{At(value)}  loss {value.Loss:0.0000}  test {value.ScoreName} {100 * score:0.00} %"));
            return;
        }
        done++;
        if (sinceShown.Elapsed < between) return;
        sinceShown.Restart();
        Terminal.Show(FormattableString.Invariant(
            $"{At(value)}  step {value.Step} of {value.Steps}{Left(value)}  loss {value.Loss:0.0000} "));
    }

    // The names of the runs, as in the table.
    string At(TrainingProgress value) => $"epoch {value.Epoch} of {epochs}  {(value.Run == "baseline" ? "plain" : value.Run),-10}";

    // The runs alternate by epoch. The remaining time follows from the steps since the start.
    string Left(TrainingProgress value)
    {
        var last = value.Run == "baseline" && runs > 1 ? runs : 1;
        var left = (epochs - value.Epoch) * runs * value.Steps + (last - 1) * value.Steps + value.Steps - value.Step;
        return sinceBegun.Elapsed.TotalSeconds < 2 ? "" : $"  about {Terminal.Time(sinceBegun.Elapsed / done * left)} left";
    }

    public void Clear() => Terminal.Clear();

    public void Dispose() => Clear();
}
