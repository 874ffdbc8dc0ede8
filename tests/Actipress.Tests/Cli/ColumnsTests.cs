namespace Actipress.Tests.Cli;

/// <summary>The lines that <c>./dev format --check</c> finds too wide, in a repository of its own.</summary>
public sealed class ColumnsTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    // Makes a line of this number of columns.
    static string Words(int columns, string word = "word ") => string.Concat(Enumerable.Repeat(word, columns))[..(columns - 1)] + ".";

    [Theory]
    [InlineData("code.cs"), InlineData("script.sh"), InlineData("maker.py"), InlineData("page.md"), InlineData("dev")]
    [InlineData("actipress")]
    public void A_wide_line_of_a_source_or_document_is_named_with_its_width(string name)
    {
        Write(name, "short", Words(147), "short");
        Assert.Equal(
            (1, $"dev format: {name}:2: found 147 columns, wanted at most 140.\n"
                + "dev format: break these lines by hand; lines wider than 140 columns: 1.\n"), Check());
    }

    [Fact]
    public void Columns_are_characters_and_not_bytes()
    {
        Write("code.cs", Words(140, "Größe "));
        Assert.Equal((0, ""), Check());
        Write("code.cs", Words(141, "Größe "));
        Assert.Contains("code.cs:1: found 141 columns", Check().Error, StringComparison.Ordinal);
    }

    public static TheoryData<string, string> WiderByNature => new()
    {
        { "page.md", $"| {Words(200)} |" },
        { "page.md", $"<!-- {Words(200)} -->" },
        { "page.md", $"See [the paper](https://example.org/{new string('x', 100)}), {Words(60)}" },
        { "code.cs", $"    \"{new string('x', 150)}\";" },
        { "list.txt", Words(200) },
        { "kernel.ptx", Words(200) },
    };

    [Theory, MemberData(nameof(WiderByNature))]
    public void What_no_break_would_narrow_may_be_wider(string name, string line)
    {
        Write(name, line);
        Assert.Equal((0, ""), Check());
    }

    [Fact]
    public void A_table_s_row_is_one_in_Markdown_alone()
    {
        Write("code.cs", $"    | {Words(150)}");
        Assert.Equal(1, Check().ExitCode);
    }

    [Fact]
    public void What_git_does_not_track_is_not_looked_at()
    {
        Write("code.cs", "short");
        File.WriteAllText(Path.Combine(folder, "mine.cs"), Words(200));
        Assert.Equal((0, ""), Check());
    }

    void Write(string name, params string[] lines)
    {
        File.WriteAllText(Path.Combine(folder, name), string.Join('\n', lines) + "\n");
        foreach (var command in (string[][])[["init", "--quiet"], ["add", name]])
            Assert.Equal(0, ChildProcess.Run(["git", "-C", folder, .. command]).ExitCode);
    }

    (int ExitCode, string Error) Check()
    {
        var ended = ChildProcess.Run(["bash", "-c", $"set -euo pipefail; root={folder}; . build/format.sh; check_columns"]);
        return (ended.ExitCode, ended.Error);
    }
}
