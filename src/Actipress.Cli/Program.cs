using System.CommandLine;
using Actipress.Cli;

var root = new RootCommand("Actipress: train bigger TorchSharp networks in the memory you have, by compressing the activation maps saved for the backward pass.")
{
    TrainCommand.Make(),
    CompressCommand.Make(),
    StatusCommand.Make(),
    ReadmeCommand.Make(),
};
return await UserErrors.Run(root, args);
