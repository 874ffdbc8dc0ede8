using System.Text.Json;
using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class FitTableTests
{
    static JsonElement Line(string network, long plain, long compressed, string commit, long? took = null)
    {
        var fit = new MemoryFit(
            network, "dct:10", 11L << 30, [128, 3, 32, 32], new(1, [plain, 3, 32, 32], took), new(1, [compressed, 3, 32, 32], took));
        var line = Json.Line(new { Kind = "fits", Result = fit, Provenance = Provenance.Here() with { Commit = commit } });
        return JsonDocument.Parse(line).RootElement;
    }

    [Fact]
    public void The_newest_result_of_each_network_is_a_line_with_its_commit()
    {
        var table = FitTable.Write([Line("A", 1, 2, "a"), Line("B", 40, 100, "b-dirty"), Line("A", 30, 120, "c", 3L << 29)]);
        Assert.Equal(["c", "b-dirty"], table.Commits);
        Assert.Equal(["b-dirty"], table.DirtyCommits);
        Assert.Contains(
            "| A | `dct:10` | 30 of 3 x 32 x 32 | 120 of 3 x 32 x 32 | 4.0 | 1.5 GiB | 1.5 GiB |", table.Text, StringComparison.Ordinal);
        Assert.Contains("| B | `dct:10` | 40 of 3 x 32 x 32 | 100 of 3 x 32 x 32 | 2.5 |  |  |", table.Text, StringComparison.Ordinal);
        Assert.EndsWith("small steps on a CPU, and one step of each size run; commits c, b-dirty.\n", table.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Other_kinds_are_passed_over_and_a_broken_line_is_refused()
    {
        Assert.Equal("", FitTable.Write([JsonDocument.Parse("""{"kind": "steps"}""").RootElement]).Text);
        var broken = JsonDocument.Parse("""{"kind": "fits", "result": {"network": "A"}}""").RootElement;
        Assert.Contains("no result", Assert.Throws<InvalidDataException>(() => FitTable.Write([broken])).Message, StringComparison.Ordinal);
    }
}
