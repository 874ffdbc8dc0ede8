using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>A page of machine instructions.</summary>
sealed unsafe class MachineCode
{
    const int PageBytes = 4096;

    readonly nint page = Allocate();
    int length;

    public MachineCode()
    {
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

    static nint Allocate()
    {
        const int ReadWrite = 3, PrivateAnonymous = 0x22, WindowsReserveCommit = 0x3000, WindowsReadWrite = 4;
        return CppAbi.IsMicrosofts
            ? VirtualAlloc(0, PageBytes, WindowsReserveCommit, WindowsReadWrite)
            : mmap(0, PageBytes, ReadWrite, PrivateAnonymous, -1, 0);
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

    [DllImport("libc")]
    static extern int mprotect(nint address, nuint length, int protection);

    [DllImport("kernel32")]
    static extern nint VirtualAlloc(nint address, nuint length, int type, int protection);

    [DllImport("kernel32")]
    [return: MarshalAs(UnmanagedType.Bool)]
    static extern bool VirtualProtect(nint address, nuint length, int protection, out int before);
}
