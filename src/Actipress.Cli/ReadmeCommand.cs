using System.CommandLine;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary><c>readme</c>: for developers, through <c>./dev readme</c>.</summary>
static class ReadmeCommand
{
    public static Command Make()
    {
        var folder = new Argument<string>("folder") { Description = "The repository." };
        var command = new Command("readme", "Write the README's tables from the stored results.") { folder };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            var path = Path.Combine(parsed.GetValue(folder)!, "README.md");
            File.WriteAllText(path, ReadmeTable.Update(File.ReadAllText(path), Path.Combine(parsed.GetValue(folder)!, "experiments")));
            return 0;
        });
        return command;
    }
}
