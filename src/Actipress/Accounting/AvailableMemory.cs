using System.Globalization;
using System.Runtime.InteropServices;

namespace Actipress.Accounting;

/// <summary>The memory that is available to this process beyond what it has.</summary>
static class AvailableMemory
{
    // A group without a limit has a number near 2^63 under version 1 of Linux's control groups.
    const long NoLimit = 1L << 60;

    /// <summary>
    /// On Linux <c>MemAvailable</c>, or less where a control group of the process leaves less, as in a container or a job of a batch
    /// system; on Windows the available physical memory.
    /// </summary>
    /// <exception cref="PlatformNotSupportedException">The system does not tell it.</exception>
    public static long Bytes => OperatingSystem.IsWindows() ? OnWindows() : OnLinux("/");

    /// <param name="root">The folder that stands for the root of the file system.</param>
    internal static long OnLinux(string root)
    {
        var file = Path.Combine(root, "proc/meminfo");
        var available = Entry(file, "MemAvailable:") << 10
            ?? throw new PlatformNotSupportedException(
                $"The machine's available memory is not to be had here: wanted MemAvailable in {file}.");
        foreach (var left in LeftByGroups(root)) available = Math.Min(available, left);
        return Math.Max(0, available);
    }

    // What each limited group leaves to the process: its own group, and those that this one lies in. Memory that caches files is given up
    // where it is needed.
    static IEnumerable<long> LeftByGroups(string root)
    {
        var groups = Path.Combine(root, "proc/self/cgroup");
        if (!File.Exists(groups)) yield break;
        foreach (var line in File.ReadLines(groups))
        {
            // Version 2 has one line, 0::/path; version 1 has one for each kind of resource, such as 4:memory:/path.
            if (line.Split(':', 3) is not [_, var kind, var path] || kind is not ("" or "memory")) continue;
            var (folder, limit, used, cached) = kind.Length == 0
                ? ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ")
                : ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ");
            // A container may see its own group as the topmost folder.
            for (var group = path.TrimStart('/'); ; group = Path.GetDirectoryName(group) ?? "")
            {
                var at = Path.Combine(root, folder, group);
                if (Entry(Path.Combine(at, limit), "") is < NoLimit and var most && Entry(Path.Combine(at, used), "") is { } now)
                    yield return most - now + (Entry(Path.Combine(at, "memory.stat"), cached) ?? 0);
                if (group.Length == 0) break;
            }
        }
    }

    // The number behind a name that begins a line of a file; null where there is none.
    static long? Entry(string file, string name)
    {
        try
        {
            foreach (var line in File.ReadLines(file))
                if (line.StartsWith(name, StringComparison.Ordinal) && long.TryParse(
                    line.AsSpan(name.Length).Trim().TrimEnd("kB").Trim(), CultureInfo.InvariantCulture, out var number))
                    return number;
        }
        catch (Exception missing) when (missing is IOException or UnauthorizedAccessException) { }
        return null;
    }

    static long OnWindows()
    {
        var status = new MemoryStatus { Length = (uint)Marshal.SizeOf<MemoryStatus>() };
        return GlobalMemoryStatusEx(ref status)
            ? checked((long)status.AvailablePhysical)
            : throw new PlatformNotSupportedException("The machine's available memory is not to be had here: GlobalMemoryStatusEx failed.");
    }

    [StructLayout(LayoutKind.Sequential)]
    struct MemoryStatus
    {
        public uint Length, Load;
        public ulong Physical, AvailablePhysical, PageFile, AvailablePageFile, Virtual, AvailableVirtual, Extended;
    }

    [DllImport("kernel32")]
    [return: MarshalAs(UnmanagedType.Bool)]
    static extern bool GlobalMemoryStatusEx(ref MemoryStatus status);
}
