namespace Actipress.Tests.Cli;

/// <summary>The programs that ./actipress and ./dev check and install before they build.</summary>
public sealed class PrerequisitesTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("proc() { echo /none; }; need_proc", "/proc is not there")]
    [InlineData("libstdcxx() { echo /none; }; need_libstdcxx", "libstdc++ is too old")]
    [InlineData("dotnet() { echo '8.0.100 [/usr/share/dotnet/sdk]'; }; need_dotnet", "the .NET 10 SDK is missing")]
    [InlineData("dotnet() { :; }; CI=true; command() { return 1; }; need_dotnet", "found neither curl nor wget")]
    public void What_is_missing_beneath_is_said_plainly(string script, string says)
    {
        var ended = ChildProcess.Run(["bash", "-c", $"root=/none; . build/prerequisites.sh; {script}"], null, ("CI", null));
        Assert.Equal(2, ended.ExitCode);
        Assert.Contains(says, ended.Error, StringComparison.Ordinal);
        foreach (var part in (string[])["found:", "wanted:", "way out:"]) Assert.Contains(part, ended.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("hides_caches() { :; }", null, "SSE41")]
    [InlineData("hides_caches() { :; }", "AVX2", "AVX2")]    // the user's choice
    [InlineData("hides_caches() { return 1; }", null, "")]
    public void Convolutions_are_right_on_a_processor_that_hides_its_caches(string processor, string? before, string after)
    {
        var script = $". build/prerequisites.sh; {processor}; need_right_convolutions; echo ${{ONEDNN_MAX_CPU_ISA:-}}";
        var ended = ChildProcess.Run(["bash", "-euo", "pipefail", "-c", script], null, ("ONEDNN_MAX_CPU_ISA", before));
        Assert.Equal((0, $"{after}\n"), (ended.ExitCode, ended.Output));
        Assert.Equal(before is null && after.Length > 0, ended.Error.Contains("does not report its caches", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("CI=true", "", true)]
    [InlineData("CI=; at_terminal() { :; }", "y", true)]
    [InlineData("CI=; at_terminal() { :; }", "n", false)]
    [InlineData("CI=", "y", false)]    // not at a terminal
    public void A_missing_SDK_is_put_into_the_project_s_folder_where_that_is_agreed(string situation, string answer, bool installs)
    {
        const string Install = """
            install='while [ "$1" != --install-dir ]; do shift; done; mkdir -p "$2"
                echo "echo 10.0.100" >"$2/dotnet"; chmod +x "$2/dotnet"'
            curl() { echo "$install" >"$4"; }
            has_sdk() { [ "$(command -v dotnet)" = "$root/artifacts/dotnet/dotnet" ]; }
            """;
        var script = $"root={folder}; . build/prerequisites.sh; {Install}\n{situation}; need_dotnet <<<'{answer}' && echo $DOTNET_ROOT";
        var ended = ChildProcess.Run(["bash", "-c", script]);
        Assert.Contains("Microsoft's install script can put it into " + folder, ended.Error, StringComparison.Ordinal);
        Assert.Equal(installs, File.Exists(Path.Combine(folder, "artifacts", "dotnet", "dotnet")));
        Assert.Equal(installs ? (0, $"{folder}/artifacts/dotnet\n") : (2, ""), (ended.ExitCode, ended.Output));
    }
}
