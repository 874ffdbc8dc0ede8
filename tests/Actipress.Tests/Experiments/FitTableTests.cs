using System.Text.Json;
using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class FitTableTests
{
    static JsonElement Line(string network, long plain, long compressed, string commit) => JsonDocument.Parse(Json.Line(new
    {
        Kind = "fits",
        Result = new MemoryFit(network, [3, 32, 32], "dct:10", 11L << 30, 128, 1, 1, plain, compressed),
        Provenance = Provenance.Here() with { Commit = commit },
    })).RootElement;

    [Fact]
    public void The_newest_result_of_each_network_is_a_line_with_its_commit()
    {
        var table = FitTable.Write([Line("A", 1, 2, "a"), Line("B", 40, 100, "b-dirty"), Line("A", 30, 120, "c")]);
        Assert.Equal(["c", "b-dirty"], table.Commits);
        Assert.Equal(["b-dirty"], table.DirtyCommits);
        Assert.Contains("| A | 3 x 32 x 32 | `dct:10` | 30 | 120 | 4.0 |", table.Text, StringComparison.Ordinal);
        Assert.Contains("| B | 3 x 32 x 32 | `dct:10` | 40 | 100 | 2.5 |", table.Text, StringComparison.Ordinal);
        Assert.Contains("In 11 GiB, predicted from small steps on a CPU; commits c, b-dirty.", table.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Other_kinds_are_passed_over_and_a_broken_line_is_refused()
    {
        Assert.Equal("", FitTable.Write([JsonDocument.Parse("""{"kind": "steps"}""").RootElement]).Text);
        var broken = JsonDocument.Parse("""{"kind": "fits", "result": {"network": "A"}}""").RootElement;
        Assert.Contains("no result", Assert.Throws<InvalidDataException>(() => FitTable.Write([broken])).Message, StringComparison.Ordinal);
    }
}
