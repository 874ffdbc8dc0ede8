using System.Text.RegularExpressions;

namespace Actipress.Tests;

/// <summary>Links between the repository's documents, and the table of contents of their site (<c>./dev site</c>).</summary>
public class DocumentsTests
{
    static readonly string docs = Path.Combine(TestData.Repository, "docs");

    static IEnumerable<string> Files =>
    [
        .. Directory.EnumerateFiles(TestData.Repository, "*.md"),
        .. Directory.EnumerateFiles(docs, "*.md"),
        .. Directory.EnumerateFiles(Path.Combine(TestData.Repository, "samples"), "*.md"),
        .. Directory.EnumerateDirectories(Path.Combine(TestData.Repository, "experiments"))
            .SelectMany(folder => Directory.EnumerateFiles(folder, "*.md")),
    ];

    public static TheoryData<string> Documents => [.. Files.Select(file => Path.GetRelativePath(TestData.Repository, file))];

    [Theory, MemberData(nameof(Documents))]
    public void A_link_leads_to_a_file_and_a_heading(string document)
    {
        var file = Path.Combine(TestData.Repository, document);
        Assert.Empty(Broken(file, File.ReadAllText(file)));
    }

    [Theory]
    [InlineData("[a](nowhere.md)", "nowhere.md")]
    [InlineData("[a](memory.md#nowhere)", "memory.md#nowhere")]
    [InlineData("[a](#nowhere)", "#nowhere")]
    [InlineData("[a\nb](../nowhere) ![](none.png)", "../nowhere", "none.png")]
    [InlineData("[a](memory.md#a-budget) [`b`](../README.md) [c](../samples) [d](https://nowhere.example) `[e](f)`")]
    [InlineData("```\n[a](nowhere.md)\n```\n")]
    public void A_broken_link_is_found(string text, params string[] broken) =>
        Assert.Equal(broken, Broken(Path.Combine(docs, "memory.md"), text));

    static IEnumerable<string> Broken(string file, string text) =>
        Regex.Matches(Without(text, "^```.*?^```|`[^`]*`"), @"\]\(([^)\s]+)\)").Select(match => match.Groups[1].Value)
            .Where(link => !Regex.IsMatch(link, "^https?:") && !Exists(file, link));

    static bool Exists(string file, string link)
    {
        var (path, anchor) = link.Split('#') switch { [var whole] => (whole, null), var parts => (parts[0], parts[1]) };
        var to = path.Length == 0 ? file : Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, path));
        return anchor is null ? Path.Exists(to) : File.Exists(to) && Headings(File.ReadAllText(to)).Contains(anchor);
    }

    // As GitHub and docfx name headings.
    static IEnumerable<string> Headings(string text) =>
        Regex.Matches(Without(text, "^```.*?^```"), "^#+ (.*)$", RegexOptions.Multiline)
            .Select(heading => Regex.Replace(heading.Groups[1].Value.Trim().ToLowerInvariant(), @"[^\w\- ]", "").Replace(' ', '-'));

    static string Without(string text, string code) => Regex.Replace(text, code, "", RegexOptions.Singleline | RegexOptions.Multiline);

    [Fact]
    public void Every_page_is_in_the_table_of_contents_once()
    {
        var listed = Regex.Matches(File.ReadAllText(Path.Combine(docs, "toc.yml")), @"^ *href: (\S+)$", RegexOptions.Multiline)
            .Select(match => match.Groups[1].Value).ToArray();
        Assert.Equal(
            Directory.EnumerateFiles(docs, "*.md").Select(Path.GetFileName).Order(StringComparer.Ordinal),
            listed.Where(page => !page.StartsWith("../", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        // The reference is made with the site.
        Assert.All(
            listed.Where(page => page.StartsWith("../", StringComparison.Ordinal) && !page.StartsWith("../api/", StringComparison.Ordinal)),
            page => Assert.True(File.Exists(Path.Combine(docs, page)), page));
    }
}
