using Actipress.Experiments;
using Actipress.Models;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Experiments;

public class PaperTablesTests
{
    // Each map has 1000 elements. Two layers save the ReLU's output, and one layer saves each other map.
    [Fact]
    public void A_storage_goes_where_all_its_saves_are_compressed_and_each_save_is_stored()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(
            ("bn", BatchNorm2d(1)), ("conv1", Conv2d(1, 1, 1, bias: false)), ("relu", ReLU()), ("conv2", Conv2d(1, 1, 1, bias: false)));
        var trace = ForwardTrace.Record(model, randn(10, 1, 10, 10));
        PaperStorage Covering(Func<Layer, bool> covered) => new(trace, targetBytes: 7, covered);

        Assert.Equal(trace.AfterForwardBytes + 7, Covering(_ => true).BaselineBytes);
        var relu = Covering(layer => layer.Is<ReLU>());
        Assert.Equal(relu.BaselineBytes, relu.OthersBytes);
        Assert.Equal(relu.BaselineBytes + 12 * 9, relu.AfterForwardBytes(110));
        var both = Covering(layer => layer.Is<ReLU>() || layer.Name == "conv2");
        Assert.Equal(both.BaselineBytes - 4000 + 2 * 12 * 10, both.AfterForwardBytes(100));
    }

    [Fact]
    public void Table_2_is_the_papers_where_it_follows_from_the_method()
    {
        var rows = PaperTables.Rows("table2").Take(3).ToArray();
        Assert.All(rows[0].Cells, cell => Assert.True(cell.Agrees, $"{cell}"));
        Assert.Equal(
            ["others", "baseline", "block0", "block0-1", "block0-2", "block0-3", "block0-4"], rows[0].Cells.Select(cell => cell.Column));
        Assert.All(rows.SelectMany(row => row.Cells), cell => Assert.True(cell.Agrees || cell.Suspect, $"{cell}"));
        Assert.All(rows.Where(row => row.Cells.Any(cell => !cell.Agrees)), row => Assert.NotNull(row.Note));
        Assert.Equal([586, 465, 406, 376, 361], rows[1].Cells.Select(cell => Math.Round(cell.Exact)));
        Assert.Equal([587, 342, 236, 183, 157], rows[2].Cells.Select(cell => Math.Round(cell.Exact)));
    }

    // Our network convolves the two maps one by one. The paper's figures are of a network that joins them.
    [Fact]
    public void A_U_Nets_level_saves_the_joined_map_as_the_papers_does()
    {
        var trace = PaperTrace.Record(() => new UNet2D(inputs: 1, outputs: 2, features: 4), batch: 2, [1, 32, 32]);
        (string, int, int)[] levels = [("up1", 8, 1024), ("up2", 16, 256), ("up3", 32, 64), ("up4", 64, 16)];
        foreach (var (level, channels, points) in levels)
        {
            var save = Assert.Single(trace.Maps, save => save.Layer.Name == $"{level}.conv1");
            Assert.IsType<Conv2d>(save.Layer.Module);
            Assert.Equal(2 * channels * points, save.Elements);
            Assert.Equal(4 * save.Elements, save.StorageBytes);
            Assert.Single(trace.Saves, other => other.Storage == save.Storage);
        }
        Assert.DoesNotContain(trace.Maps, save => save.Layer.Module is UNet);
    }

    // The test takes a minute and 4 GiB.
    [LongFact]
    public void Of_183_figures_150_agree()
    {
        var rows = PaperTables.Names.SelectMany(PaperTables.Rows).ToArray();
        var cells = rows.SelectMany(row => row.Cells).Where(cell => cell.Column is not ("dct:1.1" or "dct:1.4" or "dct:2.5")).ToArray();
        Assert.Equal(183, cells.Length);
        Assert.InRange(cells.Count(cell => cell.Agrees), 150, 183);
        Assert.All(rows.Where(row => row.Cells.Any(cell => !cell.Agrees)), row => Assert.NotNull(row.Note));
    }

    [Fact]
    public void An_unknown_table_lists_the_known_ones() =>
        Assert.Contains("table2, table3", Assert.Throws<ArgumentException>(() => PaperTables.Rows("table4")).Message);
}
