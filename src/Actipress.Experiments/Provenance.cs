using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Actipress.Experiments;

/// <summary>The machine and build of a measurement.</summary>
public sealed record Provenance(
    string Machine, int Cores, string Commit, string TorchSharp, string DotNet, DateTime MeasuredAt, string? Gpu = null)
{
    /// <summary>This machine and this build.</summary>
    /// <param name="device">The device of the measurement; by default the CPU.</param>
    public static Provenance Here(torch.Device? device = null) => new(
        Processor(), Environment.ProcessorCount, SourceCommit(), typeof(torch).Assembly.GetName().Version!.ToString(3),
        RuntimeInformation.FrameworkDescription, DateTime.UtcNow, device is null ? null : GpuKernels.NameOf(device));

    const string Dirty = "dirty";

    /// <summary>Whether a commit's name says that sources had uncommitted changes.</summary>
    public static bool IsDirty(string commit) => commit.EndsWith($"-{Dirty}", StringComparison.Ordinal);

    static string Processor()
    {
        try
        {
            return File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))
                ?.Split(':')[1].Trim()
                ?? "unknown processor";
        }
        catch (IOException) { return "unknown processor"; }
    }

    // The commit of the sources of this program, where they are a git checkout.
    static string SourceCommit()
    {
        try
        {
            using var git =
                Process.Start(new ProcessStartInfo("git", ["-C", AppContext.BaseDirectory, "describe", "--always", $"--dirty=-{Dirty}"])
                {
                    RedirectStandardOutput = true,
                    RedirectStandardError = true,
                })!;
            var commit = git.StandardOutput.ReadToEnd().Trim();
            git.WaitForExit();
            return git.ExitCode == 0 ? commit : "unknown";
        }
        catch (System.ComponentModel.Win32Exception) { return "unknown"; }
    }
}
