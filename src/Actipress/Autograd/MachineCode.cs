using System.Globalization;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>A page of machine instructions.</summary>
sealed unsafe class MachineCode
{
    const int PageBytes = 4096;

    // A jump of five bytes reaches two gigabytes. The libraries of a process lie together, with gaps between and around them. Step is the
    // distance of the places that Windows gives.
    const long Reach = 0x7000_0000, Step = 1 << 16;

    readonly nint page;
    int length;

    /// <param name="near">The page is within the reach of a jump from this address; 0 for anywhere.</param>
    public MachineCode(nint near = 0)
    {
        page = near == 0 ? Allocate(0) : AllocateNear(near);
        if (page is 0 or -1) throw Refused("the system gave no memory page for code");
    }

    public nint Here => page + length;

    public void Add(ReadOnlySpan<byte> instructions)
    {
        instructions.CopyTo(new Span<byte>((void*)Here, PageBytes - length));
        length += instructions.Length;
    }

    public void Add(ReadOnlySpan<byte> instruction, nint constant)
    {
        Add(instruction);
        MemoryMarshal.Write(new Span<byte>((void*)Here, sizeof(nint)), constant);
        length += sizeof(nint);
    }

    public void Seal()
    {
        if (!MakeExecutable(page)) throw Refused("the system forbids executable pages");
    }

    static PlatformNotSupportedException Refused(string why) => new($"Actipress cannot add instructions of its own here: {why}.");

    /// <summary>Writes a word over instructions, at once, and leaves them executable.</summary>
    /// <param name="function">The address, a multiple of a word.</param>
    /// <param name="word">The word.</param>
    public static void Overwrite(nint function, nint word)
    {
        const int ReadWriteExecute = 7, WindowsReadWriteExecute = 0x40;
        var start = function & -PageBytes;
        var isOpen = CppAbi.IsMicrosofts
            ? VirtualProtect(start, PageBytes, WindowsReadWriteExecute, out _) : mprotect(start, PageBytes, ReadWriteExecute) == 0;
        if (!isOpen) throw Refused("the system forbids to change a library's instructions");
        Volatile.Write(ref *(nint*)function, word);
        MakeExecutable(start);
    }

    static nint AllocateNear(nint address)
    {
        foreach (var wanted in CppAbi.IsMicrosofts ? Around(address) : Gaps(address))
        {
            var found = Allocate(wanted);
            if (found is 0 or -1) continue;
            if (Math.Abs(found - address) < Reach) return found;
            Release(found);    // the system gave another place, since this one is taken
        }
        return 0;
    }

    // Windows gives the wanted place or none.
    static IEnumerable<nint> Around(nint address)
    {
        for (var distance = Step; distance < Reach; distance += Step)
        {
            yield return (nint)((address - distance) & -Step);
            yield return (nint)((address + distance) & -Step);
        }
    }

    // The pages next to a mapping of this process that nothing lies on, the nearest first. A stack grows towards the page below it.
    static IEnumerable<nint> Gaps(nint address)
    {
        var (pages, end) = (new List<nint>(), 0L);
        foreach (var line in File.ReadLines("/proc/self/maps"))
        {
            var bounds = line.Split(' ', 2)[0].Split('-');
            var (next, nextEnd) = (Hexadecimal(bounds[0]), Hexadecimal(bounds[1]));
            if (next > end && end > 0)
            {
                pages.Add((nint)end);
                if (!line.EndsWith("[stack]", StringComparison.Ordinal)) pages.Add((nint)(next - PageBytes));
            }
            end = nextEnd;
        }
        return pages.Where(page => Math.Abs(page - address) < Reach).OrderBy(page => Math.Abs(page - address));

        // An address of the kernel's own page exceeds a long.
        static long Hexadecimal(string text) => (long)Math.Min(ulong.Parse(text, NumberStyles.HexNumber, null), long.MaxValue);
    }

    static nint Allocate(nint wanted)
    {
        const int ReadWrite = 3, PrivateAnonymous = 0x22, WindowsReserveCommit = 0x3000, WindowsReadWrite = 4;
        return CppAbi.IsMicrosofts
            ? VirtualAlloc(wanted, PageBytes, WindowsReserveCommit, WindowsReadWrite)
            : mmap(wanted, PageBytes, ReadWrite, PrivateAnonymous, -1, 0);
    }

    static bool MakeExecutable(nint page)
    {
        const int ReadExecute = 5, WindowsReadExecute = 0x20;
        return CppAbi.IsMicrosofts
            ? VirtualProtect(page, PageBytes, WindowsReadExecute, out _)
            : mprotect(page, PageBytes, ReadExecute) == 0;
    }

    [DllImport("libc")]
    static extern nint mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    static void Release(nint page)
    {
        const int WindowsRelease = 0x8000;
        if (CppAbi.IsMicrosofts) VirtualFree(page, 0, WindowsRelease);
        else munmap(page, PageBytes);
    }

    [DllImport("libc")]
    static extern int munmap(nint address, nuint length);

    [DllImport("kernel32")]
    static extern int VirtualFree(nint address, nuint length, int type);

    [DllImport("libc")]
    static extern int mprotect(nint address, nuint length, int protection);

    [DllImport("kernel32")]
    static extern nint VirtualAlloc(nint address, nuint length, int type, int protection);

    [DllImport("kernel32")]
    [return: MarshalAs(UnmanagedType.Bool)]
    static extern bool VirtualProtect(nint address, nuint length, int protection, out int before);
}
