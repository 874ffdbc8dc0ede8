using System.Text.RegularExpressions;
using Actipress.Benchmarks;
using Actipress.Data;
using Actipress.Experiments;

namespace Actipress.Tests.Cli;

/// <summary>
/// The commands <c>report</c>, <c>readme</c> and <c>maps</c>, started as a user starts them, on a copy of the repository's results.
/// </summary>
public sealed class ReportCommandTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public ReportCommandTests()
    {
        foreach (var experiment in Directory.GetDirectories(Path.Combine(TestData.Repository, "experiments")))
        {
            var to = Directory.CreateDirectory(In($"experiments/{Path.GetFileName(experiment)}")).FullName;
            foreach (var file in Directory.GetFiles(experiment).Where(file => !file.EndsWith(".lock", StringComparison.Ordinal)))
                File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        }
        Directory.CreateDirectory(In("docs"));
        foreach (var document in ReadmeTables.Documents) File.Copy(Path.Combine(TestData.Repository, document), In(document));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    string In(string name) => Path.Combine(folder, name);

    static ChildProcess.Ended Run(params string[] arguments) => ChildProcess.Run([.. ChildProcess.Cli, .. arguments]);

    [Fact]
    public void Report_writes_every_table_and_figure_that_is_stored()
    {
        var ended = Run("report", "--experiments", In("experiments"), "--out", In("pages/report.html"), "--figures", In("figures"));
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Equal(In("pages/report.html") + "\n", ended.Output);
        var page = File.ReadAllText(In("pages/report.html"));
        Assert.Equal(
            ["Table 2", "Table 3", "Figure 4", "Figure 5", "Figure 6", "Figure 7", "Figure 8", "Figure 9", "Section 4", "Section 4.5"],
            Regex.Matches(page, "<h2 id=\"s[0-9]+\">([^:<]*):").Select(heading => heading.Groups[1].Value));
        Assert.Equal(["126 of 158 agree", "35 of 40 agree"], Regex.Matches(page, "[0-9]+ of [0-9]+ agree").Select(agree => agree.Value));
        Assert.Equal(3, page.Split("<h3>figure6a-mnist: 281 of 281 trainings</h3>").Length - 1);
        Assert.Equal(18, page.Split("batch 128: plain peak").Length + page.Split("batch 2: plain peak").Length
            + page.Split("batch 1: plain peak").Length - 3);
        Assert.DoesNotContain("src=\"http", page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
        Assert.True(page.Length < 3_000_000, $"{page.Length} letters");
        Assert.DoesNotContain("Not run yet", page, StringComparison.Ordinal);
        Assert.Contains("16 x 1 x 128 x 128 x 128: the paper&#39;s stages, and ours in place of", page, StringComparison.Ordinal);
        Assert.Contains("<td>134 of 3 x 224 x 224</td><td>941 of 3 x 224 x 224</td><td>7.0</td>", page, StringComparison.Ordinal);

        var figures = Regex.Count(page, "<svg");
        foreach (var kind in (string[])["svg", "png"]) Assert.Equal(figures, Directory.GetFiles(In("figures"), $"*.{kind}").Length);
        Assert.All(
            Directory.GetFiles(In("figures"), "*.png"), file => Assert.Equal([0x89, 0x50, 0x4E, 0x47], File.ReadAllBytes(file)[..4]));
    }

    [Fact]
    public void Report_without_experiments_says_what_is_wanted()
    {
        var ended = Run("report", "--experiments", In("nowhere"), "--out", In("report.html"));
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains($"No folder {In("nowhere")}", ended.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(In("report.html")));
    }

    [Fact]
    public void Readme_writes_its_tables_from_what_is_stored()
    {
        var readme = File.ReadAllText(In("README.md"));
        File.WriteAllText(In("README.md"), Regex.Replace(readme, @"(\| unet3d \| `dct:10` \|) [0-9.]+ ", "$1 9.99 "));
        Assert.NotEqual(readme, File.ReadAllText(In("README.md")));
        var ended = Run("readme", folder);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Equal(readme, File.ReadAllText(In("README.md")));    // the repository's tables are those of its results

        File.WriteAllText(In("README.md"), readme.Replace("<!-- end of results -->", "", StringComparison.Ordinal));
        var noPlace = Run("readme", folder);
        Assert.True(noPlace.ExitCode == 2, noPlace.All);
        Assert.Contains("README.md has no place for its results: wanted the lines", noPlace.Error, StringComparison.Ordinal);
        Assert.Equal(2, Run("readme", In("nowhere")).ExitCode);
    }

    [Fact]
    public void Maps_without_data_says_what_is_wanted()
    {
        var ended = Run("maps", In("maps"));
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains("No real data to train on: give --data-dir, or set ACTIPRESS_DATA", ended.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(In("maps")));
    }

    [LongFact]
    public void Maps_are_those_that_benchmarks_are_built_with()
    {
        var data = Path.GetDirectoryName(TestData.Real("mnist"))!;
        var ended = Run("maps", In("maps"), "--data-dir", data);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Equal(
            RealMaps.Names,
            Directory.GetFiles(In("maps")).Select(file => Path.GetFileNameWithoutExtension(file)).Order(StringComparer.Ordinal));
        foreach (var name in RealMaps.Names)
        {
            using var stored = RealMaps.Read(name);
            using var made = Npy.Read(In($"maps/{name}.npy"));
            Assert.Equal(stored.shape, made.shape);
            Assert.True(made.isfinite().all().item<bool>(), name);
        }
    }
}
