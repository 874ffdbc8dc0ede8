namespace Actipress.Tests.Cli;

/// <summary>
/// Systems whose libstdc++ is older than TorchSharp's library requires, such as Debian 12. The old library is a copy of this system's, in
/// which the names of the version and of its one function are changed where it has them.
/// </summary>
public sealed class OldLibstdcxxTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-libstdcxx-").FullName;

    public OldLibstdcxxTests()
    {
        var library = System.Text.Encoding.Latin1.GetString(File.ReadAllBytes("/usr/lib/x86_64-linux-gnu/libstdc++.so.6"));
        var old = library.Replace("GLIBCXX_3.4.32\0", "GLIBCXX_3.4.xx\0", StringComparison.Ordinal)
            .Replace("ios_base_library_initv\0", "ios_base_library_initx\0", StringComparison.Ordinal);
        Assert.Contains("GLIBCXX_3.4.30\0", old, StringComparison.Ordinal);
        File.WriteAllBytes(Path.Combine(folder, "libstdc++.so.6"), System.Text.Encoding.Latin1.GetBytes(old));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    // TorchSharp's own library, from the package folder.
    static string Original => Path.Combine(
        Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages"),
        "torchsharp", "0.107.0", "runtimes", "linux-x64", "native", "libLibTorchSharp.so");

    // A copy of the command line, in the folder as in a repository, with TorchSharp's own library.
    (string Program, FileInfo Library) CommandLine()
    {
        var program = Path.Combine(folder, "artifacts", "bin", "Actipress.Cli", "release_linux-x64");
        Directory.CreateDirectory(program);
        Assert.Equal(0, ChildProcess.Run(["cp", "-a", Path.GetDirectoryName(ChildProcess.Cli[1])! + "/.", program]).ExitCode);
        var library = new FileInfo(Path.Combine(program, "libLibTorchSharp.so"));
        library.Delete();
        library.CreateAsSymbolicLink(Original);
        return (Path.Combine(program, "Actipress.Cli.dll"), library);
    }

    ChildProcess.Ended Status(string program) => ChildProcess.Run(["dotnet", program, "status"], null, ("LD_LIBRARY_PATH", folder));

    ChildProcess.Ended Fit(string libstdcxx) => ChildProcess.Run(
    [
        "bash", "-euo", "pipefail", "-c", $". build/prerequisites.sh; libstdcxx() {{ echo {libstdcxx}; }}; "
            + $"fit() {{ fit_to_libstdcxx {folder}/artifacts/bin/*/*/libLibTorchSharp.so; }}; need_libstdcxx && fit && fit",
    ]);

    [Fact]
    public void The_command_line_says_in_one_sentence_what_is_missing_and_ends_with_2()
    {
        var ended = Status(CommandLine().Program);
        Assert.Equal(2, ended.ExitCode);
        Assert.Equal("", ended.Output);
        Assert.Equal(
            "actipress: TorchSharp 0.107.0 cannot run here: found a libstdc++.so.6 without GLIBCXX_3.4.32, wanted that of GCC 13.2 or "
                + "newer: Ubuntu 24.04, Debian 13, Fedora 39 and later have it.\n", ended.Error);
    }

    [Fact]
    public void A_program_with_a_fitted_copy_runs_and_TorchSharp_s_own_file_stays_as_it_was()
    {
        var (program, library) = CommandLine();
        var before = File.ReadAllBytes(Original);
        var fitted = Fit($"{folder}/libstdc++.so.6");
        Assert.Equal(0, fitted.ExitCode);
        Assert.Single(fitted.Error.Split("is now a copy of TorchSharp's")[1..]);    // the second time there is nothing to do

        library.Refresh();
        Assert.Null(library.LinkTarget);
        Assert.Equal(before, File.ReadAllBytes(Original));
        var ended = Status(program);
        Assert.Equal(0, ended.ExitCode);
        Assert.Contains("hooks       work", ended.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void On_a_system_that_is_new_enough_nothing_is_touched()
    {
        var program = Directory.CreateDirectory(Path.Combine(folder, "artifacts", "bin", "Actipress.Cli", "release")).FullName;
        var (file, newer) = (Path.Combine(program, "libLibTorchSharp.so"), Path.Combine(folder, "newer"));
        File.WriteAllText(file, "as it was");
        File.WriteAllText(newer, "GLIBCXX_3.4.30 GLIBCXX_3.4.32");
        var ended = Fit(newer);
        Assert.Equal((0, "", "as it was"), (ended.ExitCode, ended.Error, File.ReadAllText(file)));
    }
}
