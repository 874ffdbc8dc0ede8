using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Actipress.Tests.Cli;

/// <summary>Opens pages in Chromium without a window. The screenshots are in artifacts/pages.</summary>
sealed class HeadlessBrowser : IDisposable
{
    readonly string program;
    readonly string folder = Directory.CreateTempSubdirectory("actipress-browser").FullName;

    HeadlessBrowser(string program) => this.program = program;

    /// <summary>Finds the browser, or skips the test.</summary>
    public static HeadlessBrowser OrSkip()
    {
        var found = ((string[])["chromium", "chromium-browser", "google-chrome"])
            .SelectMany(name => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(bin => Path.Combine(bin, name)))
            .FirstOrDefault(File.Exists);
        if (found is null) Assert.Skip("No Chromium to look at the page with: apt-get install chromium.");
        return new(found);
    }

    // The page is in a frame of the wanted width, since a browser's window has a least width.
    const string Frame = """
        <!doctype html><body style="margin:0"><iframe id=frame src="PAGE" style="border:0;width:WIDTHpx;height:900px"></iframe>
        <pre id=found></pre><script>
        const read = (page, within) => { SCRIPT };
        frame.onload = () => {
          const page = frame.contentDocument, within = frame.contentWindow;
          found.textContent = JSON.stringify({
            seen: {
              width: page.documentElement.scrollWidth, ground: within.getComputedStyle(page.body).backgroundColor,
              text: within.getComputedStyle(page.body).color,
            },
            found: read(page, within),
          });
        };
        </script>
        """;

    /// <summary>What every page shows: its width in pixels, and its colours.</summary>
    public sealed record Seen(double Width, string Ground, string Text);

    sealed record Both<T>(Seen Seen, T Found);

    /// <summary>Opens a page, and returns what a script reads there.</summary>
    /// <param name="page">The file.</param>
    /// <param name="width">The width in pixels.</param>
    /// <param name="dark">Whether the user prefers dark colours.</param>
    /// <param name="script">The body of a function of <c>page</c>, the document, and <c>within</c>, its window, that returns a T.</param>
    public (Seen Seen, T Found) Open<T>(string page, int width, bool dark, string script)
    {
        var frame = Path.Combine(folder, "frame.html");
        File.WriteAllText(frame, Frame.Replace("PAGE", $"file://{page}", StringComparison.Ordinal)
            .Replace("WIDTH", $"{width}", StringComparison.Ordinal).Replace("SCRIPT", script, StringComparison.Ordinal));
        string[] command =
        [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
            $"--user-data-dir={Path.Combine(folder, "browser")}", $"--blink-settings=preferredColorScheme={(dark ? 0 : 1)}",
            $"--window-size={Math.Max(600, width)},900", "--virtual-time-budget=5000",
        ];
        var picture = Path.Combine(
            Directory.CreateDirectory(Path.Combine(TestData.Repository, "artifacts", "pages")).FullName,
            $"{Path.GetFileNameWithoutExtension(page)}-{width}-{(dark ? "dark" : "light")}.png");
        var shot = Run([.. command, $"--screenshot={picture}", $"file://{frame}"]);
        Assert.True(shot.ExitCode == 0 && File.Exists(picture), shot.All);
        var dom = Run([.. command, "--dump-dom", $"file://{frame}"]);
        var found = Regex.Match(dom.Output, "<pre id=\"found\">(.+?)</pre>");
        Assert.True(found.Success, dom.All[..Math.Min(2000, dom.All.Length)]);
        var both = JsonSerializer.Deserialize<Both<T>>(WebUtility.HtmlDecode(found.Groups[1].Value), JsonSerializerOptions.Web)!;
        return (both.Seen, both.Found);
    }

    // A start that took ten minutes was seen once: the browser had lost its service "on_device_model". A start takes seconds else.
    static ChildProcess.Ended Run(string[] command)
    {
        ChildProcess.Ended ended;
        var starts = 0;
        do
        {
            using var process = ChildProcess.Start(command);
            ended = ChildProcess.Wait(process, TimeSpan.FromMinutes(1));
        }
        while (ended.Late && ++starts < 3);
        return ended;
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);
}
