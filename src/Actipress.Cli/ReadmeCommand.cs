using System.CommandLine;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary><c>readme</c>: a command for developers, through <c>./dev readme</c>.</summary>
static class ReadmeCommand
{
    public static Command Make()
    {
        var repository = new Argument<string>("folder") { Description = "The repository." };
        var command = new Command("readme", "Write the README's tables from the stored results.") { repository };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            var folder = parsed.GetValue(repository)!;
            File.WriteAllText(Path.Combine(folder, "README.md"), ReadmeTables.Update(folder));
            return 0;
        });
        return command;
    }
}
