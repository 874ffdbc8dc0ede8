using System.Runtime.InteropServices;

namespace Actipress.Tests;

/// <summary>Memory that ends at a page without access. One byte read or written beyond its end kills the process.</summary>
sealed unsafe class GuardedMemory : IDisposable
{
    const int Page = 4096, None = 0, ReadWrite = 3, Private = 2, Anonymous = 0x20;

    readonly byte* memory, end;

    public GuardedMemory(int bytes)
    {
        var whole = (bytes + Page - 1) / Page * Page;
        memory = (byte*)mmap(0, whole + Page, ReadWrite, Private | Anonymous, -1, 0);
        Assert.NotEqual(-1, (nint)memory);
        end = memory + whole;
        Assert.Equal(0, mprotect((nint)end, Page, None));
    }

    /// <summary>Copies bytes to the end of the memory, where they stay until the next call.</summary>
    public byte* Put(ReadOnlySpan<byte> bytes)
    {
        var start = end - bytes.Length;
        Assert.True(start >= memory);
        bytes.CopyTo(new Span<byte>(start, bytes.Length));
        return start;
    }

    public void Dispose() => Assert.Equal(0, munmap((nint)memory, (nint)(end - memory) + Page));

    [DllImport("libc")]
    static extern nint mmap(nint address, nint length, int protection, int flags, int file, nint offset);

    [DllImport("libc")]
    static extern int mprotect(nint address, nint length, int protection);

    [DllImport("libc")]
    static extern int munmap(nint address, nint length);
}
