namespace Actipress.Cli;

/// <summary>Standard error as a terminal whose last line can be rewritten, unless it is redirected, or TERM is dumb.</summary>
static class Terminal
{
    const string Clearing = "\r\e[K";

    /// <summary>Whether the last line can be rewritten.</summary>
    public static bool Rewrites { get; } =
        !Console.IsErrorRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "" or "dumb");

    /// <summary>Shows a line in place of the last one, cut to the terminal's width.</summary>
    public static void Show(string line)
    {
        if (Rewrites) Console.Error.Write(Clearing + (line.Length < Width ? line : line[..(Width - 1)]));
    }

    /// <summary>Removes the line.</summary>
    public static void Clear()
    {
        if (Rewrites) Console.Error.Write(Clearing);
    }

    /// <summary>Writes a line that stays.</summary>
    public static void Say(string line) => Console.Error.WriteLine(Rewrites ? Clearing + line : line);

    /// <summary>A duration in words.</summary>
    public static string Time(TimeSpan time) => time switch
    {
        { TotalSeconds: < 100 } => FormattableString.Invariant($"{time.TotalSeconds:0} s"),
        { TotalMinutes: < 100 } => FormattableString.Invariant($"{time.TotalMinutes:0} min"),
        _ => FormattableString.Invariant($"{time.TotalHours:0} h"),
    };

    /// <summary>The number of columns.</summary>
    public static int Width
    {
        get
        {
            try { return Console.WindowWidth is >= 20 and var columns ? columns : 80; }    // some terminals report 0
            catch (IOException) { return 80; }
        }
    }
}
