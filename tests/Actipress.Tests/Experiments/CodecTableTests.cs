using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class CodecTableTests
{
    [Fact]
    public void Tables_of_one_commit_share_its_line() =>
        Assert.Contains("Medians; EPYC with 2 cores, commit a.", CodecTable.Write([Codec("a"), Step("a")]).Text, StringComparison.Ordinal);

    [Fact]
    public void Tables_of_several_commits_say_which_is_from_where() =>
        Assert.Contains(
            "Medians; codecs: EPYC with 2 cores, commit b; steps: EPYC with 2 cores, commit a.",
            CodecTable.Write([Codec("a"), Step("a"), Codec("b")]).Text, StringComparison.Ordinal);

    [Fact]
    public void Commits_are_those_of_the_newest_figures() =>
        Assert.Equal(
            ["b-dirty", "c"], CodecTable.Write([Codec("a-dirty"), Codec("b-dirty"), Step("c")]).Commits.Order(StringComparer.Ordinal));

    [Theory]
    [InlineData("""{"result":{}}""", "no text 'kind'")]
    [InlineData("""[]""", "no text 'kind'")]
    [InlineData("""{"kind":"steps","result":"a"}""", "no object 'result'")]
    [InlineData(
        """{"kind":"steps","result":{"network":"lenet","codec":"dct:10","ratio":"1"},"provenance":{"commit":"a"}}""", "no number 'ratio'")]
    [InlineData("""{"kind":"scaling","result":{"threads":1e99,"elements":1}}""", "no whole number 'threads'")]
    public void A_line_that_lacks_something_is_named(string line, string says)
    {
        var message = Assert.Throws<InvalidDataException>(() => CodecTable.Write([Codec("a"), line])).Message;
        Assert.Contains($"The results of codec-bench have {says} in ", message, StringComparison.Ordinal);
    }

    static string Codec(string commit) =>
        Line("codecs", commit, """
            {"codec":"dct:10","map":"resnet20.relu","pack_ms":1,"unpack_ms":1,"clone_ms":4,"clones":0.5,
             "bytes_per_element":0.2,"psnr_db":30}
            """);

    static string Step(string commit) =>
        Line("steps", commit, """{"network":"lenet","codec":"dct:10","ratio":1.1,"saved_bytes":1048576,"kept_bytes":65536}""");

    static string Line(string kind, string commit, string result) =>
        $$$"""{"kind":"{{{kind}}}","result":{{{result}}},"provenance":{"machine":"EPYC","cores":2,"commit":"{{{commit}}}"}}""";
}
