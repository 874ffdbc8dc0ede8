using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Accounting;

/// <summary>The ledger's counts of a step, and the notes that follow from them.</summary>
public sealed class LedgerTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    readonly Ledger ledger = new();

    public void Dispose() => scope.Dispose();

    Ledger.Account Account(string layer) => ledger.Of(layer, "Identity");

    static Entry Of(long bytes, string how = "raw") => new(bytes, how);

    [Fact]
    public void Kept_bytes_and_ways_are_those_of_what_is_held_last_and_the_peak_is_that_of_the_step()
    {
        var (a, b) = (Account("a"), Account("b"));
        ledger.Hold(a, Of(100, "signs"));
        ledger.Hold(b, Of(40));
        var raw = Of(300);
        ledger.Hold(a, raw);
        ledger.Replace(a, raw);
        ledger.Hold(a, Of(30, "packed"));
        Assert.Equal((130, 40), (a.KeptBytes, b.KeptBytes));
        Assert.Equal([("packed", 30L), ("raw", 0L), ("signs", 100L)], a.Ways.Select(way => (way.Key, way.Value)).Order());
        Assert.Equal((170, 440), (ledger.LiveBytes, ledger.PeakBytes));
        Assert.Same(a, Account("a"));
        Assert.Equal([a, b], ledger.Accounts);
    }

    [Fact]
    public void A_step_ends_when_everything_was_released_and_not_before()
    {
        var a = Account("a");
        ledger.Hold(a, Of(100));
        ledger.Hold(a, Of(20));
        ledger.Release(100);
        Assert.Same(a, Account("a"));
        ledger.Release(20);
        Assert.Equal((0, 120), (ledger.LiveBytes, ledger.PeakBytes));
        Assert.Equal([a], ledger.Accounts);    // the accounts of the last step stay until another step begins
        var next = Account("b");
        Assert.Equal([next], ledger.Accounts);
        Assert.Equal(0, ledger.PeakBytes);
        Assert.Same(next, Account("b"));
        ledger.Hold(next, Of(7));
        Assert.Equal(7, ledger.PeakBytes);
    }

    [Fact]
    public void A_step_that_has_held_nothing_yet_goes_on()
    {
        var a = Account("a");
        Assert.Equal([a, Account("b")], ledger.Accounts);
    }

    [Fact]
    public void A_layers_relative_error_is_the_root_mean_square_by_bytes_of_the_maps_that_it_holds()
    {
        var account = Account("a");
        Assert.Null(account.RelativeError);
        Entry[] maps = [new(900, "dct:2", 0.1), new(200, "dct:10", 0.5), new(20, "dct:100", 0.9)];
        foreach (var map in maps) ledger.Hold(account, map);
        ledger.Hold(account, Of(5000));    // the error of this map is not known
        Assert.Equal(Expected(maps), account.RelativeError!.Value, 1e-12);
        Assert.Equal(maps.Sum(map => map.Bytes), account.JudgedBytes);
        ledger.Replace(account, maps[2]);
        Assert.Equal(Expected(maps[..2]), account.RelativeError!.Value, 1e-12);
        ledger.Replace(account, maps[0]);
        ledger.Replace(account, maps[1]);
        Assert.Null(account.RelativeError);

        static double Expected(Entry[] maps) =>
            Math.Sqrt(maps.Sum(map => map.Bytes * Math.Pow(map.RelativeError!.Value, 2)) / maps.Sum(map => map.Bytes));
    }

    [Fact]
    public void What_takes_more_than_a_hundredth_of_the_maps_is_told_and_what_takes_less_is_not()
    {
        Account("a").SavedBytes = 60_000;
        Account("b").SavedBytes = 40_000;
        var unknown = new Dictionary<string, long> { ["aten::few"] = 1000, ["aten::more"] = 1001, [""] = 2000 };
        var notes = StepNotes.Of(ledger, unknown, ActivationCodec.Dct(10)).ToList();
        Assert.Equal(["aten::more", ""], notes.Select(note => note.About));
        Assert.Contains("1001 B", notes[0].Text, StringComparison.Ordinal);
        Assert.Contains("no operation of libtorch", notes[1].Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, "0 B")]
    [InlineData((10L << 10) - 1, "10239 B")]
    [InlineData(10L << 10, "10.0 KiB")]
    [InlineData((10L << 20) - 1, "10240.0 KiB")]
    [InlineData((10L << 20) + (1 << 19), "10.5 MiB")]
    [InlineData((10L << 30) - 1, "10240.0 MiB")]
    [InlineData((10L << 30) + (1L << 29), "10.5 GiB")]
    public void Bytes_are_shown_in_the_largest_unit_of_which_there_are_ten(long bytes, string text) =>
        Assert.Equal(text, CompressionReport.Bytes(bytes));

    [Fact]
    public void An_input_that_is_alive_is_the_callers_and_is_not_told()
    {
        var account = Account("a");
        var (input, made) = (ones([100], requires_grad: true), ones([50], requires_grad: true).sin());
        foreach (var tensor in (Tensor[])[input, made])
        {
            var identity = (new Layer("a", null), Operation.Called("aten::tanh"), 1);
            using var map = new SavedMap(tensor, Geometry.Of(tensor), account) { Pass = new(), Identity = identity };
            AliveElsewhere.Enter(map);
        }
        Assert.Equal(50 * sizeof(float), account.AliveElsewhereBytes);
        Assert.Equal(["aten::tanh"], account.AliveElsewhereBy);
    }

    [Fact]
    public void Of_the_layers_whose_maps_are_alive_the_three_largest_are_named()
    {
        (string, long)[] layers = [("first", 1), ("second", 500), ("third", 0), ("fourth", 300), ("fifth", 400), ("sixth", 2)];
        foreach (var (name, bytes) in layers) Account(name).AliveElsewhereBytes = bytes;
        Account("second").AliveElsewhereBy.Add("aten::cat");
        Assert.StartsWith("1203 B of the maps", Text(), StringComparison.Ordinal);
        Assert.Contains(
            ": second (Identity) by aten::cat, fifth (Identity), fourth (Identity) and 2 layers more.", Text(), StringComparison.Ordinal);
        Account("first").AliveElsewhereBytes = Account("sixth").AliveElsewhereBytes = 0;
        Assert.Contains("fourth (Identity). ", Text(), StringComparison.Ordinal);

        string Text()
        {
            var note = Assert.Single(StepNotes.Of(ledger, new Dictionary<string, long>(), ActivationCodec.Dct(10)));
            Assert.Equal("alive", note.About);
            return note.Text;
        }
    }

    // A transform gathers nothing of white noise.
    [Theory, InlineData(100, true, "dct:"), InlineData(10, true, "dct:2"), InlineData(2, false, "")]
    public void Errors_beyond_half_of_the_maps_size_are_doubted_and_a_ratio_named_that_mends_them(double ratio, bool isDoubted, string mend)
    {
        var codec = ActivationCodec.Dct(ratio);
        var held = new Holding(Pipeline.Pack(randn(4, 8, 64, 64), codec, out _)!, "packed");
        ledger.Hold(Account("fine"), new Holding(Pipeline.Pack(ones(1, 1, 16, 16), codec, out _)!, "packed").Entry);
        ledger.Hold(Account("coarse"), held.Entry);
        Assert.InRange(held.RelativeError!.Value, 0.95 * Sensitivity.OfWhiteNoise(ratio), 1.05 * Sensitivity.OfWhiteNoise(ratio));
        var notes = StepNotes.Of(ledger, new Dictionary<string, long>(), codec).ToList();
        Assert.Equal(isDoubted, notes.Count == 1);
        if (!isDoubted) return;
        Assert.Equal("fidelity", notes[0].About);
        Assert.Contains("most in coarse (Identity)", notes[0].Text, StringComparison.Ordinal);
        Assert.Contains(mend, notes[0].Text, StringComparison.Ordinal);
        Assert.DoesNotContain($"dct:{ratio} would", notes[0].Text, StringComparison.Ordinal);
        Assert.Empty(StepNotes.Of(ledger, new Dictionary<string, long>(), ActivationCodec.Quantized(8)));
    }
}
