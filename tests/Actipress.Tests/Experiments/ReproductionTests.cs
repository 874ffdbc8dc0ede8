using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class ReproductionTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    static readonly Reproduction.Context nowhere = new(DataFolder: null);

    public void Dispose() => Directory.Delete(folder, recursive: true);

    // Pieces a, b and c; the second one can be made to cancel.
    sealed class Letters(CancellationTokenSource? cancelled = null) : Reproduction
    {
        public List<string> Ran { get; } = [];
        public override string Name => "letters";
        public override string Meaning => "";

        public override IEnumerable<Piece> Pieces(Context context) => new[] { "a", "b", "c" }.Select(letter => new Piece(letter, (_, cancellation) =>
        {
            if (letter == "b") cancelled?.Cancel();
            cancellation.ThrowIfCancellationRequested();
            Ran.Add(letter);
            return new { letter };
        }));

        public override void Show(HtmlPage page, IReadOnlyDictionary<string, StoredPiece> done)
        {
            page.Section("Letters < words");
            page.Table(["a", "b"], done.Values.Select(piece => (string[])[piece.Result.GetProperty("letter").GetString()!, $"{HtmlPage.Doubtful}x\ny"]));
        }
    }

    internal sealed class Silent : IProgress<string>
    {
        public void Report(string value) { }
    }

    [Fact]
    public void An_interrupted_reproduction_goes_on_and_repeats_nothing()
    {
        var results = new ResultsFile(folder);
        using var cancelled = new CancellationTokenSource();
        var first = new Letters(cancelled);
        Assert.Throws<OperationCanceledException>(() => first.Run(nowhere, results, new Silent(), cancelled.Token));
        Assert.Equal(["a"], first.Ran);

        File.AppendAllText(results.Path, "{\"kind\":\"piece\",\"key\":\"b\",\"res");
        var second = new Letters();
        second.Run(nowhere, new ResultsFile(folder), new Silent(), TestContext.Current.CancellationToken);
        Assert.Equal(["b", "c"], second.Ran);
        Assert.Equal(["a", "b", "c"], StoredPiece.Read(results).Keys);
    }

    [Fact]
    public void A_page_is_whole_and_escaped()
    {
        var results = new ResultsFile(folder);
        new Letters().Run(nowhere, results, new Silent(), TestContext.Current.CancellationToken);
        var page = Reproduction.Page([new Letters()], results).ToString();
        Assert.Contains("<h2 id=\"s1\">Letters &lt; words</h2>", page);
        Assert.Contains("<td>a</td><td class=\"doubtful\">x<br>y</td>", page);
        Assert.DoesNotContain("src=\"http", page);
    }

    [Fact]
    public void Figure_4_is_measured_and_drawn()
    {
        var results = new ResultsFile(folder);
        var figure = Reproduction.All.Single(one => one.Name == "fig4");
        StoredPiece.Add(results, "footprint of dct:10 on 128x1x16x16", FootprintReproduction.Measure(ActivationCodec.Dct(10), [128, 1, 16, 16]));
        var stored = StoredPiece.Read(results).Values.Single().As<FootprintReproduction.Footprint>();
        Assert.Equal((131072, 131072, 12 * 3276, 131072), (stored.Map, stored.Coefficients, stored.Paper, stored.Rebuilt));
        Assert.InRange(stored.Ours, 1, stored.Paper / 4);
        Assert.Contains("<svg", Reproduction.Page([figure], results).ToString());
    }
}
