using System.Text.RegularExpressions;
using Actipress.Experiments;
using Actipress.Models;

namespace Actipress.Tests.Experiments;

public sealed class ReproductionTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    static readonly Reproduction.Context nowhere = new(DataFolder: null, Experiments: "nowhere");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    // A reproduction with the pieces a, b and c, whose second piece can be cancelled.
    sealed class Letters(CancellationTokenSource? cancelled = null) : Reproduction
    {
        public List<string> Ran { get; } = [];
        public override string Name => "letters";
        public override string Meaning => "";

        public override IEnumerable<Piece> Pieces(Context context) =>
            new[] { "a", "b", "c" }.Select(letter => new Piece(letter, (_, cancellation) =>
            {
                if (letter == "b") cancelled?.Cancel();
                cancellation.ThrowIfCancellationRequested();
                Ran.Add(letter);
                return new { letter };
            }));

        public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
        {
            page.Section("Letters < words");
            page.Table(
                ["a", "b"],
                done.Values.Select(piece => (string[])[piece.Result.GetProperty("letter").GetString()!, $"{HtmlPage.Doubtful}x\ny"]));
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
        Assert.DoesNotContain("interrupted", page);
        Assert.Contains(
            "<p>The run was interrupted",
            Reproduction.Page([new Letters()], nowhere, StoredPiece.Read(results), interrupted: true).ToString());
        File.CreateSymbolicLink(Path.Combine(folder, "page.html.part"), "/dev/full");
        var file = Path.Combine(folder, "page.html");
        Assert.Throws<IOException>(() => Reproduction.Page([new Letters()], nowhere, StoredPiece.Read(results)).Save(file));
        Assert.False(File.Exists(file) || File.Exists(file + ".part"));
        Reproduction.Page([new Letters()], nowhere, StoredPiece.Read(results)).Save(file);
        Assert.Equal(page, File.ReadAllText(file));
    }

    [Fact]
    public void The_machine_of_most_pieces_comes_first()
    {
        var results = new ResultsFile(folder);
        new Letters().Run(nowhere, results, new Silent(), TestContext.Current.CancellationToken);
        var lines = File.ReadAllLines(results.Path);
        var machine = StoredPiece.Read(results).Values.First().Machine;
        var other = System.Text.Json.JsonDocument.Parse(lines[0]).RootElement.GetProperty("provenance").GetProperty("machine").GetString()!;
        File.WriteAllLines(results.Path, [lines[0].Replace(other, "an abacus", StringComparison.Ordinal), .. lines[1..]]);
        var page = Reproduction.Page([new Letters()], nowhere, StoredPiece.Read(results)).ToString();
        var (most, least) = (page.IndexOf($"{System.Net.WebUtility.HtmlEncode(machine)}: 2 pieces.", StringComparison.Ordinal),
            page.IndexOf("an abacus", StringComparison.Ordinal));
        Assert.InRange(most, 1, least);
    }

    // The texts of the page of everything that is stored, with # for each number and each commit. After a change that is meant, the file
    // that the message names becomes the golden one.
    [Fact]
    public void The_page_says_what_its_tables_and_figures_show()
    {
        var experiments = Path.Combine(TestData.Repository, "experiments");
        var page = Reproduction.Page([.. Reproduction.All], nowhere with { Experiments = experiments }, StoredPiece.ReadAll(experiments))
            .ToString();
        var before = page.IndexOf("Where this was measured</h2>", StringComparison.Ordinal);
        var texts = Regex.Matches(page[..before], "<(h2|h3|p|summary|figcaption)(?: [^>]*)?>(.*?)</\\1>", RegexOptions.Singleline)
            .Select(match => $"{match.Groups[1].Value}: {Plain(match.Groups[2].Value)}").ToArray();
        var golden = TestData.Golden("report_texts.txt");
        if (!texts.SequenceEqual(File.ReadAllLines(golden)))
        {
            var found = Path.Combine(Path.GetTempPath(), "report_texts.txt");
            File.WriteAllLines(found, texts);
            Assert.Fail($"The texts of the page are others than in {golden}: found those in {found}.");
        }

        static string Plain(string html) => Regex.Replace(Regex.Replace(
            System.Net.WebUtility.HtmlDecode(Regex.Replace(html, "<[^>]*>", " ")), @"\b[0-9a-f]{7}(-dirty)?\b", "#"), @"\d[\d.,]*", "#");
    }

    [Fact]
    public void Figure_4_is_measured_and_drawn()
    {
        var results = new ResultsFile(folder);
        var figure = Reproduction.All.Single(one => one.Name == "fig4");
        StoredPiece.Add(
            results, "footprint of dct:10 on 128x1x16x16", FootprintReproduction.Measure(ActivationCodec.Dct(10), [128, 1, 16, 16]));
        var stored = StoredPiece.Read(results).Values.Single().As<FootprintReproduction.Footprint>();
        Assert.Equal((131072, 131072, 12 * 3276, 131072), (stored.Map, stored.Coefficients, stored.Paper, stored.Rebuilt));
        Assert.InRange(stored.Ours, 1, stored.Paper / 4);
        var page = Reproduction.Page([figure], nowhere, StoredPiece.Read(results)).ToString();
        Assert.Contains("<svg", page);
        Assert.Contains(">0.125<", page);    // MiB of the map
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
    public void Every_piece_of_all_has_a_key_of_its_own()
    {
        var context = nowhere with { Experiments = Path.Combine(TestData.Repository, "experiments") };
        var keys = Reproduction.All.SelectMany(one => one.Pieces(context)).Select(piece => piece.Key).ToArray();
        Assert.Equal(keys.Distinct(), keys);
        Assert.Equal(Reproduction.All.Select(one => one.Name).Distinct(), Reproduction.All.Select(one => one.Name));
        // The keys of stored pieces still exist.
        var stored = StoredPiece.ReadAll(context.Experiments);
        foreach (var name in (string[])["table2", "table3", "fig9"])
            Assert.All(Reproduction.All.Single(one => one.Name == name).Pieces(context), piece => Assert.Contains(piece.Key, stored.Keys));
    }

    static MemoryResult Measured(string codec, bool step) => new(
        "ResNet18", 128, [3, 32, 32], codec, "all", 20 << 20, 30 << 20, 600 << 20, 60 << 20, -1, -94.7, null, step ? 700 << 20 : null,
        step ? 350 << 20 : null, 2000, 3000, [], [], Provenance.Here());

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_table_has_the_papers_figures_beside_ours(bool step)
    {
        var results = new ResultsFile(folder);
        var table = Reproduction.All.Single(one => one.Name == "table2");
        Assert.Contains("Not run yet", Reproduction.Page([table], nowhere, StoredPiece.Read(results)).ToString());
        PaperRow[] rows =
        [
            new(
                "ResNet18", 128, [3, 32, 32], "BN",
                [new("others", 100, 100), new("baseline", 600, 611.9), new("block0", 500, 510.1, Suspect: true)], "why it < is"),
            new("ResNet18", 128, [3, 32, 32], "Conv+BN", [new("block0", 300, 299), new("block0-1", 90.5, 90)], null),
            new("ResNet18", 256, [3, 32, 32], "Conv+BN", [new("block0", 10, 10), new("block0-1", 10, 10)], null),
        ];
        StoredPiece.Add(results, "table2 in the paper's storage", rows);
        StoredPiece.Add(results, "ResNet18 batch 128 of 3x32x32, forward", new[] { Measured("dct:100", false), Measured("dct:10", false) });
        if (step) StoredPiece.Add(results, "ResNet18 batch 128 of 3x32x32, step", new[] { Measured("dct:100", true) });
        var page = Reproduction.Page([table], nowhere, StoredPiece.Read(results)).ToString();
        Assert.Contains("6 of 7 agree", page);
        Assert.Contains("<td>600<br>612</td>", page);
        Assert.Contains("<td class=\"doubtful\">500<br>510</td>", page);
        Assert.Contains("why it &lt; is", page);
        // This is the row of the lowest bytes among all rows of this network and batch, at the ratio of the table.
        var ours = "<td>ResNet18, batch 128, 3 x 32 x 32</td><td>dct:100</td><td>30.0</td><td>600.0</td><td>60.0</td><td>-94.7 "
            + "%</td><td>90.5</td>";
        Assert.Contains(
            step
                ? ours + "<td>700.0</td><td>350.0</td><td>50.0 %</td><td>1.50 of plain</td>"
                : ours + "<td></td><td></td><td></td><td></td>",
            page);
        Assert.Equal(
            !step,
            page.Contains("<td>dct:10</td><td>30.0</td><td>600.0</td><td>60.0</td><td>-94.7 %</td><td></td>", StringComparison.Ordinal));
    }

    [Fact]
    public void Figures_agree_within_two_percent_to_either_side()
    {
        foreach (var (exact, agrees) in new[] { (100.0, true), (101.9, true), (98.1, true), (102.1, false), (97.9, false) })
            Assert.Equal(agrees, new PaperCell("block0", 100, exact).Agrees);
    }

    [Fact]
    public void Timelines_are_measured_and_drawn()
    {
        var plan =
            new MemoryPlan(Networks.Find("ResNet20"), 4, [3, 32, 32], [ActivationCodec.Dct(2.5), ActivationCodec.Dct(10)], "block0:bn");
        var panel = TimelineReproduction.Measure(plan, new Silent(), TestContext.Current.CancellationToken);
        Assert.Equal(["plain", "dct:2.5", "dct:10"], panel.Curves.Select(curve => curve.Name));
        Assert.Equal(["dct:2.5", "dct:10"], panel.Memory.Select(result => result.Codec));
        Assert.All(panel.Curves, curve => Assert.InRange(curve.Levels.Count, 50, 500));
        Assert.All(
            panel.Curves, curve => Assert.Contains(curve.Levels, level => level.Stage.StartsWith("backward", StringComparison.Ordinal)));

        var results = new ResultsFile(folder);
        StoredPiece.Add(results, "timelines of ResNet18, dct on block0:bn", panel);
        var page = Reproduction.Page([Reproduction.All.Single(one => one.Name == "fig9")], nowhere, StoredPiece.Read(results)).ToString();
        Assert.Equal(1, page.Split("<svg").Length - 1);
        Assert.Contains("ResNet18, batch 4: plain peak ", page);
        Assert.Matches(@"dct:2\.5 [0-9]+ MiB; dct:10 [0-9]+ MiB\.", page);
    }

    [Fact]
    public void Forward_and_backward_meet_in_the_middle_of_a_timeline()
    {
        Assert.Equal([0, 0.25, 0.5, 0.75, 1, 1.5], Enumerable.Range(0, 6).Select(index => TimelineFigure.At(index, 4, 6)));
        Assert.Equal([0, 0.5], Enumerable.Range(0, 2).Select(index => TimelineFigure.At(index, 2, 2)));    // only the forward pass
    }

    [Theory]
    [InlineData(1)]
    [InlineData(500)]
    [InlineData(501)]
    [InlineData(1203)]
    public void A_thinner_timeline_keeps_every_stretchs_peak(int count)
    {
        var chance = new Random(1);
        var levels = Enumerable.Range(0, count).Select(i => new MemoryLevel(chance.Next(1000), $"forward pass {i}")).ToArray();
        var thin = TimelineReproduction.Thin(levels);
        Assert.InRange(thin.Count, Math.Min(count, 250), 500);
        Assert.Equal(levels.Max(level => level.Bytes), thin.Max(level => level.Bytes));
        var places = thin.Select(level => Array.IndexOf(levels, level)).ToArray();
        Assert.Equal(places.Order(), places);
        var width = (count + 499) / 500;
        Assert.All(thin.Index(), one => Assert.Equal(levels.Skip(one.Index * width).Take(width).Max(level => level.Bytes), one.Item.Bytes));
    }

    [Fact]
    public void Figures_6_to_8_are_drawn_from_a_sweep()
    {
        var study = Directory.CreateDirectory(Path.Combine(folder, "study")).FullName;
        File.WriteAllText(Path.Combine(study, "config.json"), """
            {"model":"lenet","data":"digits","epochs":1,"train_examples":128,"test_examples":50,"seeds":[1],
             "layers":["conv2"],"codecs":["none","st:{ratio}"],"ratios":[2.5,10,100]}
            """);
        var context = nowhere with { Experiments = folder };
        var results = new ResultsFile(Path.Combine(folder, "reproduce"));
        foreach (var figure in SweepReproduction.Figures) figure.Run(context, results, new Silent(), TestContext.Current.CancellationToken);
        var page = Reproduction.Page(SweepReproduction.Figures, context, StoredPiece.Read(results)).ToString();
        Assert.Contains("study: 4 of 4 trainings", page);
        Assert.Equal(3, page.Split("<svg").Length - 1);
    }

    // The page is opened in a browser, as by a user. The browser finds every figure and no error.
    [Fact]
    public void The_report_opens_in_a_browser()
    {
        var browser = new[] { "chromium", "chromium-browser", "google-chrome" }.Select(Where).FirstOrDefault(found => found is not null);
        if (browser is null) Assert.Skip("No chromium or google-chrome on this machine.");
        var results = new ResultsFile(folder);
        StoredPiece.Add(
            results, "footprint of dct:10 on 128x1x16x16", FootprintReproduction.Measure(ActivationCodec.Dct(10), [128, 1, 16, 16]));
        var path = Path.Combine(folder, "report.html");
        File.WriteAllText(path, Reproduction.Page(Reproduction.All, nowhere, StoredPiece.Read(results)).ToString());
        var shown = ChildProcess.Run([
            browser, "--headless", "--no-sandbox", "--disable-gpu", $"--user-data-dir={Path.Combine(folder, "profile")}", "--dump-dom",
            "file://" + path,
        ]).Output;
        Assert.Contains("<h1>Actipress", shown);
        Assert.Contains("<figure class=\"drawn\" style=\"width:min(100%,760px)\"><svg viewBox=", shown);
        Assert.Contains("Table 2", shown);

        static string? Where(string program) => Environment.GetEnvironmentVariable("PATH")!.Split(':')
            .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);
    }
}
