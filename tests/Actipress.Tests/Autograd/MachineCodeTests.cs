using System.Globalization;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Tests.Autograd;

public sealed unsafe class MachineCodeTests
{
    const long Reach = 1L << 31, Page = 4096;

    // Other parts of a process may reserve whole gigabytes beside a library, so that only pages between its neighbours are left.
    [Fact]
    public void A_page_near_a_library_is_found_where_all_but_one_are_taken()
    {
        if (CppAbi.IsMicrosofts) Assert.Skip("Windows reserves otherwise.");
        var library =
            NativeLibrary.GetExport(NativeLibrary.Load("libLibTorchSharp", typeof(TorchSharp.torch).Assembly, null), "THSTensor_dispose");
        var taken = new List<(long From, long To)>();
        try
        {
            foreach (var (from, to) in Gaps(library - Reach, library + Reach))
                if (mmap((nint)from, (nuint)(to - from), 0, 0x104022, -1, 0) == from) taken.Add((from, to));
            var left = taken.MinBy(gap => Math.Abs(gap.To - library));
            munmap((nint)(left.To - Page), (nuint)Page);
            taken[taken.IndexOf(left)] = (left.From, left.To - Page);
            var code = new MachineCode(near: library);
            Assert.InRange(Math.Abs(code.Here - library), 1, Reach);
            var function = (delegate* unmanaged<int>)code.Here;
            code.Add([0xB8, 0x2A, 0, 0, 0, 0xC3]);    // mov eax, 42; ret
            code.Seal();
            Assert.Equal(42, function());
        }
        finally
        {
            foreach (var (from, to) in taken) munmap((nint)from, (nuint)(to - from));
        }
    }

    // The places of this process between two addresses that no mapping lies on.
    static IEnumerable<(long From, long To)> Gaps(long least, long most)
    {
        var end = least;
        foreach (var line in File.ReadLines("/proc/self/maps").ToArray())
        {
            var bounds = line.Split(' ', 2)[0].Split('-').Select(text => (long)Math.Min(ulong.Parse(text, NumberStyles.HexNumber, null),
                long.MaxValue)).ToArray();
            if (bounds[1] <= least) continue;
            if (Math.Min(bounds[0], most) > end) yield return (end, Math.Min(bounds[0], most));
            end = bounds[1];
            if (end >= most) yield break;
        }
        if (end < most) yield return (end, most);
    }

    [DllImport("libc")]
    static extern nint mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [DllImport("libc")]
    static extern int munmap(nint address, nuint length);
}
