using System.Reflection.PortableExecutable;
using Actipress.Autograd;

namespace Actipress.Tests.Autograd;

public class LibTorchTests
{
    [Fact]
    public void Of_two_copies_of_libtorch_neither_is_used()
    {
        var (file, other) = (WindowsSymbols.File("libtorch_cpu.so"), WindowsSymbols.File("libtorch_cuda.so"));
        string[] once = [$"/a/{file}", "/a/program", $"/a/{file}", $"/b/x{file}"];
        Assert.Equal($"/a/{file}", LibTorch.OnlyPath("libtorch_cpu.so", once));
        Assert.Null(LibTorch.OnlyPath("libtorch_cuda.so", once));
        string[] twice = [.. once, $"/b/{file}", $"/b/{other}"];
        var refusal = Assert.Throws<PlatformNotSupportedException>(() => LibTorch.OnlyPath("libtorch_cpu.so", twice)).Message;
        Assert.Contains($"found 2 copies of {file} in this process (/a/{file}, /b/{file}), wanted one", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_name_on_Windows_is_one_that_libtorch_exports_there()
    {
        var package = Path.Combine(NuGetFolder, "libtorch-cpu-win-x64", "2.10.0", "runtimes", "win-x64", "native");
        Assert.SkipUnless(Directory.Exists(package), $"needs the package libtorch-cpu-win-x64 2.10.0 in {NuGetFolder}");
        HashSet<string> exported = [.. Exports(Path.Combine(package, "torch_cpu.dll")), .. Exports(Path.Combine(package, "c10.dll"))];
        Assert.Empty(WindowsSymbols.All.Except(exported));
        string[] ofC = ["aoti_torch_new_tensor_handle", "aoti_torch_get_data_ptr", "aoti_torch_library_init_impl", "torch_library_impl"];
        Assert.Empty(ofC.Except(exported));
    }

    static string NuGetFolder => Environment.GetEnvironmentVariable("NUGET_PACKAGES") ??
        Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");

    static IEnumerable<string> Exports(string library)
    {
        const int Count = 24, Names = 32;
        using var file = new PEReader(File.OpenRead(library));
        var directory = file.GetSectionData(file.PEHeaders.PEHeader!.ExportTableDirectory.RelativeVirtualAddress).GetReader();
        directory.Offset = Count;
        var count = directory.ReadInt32();
        directory.Offset = Names;
        var addresses = file.GetSectionData(directory.ReadInt32()).GetReader();
        for (var i = 0; i < count; i++)
        {
            var name = file.GetSectionData(addresses.ReadInt32()).GetReader();
            yield return name.ReadUTF8(name.IndexOf(0));
        }
    }
}
