using System.CommandLine;
using Actipress.Cli;
using Actipress.Distributed;

// mpirun gives its processes a terminal, although it passes on what they write to a file: .NET would begin with the terminal's control codes.
if (Ranks.Own is not null) Environment.SetEnvironmentVariable("TERM", "dumb");

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
