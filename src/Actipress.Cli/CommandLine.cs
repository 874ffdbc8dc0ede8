using System.CommandLine;
using System.Runtime.InteropServices;
using Actipress.Autograd;
using Actipress.Distributed;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary>Runs the command line. A user's mistake gives one message and exit code 2; Ctrl-C gives exit code 130.</summary>
static class CommandLine
{
    public const int Fault = 1, Mistake = 2, Interrupted = 130;

    // Each rank reports its own mistakes, because the first rank that ends also ends the others.
    static string Program { get; } = Ranks.Own is { } rank ? $"actipress (rank {rank})" : "actipress";

    public static async Task<int> Run(RootCommand root, string[] args)
    {
        try
        {
            var parsed = root.Parse(args.Length == 0 ? ["--help"] : args);
            if (parsed.Errors.Count > 0)
            {
                foreach (var error in parsed.Errors) await Console.Error.WriteLineAsync($"{Program}: {error.Message}");
                var command = parsed.CommandResult.Command is RootCommand ? "" : $"{parsed.CommandResult.Command.Name} ";
                await Console.Error.WriteLineAsync($"{Program}: '{root.HelpName} {command}--help' says what is wanted.");
                return Mistake;
            }
            SystemLibraries.Check();
            return await parsed.InvokeAsync(new() { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (Exception mistake) when (mistake is FormatException or ArgumentException or IOException or InvalidDataException
            or UnauthorizedAccessException or PlatformNotSupportedException or HttpRequestException or InsufficientMemoryException
            or BudgetException or RanksException)
        {
            await Console.Error.WriteLineAsync($"{Program}: {mistake.Message.Split(" (Parameter '")[0]}");
            return Mistake;
        }
        catch (ExternalException refusal)
        {
            await Console.Error.WriteLineAsync($"{Program}: libtorch refuses: {refusal.Said()}");
            return Mistake;
        }
        catch (OperationCanceledException) { return Interrupted; }
        catch (Exception fault)
        {
            await Console.Error.WriteLineAsync(
                $"{Program}: a fault of Actipress, not yours. Please report it, with the command and these lines:\n{fault}");
            return Fault;
        }
    }
}
