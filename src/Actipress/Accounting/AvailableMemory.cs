using System.Globalization;
using System.Runtime.InteropServices;

namespace Actipress.Accounting;

/// <summary>The memory that this machine has for new programs.</summary>
static class AvailableMemory
{
    const string File = "/proc/meminfo", Name = "MemAvailable:";

    /// <summary>Linux's <c>MemAvailable</c>, or Windows' available physical memory.</summary>
    /// <exception cref="PlatformNotSupportedException">The system tells neither.</exception>
    public static long Bytes
    {
        get
        {
            if (OperatingSystem.IsWindows())
            {
                var status = new MemoryStatus { Length = (uint)Marshal.SizeOf<MemoryStatus>() };
                if (GlobalMemoryStatusEx(ref status)) return checked((long)status.AvailablePhysical);
            }
            else if (System.IO.File.Exists(File))
                foreach (var line in System.IO.File.ReadLines(File))
                    if (line.StartsWith(Name, StringComparison.Ordinal) && long.TryParse(
                        line.AsSpan(Name.Length).Trim().TrimEnd("kB").Trim(), CultureInfo.InvariantCulture, out var kibibytes))
                        return kibibytes << 10;
            throw new PlatformNotSupportedException($"The machine's available memory is not to be had here: wanted MemAvailable in {File}, "
                + "or Windows' GlobalMemoryStatusEx.");
        }
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
