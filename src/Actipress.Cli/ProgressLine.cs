using System.Diagnostics;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary>Training's progress on standard error: one line that is rewritten on a terminal, a line for each epoch elsewhere.</summary>
/// <param name="also">Told the same.</param>
sealed class ProgressLine(IProgress<TrainingProgress>? also = null) : IProgress<TrainingProgress>, IDisposable
{
    static readonly TimeSpan between = TimeSpan.FromMilliseconds(200);
    readonly Stopwatch sinceShown = Stopwatch.StartNew();

    public void Report(TrainingProgress value)
    {
        also?.Report(value);
        if (value.TestScore is { } score)
        {
            Clear();
            Console.Error.WriteLine(FormattableString.Invariant($"epoch {value.Epoch}  {value.Run,-10}  loss {value.Loss:0.0000}  test {value.ScoreName} {100 * score:0.00} %"));
        }
        else if (!Console.IsErrorRedirected && sinceShown.Elapsed > between)
        {
            sinceShown.Restart();
            Console.Error.Write(FormattableString.Invariant($"\r\e[Kepoch {value.Epoch}  {value.Run,-10}  step {value.Step} of {value.Steps}  loss {value.Loss:0.0000} "));
        }
    }

    public void Clear()
    {
        if (!Console.IsErrorRedirected) Console.Error.Write("\r\e[K");
    }

    public void Dispose() => Clear();
}
