using System.CommandLine;
using Actipress.Data;

namespace Actipress.Cli;

/// <summary>Options that several commands have.</summary>
static class CommonOptions
{
    public static Option<bool> Json() => new("--json") { Description = "Print one JSON document on standard output, and nothing else there." };

    public static Option<string> Codec() => new("--codec")
    {
        Description = $"How activation maps are stored: {string.Join("; ", ActivationCodec.Known.Select(known => $"{known.Example} {known.Meaning}"))}.",
        HelpName = "codec",
        DefaultValueFactory = _ => "dct:10",
    };

    public static Option<string> Layers() => new("--layers")
    {
        Description = "Which layers are compressed: all; names and patterns such as conv1,relu*; the paper's blocks such as block0-2; with :bn, :conv+bn or :conv+bn+relu at the end these kinds only.",
        HelpName = "names",
        DefaultValueFactory = _ => "all",
    };

    public static Option<string> Experiments() => new("--experiments")
    {
        Description = "The folder with the experiments and their results; by default that of the sources.",
        HelpName = "folder",
        DefaultValueFactory = _ => Path.Combine(Sources() ?? ".", "experiments"),
    };

    // The folder of the sources that this program was built from, where it lies in one.
    static string? Sources()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "Actipress.slnx"))) return folder.FullName;
        return null;
    }

    public static Option<string> Device() => new("--device")
    {
        Description = "Where to compute: cpu, cuda, or cuda:n for GPU n. What is known of GPUs here: status.",
        HelpName = "device",
        DefaultValueFactory = _ => "cpu",
    };

    public static Option<string?> DataDir() => new("--data-dir") { Description = $"The folder with real data; else the one in {DataFolder.Variable}.", HelpName = "folder" };
}
