using Actipress.Cli;
using Spectre.Console;

namespace Actipress.Tests.Cli;

public sealed class KeptTableTests
{
    [Fact]
    public void A_row_has_the_sums_of_its_layers_and_the_largest_comes_first()
    {
        static LayerReport Line(string name, long savedMiB, long keptMiB, string how) =>
            new(name, "Conv2d", 1, 0, savedMiB << 20, keptMiB << 20, how, 0, 0);
        var report = new CompressionReport
        {
            LiveBytes = 0,
            Notes = [],
            Layers =
            [
                Line("a", 8, 4, "small"), Line("b", 20, 2, "dct:10"), Line("c", 10, 3, "dct:10"), Line("d", 0, 0, "dct:10"),
                Line("e", 7, 1, "derived from c"),
            ],
        };
        var written = new StringWriter();
        AnsiConsole.Create(new() { Out = new AnsiConsoleOutput(written), Ansi = AnsiSupport.No }).Write(KeptTable.Of(report));
        var rows = written.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1).Select(row => row.Trim()).ToArray();
        Assert.Matches("^dct:10 +30.00 MiB +5.00 MiB", rows[0]);
        Assert.Matches("^small +8.00 MiB +4.00 MiB", rows.Single(row => row.StartsWith("small", StringComparison.Ordinal)));
        Assert.Matches("^derived +7.00 MiB +1.00 MiB", rows.Single(row => row.StartsWith("derived", StringComparison.Ordinal)));
    }
}
