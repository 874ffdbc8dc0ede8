using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Actipress.Experiments;

namespace Actipress.Tests.Cli;

/// <summary>
/// The report of the repository's results in a browser without a window, at three widths and in both colour schemes. The screenshots are in
/// artifacts/pages.
/// </summary>
public sealed class ReportPageTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static readonly string experiments = Path.Combine(TestData.Repository, "experiments");

    // The page shows the report in a frame of the wanted width, since a browser's window has a least width. A script writes what it finds
    // in the frame.
    const string Frame = """
        <!doctype html><body style="margin:0"><iframe id=frame src="report.html" style="border:0;width:WIDTHpx;height:900px"></iframe>
        <pre id=found></pre><script>
        frame.onload = () => {
          const page = frame.contentDocument, within = frame.contentWindow;
          const heading = text => [...page.querySelectorAll('h3')].find(one => one.textContent.startsWith(text));
          const rows = title => [...heading(title).parentElement.querySelectorAll('tbody tr')]
            .map(row => [...row.cells].map(cell => cell.textContent));
          found.textContent = JSON.stringify({
            width: page.documentElement.scrollWidth,
            ground: within.getComputedStyle(page.body).backgroundColor,
            text: within.getComputedStyle(page.body).color,
            tops: ['Memory', 'Test score', 'Time of a step'].map(title => heading(title).getBoundingClientRect().bottom),
            widest: Math.max(...[...page.querySelectorAll('figure svg, figure img')].map(one => one.getBoundingClientRect().right)),
            memory: rows('Memory'), scores: rows('Test score'), times: rows('Time of a step'),
          });
        };
        </script>
        """;

    sealed record Found(
        double Width, string Ground, string Text, double[] Tops, double Widest, string[][] Memory, string[][] Scores, string[][] Times);

    static string? Browser => ((string[])["chromium", "chromium-browser", "google-chrome"])
        .SelectMany(name => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(bin => Path.Combine(bin, name)))
        .FirstOrDefault(File.Exists);

    Found Open(int width, bool dark)
    {
        if (Browser is not { } browser) throw new InvalidOperationException("No browser.");
        var frame = Path.Combine(folder, "frame.html");
        File.WriteAllText(frame, Frame.Replace("WIDTH", $"{width}", StringComparison.Ordinal));
        string[] command =
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
            $"--user-data-dir={Path.Combine(folder, "browser")}", $"--blink-settings=preferredColorScheme={(dark ? 0 : 1)}",
            $"--window-size={Math.Max(600, width)},900", "--virtual-time-budget=5000",
        ];
        var picture = Path.Combine(
            Directory.CreateDirectory(Path.Combine(TestData.Repository, "artifacts", "pages")).FullName,
            $"report-{width}-{(dark ? "dark" : "light")}.png");
        var shot = ChildProcess.Run([.. command, $"--screenshot={picture}", $"file://{frame}"]);
        Assert.True(shot.ExitCode == 0 && File.Exists(picture), shot.All);
        var dom = ChildProcess.Run([.. command, "--dump-dom", $"file://{frame}"]);
        var found = Regex.Match(dom.Output, "<pre id=\"found\">(.+?)</pre>");
        Assert.True(found.Success, dom.All[..Math.Min(2000, dom.All.Length)]);
        return JsonSerializer.Deserialize<Found>(WebUtility.HtmlDecode(found.Groups[1].Value), JsonSerializerOptions.Web)!;
    }

    [Fact]
    public void The_page_is_readable_at_three_widths_and_in_both_schemes_and_tells_what_was_measured()
    {
        if (Browser is null) Assert.Skip("No Chromium to look at the page with: apt-get install chromium.");
        Reproduction.Page(Reproduction.All, new(null, experiments), StoredPiece.ReadAll(experiments))
            .Save(Path.Combine(folder, "report.html"));
        foreach (var width in (int[])[390, 800, 1400])
            foreach (var dark in (bool[])[false, true])
            {
                var found = Open(width, dark);
                Assert.True(found.Width <= width, $"{found.Width} pixels in a page of {width}");
                Assert.True(found.Widest <= width, $"a figure up to {found.Widest} in a page of {width}");
                Assert.Equal(dark ? "rgb(22, 24, 27)" : "rgb(255, 255, 255)", found.Ground);
                Assert.Equal(dark ? "rgb(232, 232, 232)" : "rgb(34, 34, 34)", found.Text);
                if (width == 1400) Assert.All(found.Tops, bottom => Assert.InRange(bottom, 0, 900));    // on the first screen

                // The values in the browser are the stored values.
                Assert.Equal(11, found.Memory.Length);
                foreach (var row in found.Scores) Assert.Equal(Score(row[0]), row[3]);
                Assert.Equal(["lenet", "resnet18", "unet3d"], found.Times.Select(row => row[0]).Order(StringComparer.Ordinal));
            }

        static string Score(string trained)
        {
            foreach (var study in SweepReproduction.Studies(experiments))
            {
                var sweep = new Sweep(study);
                if (!trained.StartsWith(
                    $"{sweep.Plans[0].Model}, {sweep.Plans[0].Data}, {sweep.Plans[0].Epochs} ", StringComparison.Ordinal))
                    continue;
                if (SweepSummary.Of(sweep).Rows.FirstOrDefault(row => row.Codec == "dct:10" && row.Layers == "all") is not { } row)
                    continue;
                return string.Create(
                    CultureInfo.InvariantCulture,
                    $"{100 * row.Difference:+0.00;-0.00}{(row.DifferenceStandardError is { } error ? $" ± {100 * error:0.00}" : "")}");
            }
            return "no such training";
        }
    }

    [Fact]
    public void Each_figure_of_a_sweep_has_its_own_errors_and_differences()
    {
        var page = WebUtility.HtmlDecode(
            Reproduction.Page(SweepReproduction.Figures, new(null, experiments), StoredPiece.ReadAll(experiments)).ToString());
        var runs = new Sweep(Path.Combine(experiments, "cifar10-resnet")).Done();
        foreach (var (title, axis, value) in ((string, string, Func<RunResult, double>)[])[
            ("Figure 6", "test accuracy, %", run => 100 * run.TestScore),
            ("Figure 7", "training minus test, points", run => 100 * (run.TrainScore - run.TestScore)),
            ("Figure 8", "ms a batch", run => run.StepMs),
        ])
        {
            var section = page[page.IndexOf($">{title}:", page.IndexOf("<h2", StringComparison.Ordinal), StringComparison.Ordinal)..];
            section = section[section.IndexOf("<h3>cifar10-resnet:", StringComparison.Ordinal)..];
            var row = Regex.Match(section, "<td>dct:10</td><td>3</td><td>(.*?)</td><td>(.*?)</td>");
            var own = runs.Where(run => run.Plan.Codec == "dct:10").OrderBy(run => run.Plan.Seed)
                .Select(run => value(run.Result)).ToArray();
            var plain = runs.Where(run => run.Plan.Codec == "none").OrderBy(run => run.Plan.Seed)
                .Select(run => value(run.Result)).ToArray();
            Assert.Equal(Text(Statistics.Mean(own), "0.00"), row.Groups[1].Value);
            Assert.Equal(Text(Statistics.Mean([.. own.Zip(plain, (one, other) => one - other)]), "+0.00;-0.00"), row.Groups[2].Value);
            Assert.Contains(
                $"<th>{axis}<br>± standard error</th><th>difference from plain<br>± standard error</th>",
                section[..section.IndexOf("<td>", StringComparison.Ordinal)], StringComparison.Ordinal);
        }

        static string Text((double Mean, double Error) of, string format) =>
            of.Mean.ToString(format, CultureInfo.InvariantCulture) + " ± " + of.Error.ToString("0.00", CultureInfo.InvariantCulture);
    }
}
