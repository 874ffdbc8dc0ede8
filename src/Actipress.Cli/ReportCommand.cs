using System.CommandLine;
using Actipress.Data;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary><c>report</c>: shows every table and figure from stored results.</summary>
static class ReportCommand
{
    public static Command Make()
    {
        var output =
            new Option<string>("--out") { Description = "The page.", HelpName = "file", DefaultValueFactory = _ => "runs/report.html" };
        var figures = new Option<string?>("--figures")
        {
            Description = "Write each figure as .svg and .png into this folder too.",
            HelpName = "folder",
        };
        var experiments = CommonOptions.Experiments();
        var command = new CliCommand("report", "Write one page of all that was measured.")
        {
            Details = "Every table and figure that the stored results have, the paper's beside ours. It runs nothing: see reproduce.",
            Examples =
            [
                ("", "runs/report.html, from the experiments of the sources"),
                ("--out page.html --figures figures", "each figure as .svg and .png too"),
            ],
        }.With(output, figures, experiments);
        command.SetAction(parsed =>
        {
            var file = Outputs.File("--out", parsed.GetValue(output)!);
            if (parsed.GetValue(figures) is { } into) Outputs.Folder("--figures", into);
            var folder = parsed.GetValue(experiments)!;
            var page = Reproduction.Page(Reproduction.All, new(DataFolder.Of(null), folder), StoredPiece.ReadAll(folder));
            FitTable.Show(page, folder);
            page.Save(file);
            if (parsed.GetValue(figures) is { } pictures) page.SaveFigures(pictures);
            Console.WriteLine(file);
            return 0;
        });
        return command;
    }
}
