using System.CommandLine;
using Actipress.Data;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary><c>reproduce</c>: reproduces the paper's tables and figures.</summary>
static class ReproduceCommand
{
    public static Command Make(Interruption interruption)
    {
        var names = new Argument<string[]>("what")
        {
            Description = "Any of the tables and figures below.",
            HelpName = "what",
            Arity = ArgumentArity.OneOrMore,
        };
        names.AcceptOnlyFromAmong([.. Reproduction.All.Select(known => known.Name)]);
        var output = new Option<string>("--out")
        {
            Description = "The folder for results.jsonl and report.html. What its results have already is not run again.",
            HelpName = "folder",
            DefaultValueFactory = _ => "runs/reproduce",
        };
        var showOnly = new Option<bool>("--show-only") { Description = "Run nothing: write the page from the results that are there." };
        var dataDir = CommonOptions.DataDir();
        var experiments = CommonOptions.Experiments();
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var command = new CliCommand("reproduce", "Make the paper's tables and figures anew.")
        {
            Details = "The paper's figures, ours in its storage and ours by default, side by side in one page. "
                + "An interrupted run goes on where it was.",
            Lists = [("Tables and figures", Reproduction.All.Select(known => (known.Name, known.Meaning)))],
            Examples =
            [
                ("fig5", "a picture under every codec: seconds"),
                ("table2 table3", "memory of the paper's networks: up to an hour, and 10 GiB"),
                ("fig6 --show-only", "the page from what is there"),
            ],
        }.With(names, output, showOnly, dataDir, experiments, device, json);
        command.SetAction(parsed =>
        {
            Reproduction[] chosen = [.. Reproduction.All.Where(known => parsed.GetValue(names)!.Contains(known.Name))];
            var context = new Reproduction.Context(
                DataFolder.Of(parsed.GetValue(dataDir)), parsed.GetValue(experiments)!, Devices.Parse(parsed.GetValue(device)!));
            var results = new ResultsFile(Outputs.Folder("--out", parsed.GetValue(output)!));
            var interrupted = false;
            if (!parsed.GetValue(showOnly))
            {
                using var progress = new StatusLine();
                using var afterStep = interruption.AfterStep();
                try
                {
                    foreach (var one in chosen) one.Run(context, results, progress, interruption.Token);
                }
                catch (OperationCanceledException) { interrupted = true; }
                progress.Clear();
            }
            var page = Path.Combine(parsed.GetValue(output)!, "report.html");
            var done = StoredPiece.Read(results);
            Reproduction.Page(chosen, context, done, interrupted).Save(page);
            if (parsed.GetValue(json))
                Console.WriteLine(Json.Document(chosen.ToDictionary(one => one.Name, one => one.Pieces(context)
                    .Where(piece => done.ContainsKey(piece.Key)).ToDictionary(piece => piece.Key, piece => done[piece.Key].Result))));
            else Console.WriteLine($"Page: {page}\nResults: {results.Path}");
            if (interrupted) Console.Error.WriteLine("Interrupted: the page has what was done; the same command goes on from there.");
            return interrupted ? CommandLine.Interrupted : 0;
        });
        return command;
    }
}
