using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Actipress.Experiments;

/// <summary>The machine and build of a measurement.</summary>
/// <param name="Ranks">
/// The number of processes that trained together; null for one. Memory, bytes and times are those of one of them.
/// </param>
public sealed record Provenance(
    string Machine, int Cores, string Commit, string TorchSharp, string DotNet, DateTime MeasuredAt, string? Gpu = null,
    int? Ranks = null)
{
    /// <summary>This machine and this build.</summary>
    /// <param name="device">The device of the measurement; by default the CPU.</param>
    /// <param name="ranks">The processes that train together; null for this one alone.</param>
    public static Provenance Here(torch.Device? device = null, Distributed.Ranks? ranks = null) => new(
        Processor(), Environment.ProcessorCount, SourceCommit(), typeof(torch).Assembly.GetName().Version!.ToString(3),
        RuntimeInformation.FrameworkDescription, DateTime.UtcNow, device is null ? null : GpuKernels.NameOf(device),
        ranks is null or { Size: 1 } ? null : ranks.Size);

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
    static string SourceCommit() => CommitOf(AppContext.BaseDirectory);

    /// <summary>
    /// The commit of a checkout, with a mark where files have uncommitted changes. Stored results are no sources: each result that a
    /// benchmark or a sweep adds would otherwise mark those that follow.
    /// </summary>
    internal static string CommitOf(string folder) =>
        Git(folder, "describe", "--always") is not { } commit ? "unknown"
        : Git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", ":(top,exclude,glob)experiments/*/results.jsonl")
            is "" ? commit : $"{commit}-{Dirty}";

    // What git prints; null where it fails or is missing.
    static string? Git(string folder, params string[] arguments)
    {
        try
        {
            using var git = Process.Start(new ProcessStartInfo("git", ["-C", folder, .. arguments])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            var printed = git.StandardOutput.ReadToEnd().Trim();
            git.WaitForExit();
            return git.ExitCode == 0 ? printed : null;
        }
        catch (System.ComponentModel.Win32Exception) { return null; }
    }
}
