using System.CommandLine;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary><c>compress</c>: packs an array or a picture by a codec, and measures the loss.</summary>
static class CompressCommand
{
    public static Command Make()
    {
        var file = new Argument<string>("file") { Description = "A .npy array (its last two axes are planes), or a PNG or JPEG picture." };
        var codec = CommonOptions.Codec();
        var output = new Option<string?>("--out")
        {
            Description = "The folder for the rebuilt array and, for a picture, both side by side. By default the file's own.",
            HelpName = "folder",
        };
        var device = CommonOptions.Device();
        var json = CommonOptions.Json();
        var command = new CliCommand("compress", "Pack and unpack an array or a picture.")
        {
            Details = "Tells bytes, mean squared error and PSNR, and writes the result to look at.",
            Lists = [CommonOptions.Codecs],
            Examples =
            [
                ("photo.png", "the picture beside its rebuilt self, in its own folder"),
                ("map.npy --codec wt:haar:20 --out runs", "an array's last two axes are planes"),
            ],
        }.With(file, codec, output, device, json);
        command.SetAction(parsed =>
        {
            var path = parsed.GetValue(file)!;
            var (how, where) = (ActivationCodec.Parse(parsed.GetValue(codec)!), Devices.Parse(parsed.GetValue(device)!));
            if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted a .npy array, or a PNG or JPEG picture.");
            var folder = Outputs.Folder("--out", parsed.GetValue(output) ?? Path.GetDirectoryName(Path.GetFullPath(path))!);
            var (result, written) = RoundTrip.Run(path, how, folder, where);
            if (parsed.GetValue(json)) Console.WriteLine(Json.Document(result));
            else
            {
                var each = result.InputBytes / result.Shape.Aggregate(1L, (product, extent) => product * extent);
                Console.WriteLine(FormattableString.Invariant($"{result.Codec}: ({string.Join(", ", result.Shape)}) of {each} bytes each, ")
                    + FormattableString.Invariant($"{result.InputBytes} bytes -> {result.PackedBytes} bytes ")
                    + FormattableString.Invariant($"({100.0 * result.PackedBytes / result.InputBytes:0.00} %)"));
                Console.WriteLine(FormattableString.Invariant($"MSE {result.Mse:0.######}, PSNR {result.PsnrDb:0.00} dB"));
                foreach (var name in written) Console.WriteLine($"wrote {name}");
            }
            return 0;
        });
        return command;
    }
}
