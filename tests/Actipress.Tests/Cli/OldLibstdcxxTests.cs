namespace Actipress.Tests.Cli;

/// <summary>
/// Systems whose libstdc++ is older than TorchSharp's library requires, such as Debian 12. The old library is a copy of this system's in
/// which the names of the version and of its one function are changed.
/// </summary>
public sealed class OldLibstdcxxTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-libstdcxx-").FullName;

    public OldLibstdcxxTests()
    {
        var library = System.Text.Encoding.Latin1.GetString(File.ReadAllBytes("/usr/lib/x86_64-linux-gnu/libstdc++.so.6"));
        var old = library.Replace("GLIBCXX_3.4.32\0", "GLIBCXX_3.4.xx\0", StringComparison.Ordinal)
            .Replace("ios_base_library_initv\0", "ios_base_library_initx\0", StringComparison.Ordinal);
        Assert.NotEqual(library, old);
        File.WriteAllBytes(Path.Combine(folder, "libstdc++.so.6"), System.Text.Encoding.Latin1.GetBytes(old));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void The_command_line_says_in_one_sentence_what_is_missing_and_ends_with_2()
    {
        var ended = ChildProcess.Run([.. ChildProcess.Cli, "status"], null, ("LD_LIBRARY_PATH", folder));
        Assert.Equal(2, ended.ExitCode);
        Assert.Equal("", ended.Output);
        Assert.Equal(
            "actipress: TorchSharp 0.107.0 cannot run here: found a libstdc++.so.6 without GLIBCXX_3.4.32, wanted that of GCC 13.2 or "
                + "newer: Ubuntu 24.04, Debian 13, Fedora 39 and later have it.\n", ended.Error);
    }

    [Fact]
    public void A_program_with_a_fitted_copy_runs_and_TorchSharp_s_own_file_stays_as_it_was()
    {
        var program = Path.Combine(folder, "artifacts", "bin", "Actipress.Cli", "release_linux-x64");
        Directory.CreateDirectory(program);
        var built = Path.GetDirectoryName(ChildProcess.Cli[1])!;
        Assert.Equal(0, ChildProcess.Run(["cp", "-a", built + "/.", program]).ExitCode);
        var link = new FileInfo(Path.Combine(program, "libLibTorchSharp.so"));
        var original = link.LinkTarget!;
        var before = File.ReadAllBytes(original);

        var script = $". build/prerequisites.sh; root={folder}; libstdcxx() {{ echo {folder}/libstdc++.so.6; }}; " +
            "need_libstdcxx && fit_to_libstdcxx && fit_to_libstdcxx";
        var fitted = ChildProcess.Run(["bash", "-euo", "pipefail", "-c", script]);
        Assert.Equal(0, fitted.ExitCode);
        Assert.Single(fitted.Error.Split("is now a copy of TorchSharp's")[1..]);    // the second time there is nothing to do

        link.Refresh();
        Assert.Null(link.LinkTarget);
        Assert.Equal(before, File.ReadAllBytes(original));
        var ended = ChildProcess.Run(["dotnet", Path.Combine(program, "Actipress.Cli.dll"), "status"], null, ("LD_LIBRARY_PATH", folder));
        Assert.Equal(0, ended.ExitCode);
        Assert.Contains("hooks     work", ended.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void On_a_system_that_is_new_enough_nothing_is_touched()
    {
        var program = Directory.CreateDirectory(Path.Combine(folder, "artifacts", "bin", "Actipress.Cli", "release")).FullName;
        var file = Path.Combine(program, "libLibTorchSharp.so");
        File.WriteAllText(file, "as it was");
        var script = $". build/prerequisites.sh; root={folder}; need_libstdcxx && fit_to_libstdcxx";
        var ended = ChildProcess.Run(["bash", "-euo", "pipefail", "-c", script]);
        Assert.Equal((0, "", "as it was"), (ended.ExitCode, ended.Error, File.ReadAllText(file)));
    }
}
