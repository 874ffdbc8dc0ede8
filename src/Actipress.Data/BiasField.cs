using System.ComponentModel;
using System.Diagnostics;

namespace Actipress.Data;

/// <summary>N4 bias field correction (Tustison et al. 2010) of MR by an installed program: ANTs' <c>N4BiasFieldCorrection</c>.</summary>
/// <param name="Program">The name or path of the program.</param>
public sealed record BiasField(string Program = "N4BiasFieldCorrection")
{
    /// <summary>The longest time that one channel may take.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>Corrects each channel, through files in a temporary folder.</summary>
    /// <param name="volume">(channels, depth, height, width).</param>
    /// <exception cref="PlatformNotSupportedException">The program is not installed.</exception>
    /// <exception cref="InvalidDataException">The program failed or took too long; the message has the end of its output.</exception>
    public Example Correct(Example volume)
    {
        ArgumentNullException.ThrowIfNull(volume);
        if (volume.Extents.Count != 3)
            throw new ArgumentException($"{volume.Case} has {volume.Extents.Count} axes: wanted a volume.", nameof(volume));
        var affine = volume.Affine ?? Affine.Of(1, 1, 1);
        var (depth, height, width) = affine.Spacing;
        var (image, folder) = (new float[volume.Image.Length], Directory.CreateTempSubdirectory("actipress-n4").FullName);
        try
        {
            for (var channel = 0; channel < volume.Channels; channel++)
            {
                var (from, to) = (Path.Combine(folder, "from.nii"), Path.Combine(folder, "to.nii"));
                Nifti.Write(from, new(
                    volume.Channel(channel).ToArray(), [volume.Extents[2], volume.Extents[1], volume.Extents[0]], [width, height, depth],
                    affine));
                Run(volume.Case, from, to);
                var corrected = Nifti.Read(to);
                if (corrected.Values.Length != volume.Elements)
                    throw new InvalidDataException($"{Program} made {string.Join(" x ", corrected.Extents)} of {volume.Case}: wanted its "
                        + "own extents.");
                corrected.Values.CopyTo(image, channel * volume.Elements);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
        return volume with { Image = image };
    }

    void Run(string name, string from, string to)
    {
        Process process;
        try
        {
            process = Process.Start(new ProcessStartInfo(Program, ["-d", "3", "-i", from, "-o", to])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
        }
        catch (Win32Exception failure)
        {
            throw new PlatformNotSupportedException($"No program {Program}: wanted ANTs' N4BiasFieldCorrection to correct {name}. Install "
                + "ANTs (on Debian: apt-get install ants), give the program's path, or leave the correction out.", failure);
        }
        using (process)
        {
            var (words, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            if (!process.WaitForExit(Patience))
            {
                process.Kill(entireProcessTree: true);
                throw new InvalidDataException($"{Program} took more than {Patience} for {name}. Give it more patience, or leave the "
                    + "correction out.");
            }
            if (process.ExitCode != 0 || !File.Exists(to))
                throw new InvalidDataException($"{Program} failed on {name} with exit code {process.ExitCode}: "
                    + $"{(errors.Result + words.Result).Trim().Split('\n')[^1]}");
        }
    }
}
