using System.CommandLine;
using Actipress.Cli;
using Actipress.Distributed;
using Spectre.Console;

// mpirun gives its processes a terminal, although their output may go to a file. .NET would first write the terminal's control codes.
if (Ranks.HaveLaunchersTerminal) Environment.SetEnvironmentVariable("TERM", "dumb");

if (Console.IsOutputRedirected || Ranks.HaveLaunchersTerminal) AnsiConsole.Profile.Width = 200;
using var interruption = new Interruption();
var root = new RootCommand("Actipress: train bigger TorchSharp networks in the memory you have, by compressing the activation maps saved "
    + "for the backward pass.")
{
    TrainCommand.Make(interruption),
    PredictCommand.Make(interruption),
    MemoryCommand.Make(),
    ReproduceCommand.Make(interruption),
    ReportCommand.Make(),
    CompressCommand.Make(),
    SweepCommand.Make(interruption),
    BenchCommand.Make(interruption),
    StatusCommand.Make(),
    ReadmeCommand.Make(),
    MapsCommand.Make(),
};
CliCommand.ExtendHelp(root);
return await CommandLine.Run(root, args);
