using System.Globalization;
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
        Assert.Contains($"The results of ./dev bench --store have {says} in ", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Fidelity_is_that_of_a_codecs_newest_result_adapted_to_layers()
    {
        var table = CodecTable.Fidelity(
        [
            Fidelity("a", "dct:10", adapted: true, 0.97), Fidelity("b-dirty", "dct:10", adapted: true, 0.98),
            Fidelity("c", "dct:10", adapted: false, 0.96), Fidelity("d", "dct:10,storage=paper", adapted: false, 0.58),
        ]);
        Assert.Equal(
            """
            | codec | bytes an element | cosine | norm ratio |
            |---|---|---|---|
            | `dct:10` | 0.149 | 0.9800 | 0.99 |
            | `dct:10,storage=paper` | 0.149 | 0.5800 | 0.99 |

            EPYC with 2 cores, TorchSharp 0.107.0, commits b-dirty, d.

            """, table.Text);
        Assert.Equal(["b-dirty"], table.DirtyCommits);
        var message = Assert.Throws<InvalidDataException>(() =>
            CodecTable.Fidelity([Line("fidelity", "a", """{"codec":"dct:10","adapted":1}""")])).Message;
        Assert.Contains("have no true or false 'adapted' in ", message, StringComparison.Ordinal);
    }

    static string Fidelity(string commit, string codec, bool adapted, double cosine) =>
        Line("fidelity", commit, string.Create(CultureInfo.InvariantCulture, $$"""
            {"codec":"{{codec}}","adapted":{{(adapted ? "true" : "false")}},"bytes_per_element":0.1485,"cosine":{{cosine}},
             "norm_ratio":0.99}
            """));

    static string Codec(string commit) =>
        Line("codecs", commit, """
            {"codec":"dct:10","map":"resnet20.relu","pack_ms":1,"unpack_ms":1,"clone_ms":4,"clones":0.5,
             "bytes_per_element":0.2,"psnr_db":30}
            """);

    static string Step(string commit) =>
        Line("steps", commit, """{"network":"lenet","codec":"dct:10","ratio":1.1,"saved_bytes":1048576,"kept_bytes":65536}""");

    static string Line(string kind, string commit, string result) =>
        $$$"""{"kind":"{{{kind}}}","result":{{{result}}},"provenance":{"machine":"EPYC","cores":2,"torch_sharp":"0.107.0","commit":"{{{commit}}}"}}""";
}
