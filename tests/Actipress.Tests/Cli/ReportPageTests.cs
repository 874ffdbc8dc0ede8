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

    // A script reads what the page shows.
    const string Script = """
        const heading = text => [...page.querySelectorAll('h3')].find(one => one.textContent.startsWith(text));
        const rows = title => [...heading(title).parentElement.querySelectorAll('tbody tr')]
          .map(row => [...row.cells].map(cell => cell.textContent));
        return {
          tops: ['Memory', 'Test score', 'Time of a step'].map(title => heading(title).getBoundingClientRect().bottom),
          widest: Math.max(...[...page.querySelectorAll('figure svg, figure img')].map(one => one.getBoundingClientRect().right)),
          memory: rows('Memory'), scores: rows('Test score'), times: rows('Time of a step'),
        };
        """;

    sealed record Found(double[] Tops, double Widest, string[][] Memory, string[][] Scores, string[][] Times);

    [Fact]
    public void The_page_is_readable_at_three_widths_and_in_both_schemes_and_tells_what_was_measured()
    {
        using var browser = HeadlessBrowser.OrSkip();
        Reproduction.Page(Reproduction.All, new(null, experiments), StoredPiece.ReadAll(experiments))
            .Save(Path.Combine(folder, "report.html"));
        foreach (var width in (int[])[390, 800, 1400])
            foreach (var dark in (bool[])[false, true])
            {
                var (seen, found) = browser.Open<Found>(Path.Combine(folder, "report.html"), width, dark, Script);
                Assert.True(seen.Width <= width, $"{seen.Width} pixels in a page of {width}");
                Assert.True(found.Widest <= width, $"a figure up to {found.Widest} in a page of {width}");
                Assert.Equal(dark ? "rgb(22, 24, 27)" : "rgb(255, 255, 255)", seen.Ground);
                Assert.Equal(dark ? "rgb(232, 232, 232)" : "rgb(34, 34, 34)", seen.Text);
                if (width == 1400) Assert.All(found.Tops, bottom => Assert.InRange(bottom, 0, 900));    // on the first screen

                // The values in the browser are the stored values.
                Assert.Equal(11, found.Memory.Length);
                foreach (var row in found.Scores) Assert.Equal(Score(row[0]), row[3]);
                Assert.Equal(StoredTimes(), found.Times.OrderBy(row => row[0], StringComparer.Ordinal));
            }

        // Each network and how many times as long its step takes, as it was measured last.
        static IEnumerable<string[]> StoredTimes() =>
            from line in File.ReadLines(Path.Combine(experiments, "codec-bench", "results.jsonl"))
            let piece = JsonDocument.Parse(line).RootElement
            where piece.GetProperty("kind").GetString() == "steps"
            let result = piece.GetProperty("result")
            where result.GetProperty("codec").GetString() == "dct:10"
            group result.GetProperty("ratio").GetDouble() by result.GetProperty("network").GetString() into network
            orderby network.Key
            select (string[])[network.Key, network.Last().ToString("0.00", CultureInfo.InvariantCulture)];

        static string Score(string trained)
        {
            foreach (var study in SweepReproduction.Studies(experiments))
            {
                var sweep = new Sweep(study);
                if (trained != sweep.Plans[0].Title()) continue;
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
