using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Actipress.Accounting;

/// <summary>The C library's allocator, in which libtorch keeps its tensors on the CPU.</summary>
/// <remarks>
/// <c>mallinfo2()</c> describes glibc's allocator only. Where another allocator replaces it, as by <c>LD_PRELOAD</c> of tcmalloc or
/// jemalloc, the function still returns a level, which no tensor changes. So the level is trusted only after a tensor of known size has
/// changed it. Where it is not, <see cref="CountedBlocks"/> has a level.
/// </remarks>
static class CAllocator
{
    // The pages of the trial tensor are never touched, so that a try takes microseconds. There are several tries, because another thread
    // may allocate or free as much between the two readings of a try.
    const long TrialBytes = 64 << 20;
    internal const int Tries = 20;

    const int Mapped = 4, UsedInArenas = 7;

    // A trial that failed for lack of memory has no result, and is repeated later.
    static readonly Lazy<string?> refusal = new(Judge, LazyThreadSafetyMode.PublicationOnly);

    /// <summary>Why the C library does not tell the level of libtorch's tensors; null where it does.</summary>
    public static string? Refusal => refusal.Value;

    /// <summary>The number of bytes that the allocator has handed out and that were not freed, where there is no refusal.</summary>
    public static long Level
    {
        get
        {
            var info = mallinfo2();
            return (long)(info[UsedInArenas] + info[Mapped]);
        }
    }

    /// <summary>
    /// The address of a C function as libtorch itself resolves it, which may be in another library; 0 where there is none.
    /// </summary>
    public static nint Symbol(string name) =>
        NativeLibrary.TryGetExport(NativeLibrary.GetMainProgramHandle(), name, out var address) ? address : 0;

    static string? Judge()
    {
        if (OperatingSystem.IsWindows()) return "Windows' C library does not tell its own";
        try { return MovedBy(() => Level, Trial) is { } moved ? Reason(moved, Owner) : null; }
        catch (Exception missing) when (missing is DllNotFoundException or EntryPointNotFoundException)
        {
            return "there is no glibc 2.33 or newer with mallinfo2()";
        }
    }

    static IDisposable Trial() => empty(TrialBytes, uint8, CPU);

    /// <summary>
    /// Null where the level changes with the trial tensor; otherwise the number of bytes by which it changed in the last try.
    /// </summary>
    internal static long? MovedBy(Func<long> level, Func<IDisposable> trial)
    {
        long moved = 0;
        for (var @try = 0; @try < Tries; @try++)
        {
            var before = level();
            using (trial()) moved = level() - before;
            if (Math.Abs(moved - TrialBytes) < TrialBytes / 4) return null;
        }
        return moved;
    }

    /// <summary>Why the level is not trusted.</summary>
    /// <param name="moved">The number of bytes by which the trial tensor changed the level.</param>
    /// <param name="owner">The file whose <c>posix_memalign</c> the process uses; null where it is not known.</param>
    internal static string Reason(long moved, string? owner)
    {
        var isGlibc = owner is not null && Path.GetFileName(owner).StartsWith("libc.", StringComparison.Ordinal);
        var who = isGlibc
            ? $"libtorch does not allocate with glibc ({owner}), or other threads allocated as much at the first read"
            : $"the process allocates with {owner ?? "an unknown library"}";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{who}, and a tensor of {TrialBytes >> 20} MiB moves glibc's level by {moved / 1048576.0:0.0} MiB");
    }

    // A line of the process's maps: 7f00-7f10 r-xp 00000000 08:01 123 /lib/libc.so.6
    static string? Owner
    {
        get
        {
            var address = (ulong)Symbol("posix_memalign");
            foreach (var line in File.ReadLines("/proc/self/maps"))
            {
                var (dash, end, path) = (
                    line.IndexOf('-', StringComparison.Ordinal), line.IndexOf(' ', StringComparison.Ordinal),
                    line.IndexOf('/', StringComparison.Ordinal));
                if (path > 0 && Hex(line.AsSpan(..dash)) <= address && address < Hex(line.AsSpan(dash + 1, end - dash - 1)))
                    return line[path..];
            }
            return null;

            static ulong Hex(ReadOnlySpan<char> digits) => ulong.Parse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        }
    }

    // struct mallinfo2: arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost.
    [InlineArray(10)]
    struct MallocInfo
    {
        nuint first;
    }

    [DllImport("libc")]
    static extern MallocInfo mallinfo2();
}
