using System.Diagnostics;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary>Training's progress on standard error: one line that is rewritten on a terminal, a line for each epoch everywhere.</summary>
/// <param name="epochs">Of each run.</param>
/// <param name="runs">How many there are.</param>
/// <param name="also">Told the same.</param>
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

    // The runs by the names that the table gives them.
    string At(TrainingProgress value) => $"epoch {value.Epoch} of {epochs}  {(value.Run == "baseline" ? "plain" : value.Run),-10}";

    // The runs take turns, an epoch each: what is left is told by the steps that were taken since this began.
    string Left(TrainingProgress value)
    {
        var last = value.Run == "baseline" && runs > 1 ? runs : 1;
        var left = (epochs - value.Epoch) * runs * value.Steps + (last - 1) * value.Steps + value.Steps - value.Step;
        return sinceBegun.Elapsed.TotalSeconds < 2 ? "" : $"  about {Terminal.Time(sinceBegun.Elapsed / done * left)} left";
    }

    public void Clear() => Terminal.Clear();

    public void Dispose() => Clear();
}
