using System.CommandLine;
using Actipress.Data;

namespace Actipress.Cli;

/// <summary>Options of several commands.</summary>
static class CommonOptions
{
    public static Option<bool> Json() =>
        new("--json") { Description = "Print one JSON document on standard output, and nothing else there." };

    public static Option<string> Codec() => new("--codec")
    {
        Description = "How activation maps are stored: one of the codecs below.",
        HelpName = "codec",
        DefaultValueFactory = _ => "dct:10",
    };

    public static Option<string> Layers() => new("--layers")
    {
        Description = "Which layers are compressed: one of the sets below.",
        HelpName = "names",
        DefaultValueFactory = _ => "all",
    };

    /// <summary>The words that <see cref="Codec"/> takes, for a command's help.</summary>
    public static (string, IEnumerable<(string, string)>) Codecs => ("Codecs", ActivationCodec.Known);

    /// <summary>The words that <see cref="Layers"/> takes, for a command's help.</summary>
    public static (string, IEnumerable<(string, string)>) LayerSets => ("Layers",
    [
        ("all", "every layer"),
        ("conv1,relu*", "layers by name, and by pattern"),
        ("block0-2", "the paper's blocks"),
        ("block0-2:bn", "of these the batch norms; so too :conv, :relu, :conv+bn, :conv+bn+relu"),
    ]);

    public static Option<string> Experiments() => new("--experiments")
    {
        Description = "The folder with the experiments and their results; by default that of the sources.",
        HelpName = "folder",
        DefaultValueFactory = _ => Path.Combine(Sources() ?? ".", "experiments"),
    };

    // The folder of this program's sources, where the program lies inside it.
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

    public static Option<string?> DataDir() =>
        new("--data-dir") { Description = $"The folder with real data; else the one in {DataFolder.Variable}.", HelpName = "folder" };
}
