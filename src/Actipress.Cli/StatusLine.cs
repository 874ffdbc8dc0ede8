using System.Diagnostics;

namespace Actipress.Cli;

/// <summary>What is being done, on standard error: one line that is rewritten on a terminal, elsewhere a line every few seconds.</summary>
sealed class StatusLine : IProgress<string>, IDisposable
{
    readonly Stopwatch sinceShown = new();

    public void Report(string value)
    {
        if (!Console.IsErrorRedirected) Console.Error.Write($"\r\e[K{value}");
        else if (!sinceShown.IsRunning || sinceShown.Elapsed > TimeSpan.FromSeconds(2)) Console.Error.WriteLine(value);
        else return;
        sinceShown.Restart();
    }

    public void Clear()
    {
        if (!Console.IsErrorRedirected) Console.Error.Write("\r\e[K");
    }

    public void Dispose() => Clear();
}
