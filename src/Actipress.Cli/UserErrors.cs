using System.CommandLine;
using Actipress.Autograd;
using Actipress.Distributed;

namespace Actipress.Cli;

/// <summary>Runs the command line: a user's mistake is one message and exit code 2, Ctrl-C is 130.</summary>
static class UserErrors
{
    public const int Mistake = 2, Interrupted = 130;

    // Each rank tells its own mistakes: the first that ends, ends the others.
    static string Program { get; } = Ranks.Own is { } rank ? $"actipress (rank {rank})" : "actipress";

    public static async Task<int> Run(RootCommand root, string[] args)
    {
        var parsed = root.Parse(args.Length == 0 ? ["--help"] : args);
        if (parsed.Errors.Count > 0)
        {
            foreach (var error in parsed.Errors) await Console.Error.WriteLineAsync($"{Program}: {error.Message}");
            await Console.Error.WriteLineAsync($"{Program}: '{root.HelpName} {string.Join(' ', parsed.CommandResult.Command is RootCommand ? ["--help"] : [parsed.CommandResult.Command.Name, "--help"])}' says what is wanted.");
            return Mistake;
        }
        try
        {
            SystemLibraries.Check();
            using var interruption = new Interruption();
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, interruption.Token);
        }
        catch (Exception mistake) when (mistake is FormatException or ArgumentException or IOException or InvalidDataException or UnauthorizedAccessException or PlatformNotSupportedException or HttpRequestException or InsufficientMemoryException or BudgetException or RanksException)
        {
            await Console.Error.WriteLineAsync($"{Program}: {mistake.Message.Split(" (Parameter '")[0]}");
            return Mistake;
        }
        catch (OperationCanceledException) { return Interrupted; }
    }
}
