using System.CommandLine;
using Actipress.Benchmarks;
using Actipress.Data;

namespace Actipress.Cli;

/// <summary><c>maps</c>: a command for developers, through <c>./dev maps</c>.</summary>
static class MapsCommand
{
    public static Command Make()
    {
        var folder = new Argument<string>("folder") { Description = "Where the files go." };
        var dataDir = CommonOptions.DataDir();
        var command =
            new Command("maps", "Train the benchmarks' networks on real data and write their activation maps.") { folder, dataDir };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            var data = DataFolder.Of(parsed.GetValue(dataDir)) ?? throw new InvalidDataException("No real data to train on: give "
                + $"--data-dir, or set {DataFolder.Variable}, to a folder with mnist/, cifar10_first4000/ and msd_hippocampus/.");
            using var progress = new StatusLine();
            RealMaps.Capture(data, parsed.GetValue(folder)!, progress, CancellationToken.None);
            return 0;
        });
        return command;
    }
}
