using System.CommandLine;
using Actipress.Cli;

var root = new RootCommand("Actipress: train bigger TorchSharp networks in the memory you have, by compressing the activation maps saved for the backward pass.")
{
    TrainCommand.Make(),
    PredictCommand.Make(),
    MemoryCommand.Make(),
    ReproduceCommand.Make(),
    ReportCommand.Make(),
    CompressCommand.Make(),
    SweepCommand.Make(),
    BenchCommand.Make(),
    StatusCommand.Make(),
    ReadmeCommand.Make(),
    MapsCommand.Make(),
};
return await UserErrors.Run(root, args);
