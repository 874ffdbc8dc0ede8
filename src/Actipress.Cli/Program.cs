using System.CommandLine;
using Actipress.Cli;
using Spectre.Console;

if (Console.IsOutputRedirected) AnsiConsole.Profile.Width = 200;
using var interruption = new Interruption();
var root = new RootCommand("Actipress: train bigger TorchSharp networks in the memory you have, by compressing the activation maps saved for the backward pass.")
{
    TrainCommand.Make(interruption),
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
return await UserErrors.Run(root, args);
