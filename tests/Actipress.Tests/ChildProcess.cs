using System.Diagnostics;

namespace Actipress.Tests;

/// <summary>A program that a test starts as a user would start it.</summary>
public static class ChildProcess
{
    public sealed record Ended(int ExitCode, string Output, string Error)
    {
        /// <summary>Whether it was still running after the limit, and was ended.</summary>
        public bool Late { get; init; }

        public string All => $"exit code {ExitCode}\n{Output}\n{Error}";
    }

    /// <summary>The path of the command line, which is built beside the tests.</summary>
    public static string[] Cli { get; } =
    [
        "dotnet",
        Path.Combine(
            AppContext.BaseDirectory.Replace("/Actipress.Tests/", "/Actipress.Cli/", StringComparison.Ordinal), "Actipress.Cli.dll"),
    ];

    public static Process Start(string[] command, string? folder = null, params (string Name, string? Value)[] environment)
    {
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder ?? TestData.Repository,
        };
        start.Environment.Remove("ACTIPRESS_DATA");
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    public static Ended Run(string[] command, string? folder = null, params (string Name, string? Value)[] environment)
    {
        using var process = Start(command, folder, environment);
        return Wait(process);
    }

    /// <summary>Runs one of this assembly's explicit tests in a process of its own. The process must live and the test must pass.</summary>
    public static Ended RunScenario(Type scenarios, string name, params (string Name, string? Value)[] environment) =>
        RunScenario(scenarios, name, mostTime, environment);

    public static Ended RunScenario(Type scenarios, string name, TimeSpan limit, params (string Name, string? Value)[] environment)
    {
        string[] command = [Environment.ProcessPath!, "-explicit", "only", "-method", $"{scenarios.FullName}.{name}", "-noColor"];
        using var process = Start(command, null, environment);
        var child = WaitWithin(process, limit);
        Assert.True(child.ExitCode == 0, child.All);
        Assert.Contains("Total: 1, Errors: 0, Failed: 0", child.Output, StringComparison.Ordinal);
        return child;
    }

    static readonly TimeSpan mostTime = TimeSpan.FromMinutes(10);

    public static Ended Wait(Process process) => WaitWithin(process, mostTime);

    static Ended WaitWithin(Process process, TimeSpan limit)
    {
        var ended = Wait(process, limit);
        Assert.False(ended.Late, $"still running after {limit.TotalMinutes} minutes: {ended.All}");
        return ended;
    }

    /// <summary>Waits for a process, and ends it with its children where it takes longer than the limit.</summary>
    public static Ended Wait(Process process, TimeSpan limit)
    {
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        var late = !process.WaitForExit(limit);
        if (late) process.Kill(entireProcessTree: true);
        process.WaitForExit();
        return new(process.ExitCode, output.Result, error.Result) { Late = late };
    }
}
