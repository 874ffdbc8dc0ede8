using System.Diagnostics;

namespace Actipress.Tests;

/// <summary>A program that a test starts as a user would.</summary>
public static class ChildProcess
{
    public sealed record Ended(int ExitCode, string Output, string Error)
    {
        public string All => $"exit code {ExitCode}\n{Output}\n{Error}";
    }

    /// <summary>The command line, built beside the tests.</summary>
    public static string[] Cli { get; } = ["dotnet", Path.Combine(AppContext.BaseDirectory.Replace("/Actipress.Tests/", "/Actipress.Cli/", StringComparison.Ordinal), "Actipress.Cli.dll")];

    public static Process Start(string[] command, string? folder = null, params (string Name, string? Value)[] environment)
    {
        var start = new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder ?? TestData.Repository };
        start.Environment.Remove("ACTIPRESS_DATA");
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    public static Ended Run(string[] command, string? folder = null, params (string Name, string? Value)[] environment)
    {
        using var process = Start(command, folder, environment);
        return Wait(process);
    }

    public static Ended Wait(Process process)
    {
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        if (!process.WaitForExit(TimeSpan.FromMinutes(3)))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"still running after three minutes: {output.Result}\n{error.Result}");
        }
        return new(process.ExitCode, output.Result, error.Result);
    }
}
