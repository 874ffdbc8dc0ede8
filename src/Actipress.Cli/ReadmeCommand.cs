using System.CommandLine;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary><c>readme</c>: a command for developers, through <c>./dev readme</c>.</summary>
static class ReadmeCommand
{
    public static Command Make()
    {
        var repository = new Argument<string>("folder") { Description = "The repository." };
        var command = new Command("readme", "Write the documents' tables from the stored results.") { repository };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            var folder = parsed.GetValue(repository)!;
            var documents = ReadmeTables.Documents
                .Select(document => (Path: Path.Combine(folder, document), Text: ReadmeTables.Update(folder, document))).ToArray();
            foreach (var (path, text) in documents) File.WriteAllText(path, text);
            return 0;
        });
        return command;
    }
}
