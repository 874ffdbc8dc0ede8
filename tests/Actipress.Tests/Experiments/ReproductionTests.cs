using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class ReproductionTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    static readonly Reproduction.Context nowhere = new(DataFolder: null, Experiments: "nowhere");

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

        public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
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
        var page = Reproduction.Page([new Letters()], nowhere, StoredPiece.Read(results)).ToString();
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
        Assert.Contains("<svg", Reproduction.Page([figure], nowhere, StoredPiece.Read(results)).ToString());
    }

    [Fact]
    public void Figure_5_is_made_of_a_picture_that_the_program_draws()
    {
        var results = new ResultsFile(folder);
        var figure = Reproduction.All.Single(one => one.Name == "fig5");
        figure.Run(nowhere, results, new Silent(), TestContext.Current.CancellationToken);
        var done = StoredPiece.Read(results);
        var dct = done.Values.Select(piece => piece.As<ImageReproduction.Rebuilt>()).Where(one => one.Family == "DCT").ToArray();
        Assert.Equal(7, dct.Length);
        Assert.All(dct.Zip(dct.Skip(1)), pair => Assert.True(pair.First.PaperPsnrDb >= pair.Second.PaperPsnrDb, $"{pair}"));
        var page = Reproduction.Page([figure], nowhere, done);
        Assert.Contains("data:image/png;base64,", page.ToString());
        page.SaveFigures(folder);
        Assert.True(File.Exists(Path.Combine(folder, "fig5-psnr.png")) && File.Exists(Path.Combine(folder, "fig5-psnr.svg")));
    }

    [Fact]
    public void Figures_6_to_8_are_drawn_from_a_sweep()
    {
        var study = Directory.CreateDirectory(Path.Combine(folder, "study")).FullName;
        File.WriteAllText(Path.Combine(study, "config.json"),
            """{"model":"lenet","data":"digits","epochs":1,"train_examples":128,"test_examples":50,"seeds":[1],"layers":["conv2"],"codecs":["none","st:{ratio}"],"ratios":[2.5,10,100]}""");
        var context = nowhere with { Experiments = folder };
        var results = new ResultsFile(Path.Combine(folder, "reproduce"));
        foreach (var figure in SweepReproduction.Figures) figure.Run(context, results, new Silent(), TestContext.Current.CancellationToken);
        var page = Reproduction.Page(SweepReproduction.Figures, context, StoredPiece.Read(results)).ToString();
        Assert.Contains("study: 4 of 4 trainings", page);
        Assert.Equal(3, page.Split("<svg").Length - 1);
    }

    // As a user sees it: the page is opened in a browser, which finds every figure and no error.
    [Fact]
    public void The_report_opens_in_a_browser()
    {
        var browser = new[] { "chromium", "chromium-browser", "google-chrome" }.Select(Where).FirstOrDefault(found => found is not null);
        if (browser is null) Assert.Skip("No chromium or google-chrome on this machine.");
        var results = new ResultsFile(folder);
        StoredPiece.Add(results, "footprint of dct:10 on 128x1x16x16", FootprintReproduction.Measure(ActivationCodec.Dct(10), [128, 1, 16, 16]));
        var path = Path.Combine(folder, "report.html");
        File.WriteAllText(path, Reproduction.Page(Reproduction.All, nowhere, StoredPiece.Read(results)).ToString());
        var shown = ChildProcess.Run([browser, "--headless", "--no-sandbox", "--disable-gpu", $"--user-data-dir={Path.Combine(folder, "profile")}", "--dump-dom", "file://" + path]).Output;
        Assert.Contains("<h1>Actipress", shown);
        Assert.Contains("<figure><svg", shown);
        Assert.Contains("Table 2", shown);

        static string? Where(string program) => Environment.GetEnvironmentVariable("PATH")!.Split(':').Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);
    }
}
