using System.Diagnostics;

namespace Actipress.Cli;

/// <summary>
/// The current work, on standard error. On a terminal it is one rewritten line, with the elapsed time after two seconds. Elsewhere it is
/// one line every few seconds.
/// </summary>
sealed class StatusLine : IProgress<string>, IDisposable
{
    static readonly TimeSpan patience = TimeSpan.FromSeconds(2);
    readonly Stopwatch sinceShown = new(), sinceBegun = Stopwatch.StartNew();
    readonly Lock one = new();
    readonly Timer? clock;
    string? shown;

    public StatusLine()
    {
        if (Terminal.Rewrites) clock = new(_ => Show(), null, patience, TimeSpan.FromSeconds(1));
    }

    public void Report(string value)
    {
        lock (one)
        {
            if (clock is not null)
            {
                if (shown != value) sinceBegun.Restart();
                shown = value;
                Show();
            }
            else if (!sinceShown.IsRunning || sinceShown.Elapsed > patience)
            {
                Console.Error.WriteLine(value);
                sinceShown.Restart();
            }
        }
    }

    void Show()
    {
        lock (one)
            if (shown is not null) Terminal.Show(sinceBegun.Elapsed < patience ? shown : $"{shown}  ({Terminal.Time(sinceBegun.Elapsed)})");
    }

    public void Clear()
    {
        lock (one)
        {
            shown = null;
            Terminal.Clear();
        }
    }

    public void Dispose()
    {
        Clear();
        clock?.Dispose();
    }
}
