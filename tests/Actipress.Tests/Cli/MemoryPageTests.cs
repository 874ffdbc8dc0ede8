using System.Text.Json;
using System.Text.RegularExpressions;
using Actipress.Accounting;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Cli;

/// <summary>The page of a step's memory: its numbers, and what a browser shows of them.</summary>
[MeasuresMemory]
public sealed class MemoryPageTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static MemoryTimeline Record(ActivationCodec codec)
    {
        using var everything = NewDisposeScope();
        // A name that would end the page's script, if it were written as it is.
        using var model = Sequential(
            ("conv1", Conv2d(3, 16, 3, padding: 1)), ("bn1", BatchNorm2d(16)), ("relu1", ReLU()),
            ("</script>", Conv2d(16, 4, 3, padding: 1)), ("flat", Flatten()), ("fc", Linear(4 * 64 * 64, 10)));
        using var compression = model.CompressActivations(codec);
        var x = randn(16, 3, 64, 64);
        Step();
        using var timeline = compression.StartTimeline();
        Step();
        return timeline;

        void Step()
        {
            model.zero_grad();
            using var y = model.call(x);
            using var loss = y.square().sum();
            loss.backward();
        }
    }

    static JsonElement StepsOf(string page) =>
        JsonDocument.Parse(Regex.Match(page, "const steps = (.*);\n").Groups[1].Value).RootElement;

    [Fact]
    public void The_numbers_of_the_page_are_those_of_the_timeline()
    {
        var timeline = Record(ActivationCodec.Dct(10));
        var file = Path.Combine(folder, "memory.html");
        timeline.Save(file);
        var page = File.ReadAllText(file);
        Assert.Single(Regex.Matches(page, "</script>"));
        Assert.DoesNotContain("http", page, StringComparison.Ordinal);    // it loads nothing
        var step = StepsOf(page)[0];
        var moments = Numbers("moments").Chunk(3).ToArray();
        var texts = step.GetProperty("texts").EnumerateArray().Select(text => text.GetString()!).ToArray();
        Assert.Equal(timeline.Levels.Select(level => (level.Bytes, level.Stage)), moments.Select(moment => (moment[0], texts[moment[2]])));
        Assert.All(moments, moment => Assert.Equal(moment[1] == 1, texts[moment[2]].StartsWith("backward", StringComparison.Ordinal)));
        var peak = step.GetProperty("peak").GetInt64();
        Assert.Equal(timeline.Peak!.Bytes, moments[peak][0]);
        var alive = Numbers("spans").Chunk(5).Where(span => span[1] <= peak && peak < span[2]).ToArray();
        Assert.Equal(
            timeline.AliveAtPeak.SkipLast(1).Select(block => block.What).Where(what => what != "packed maps").Order(StringComparer.Ordinal),
            alive.Where(span => span[3] != (int)MemoryKind.PackedMap).Select(span => texts[span[4]]).Order(StringComparer.Ordinal));
        Assert.Equal(
            timeline.AliveAtPeak.Single(block => block.What == "packed maps").Bytes,
            alive.Where(span => span[3] == (int)MemoryKind.PackedMap).Sum(span => span[0]));
        // The last linear layer's gradient is alive at the end.
        Assert.Contains(Numbers("spans").Chunk(5), span =>
            span[3] == (int)MemoryKind.Gradient && texts[span[4]] == "gradient of fc.weight" && span[2] == moments.Length);

        long[] Numbers(string name) => [.. step.GetProperty(name).EnumerateArray().Select(number => number.GetInt64())];
    }

    [Fact]
    public void A_page_has_the_name_of_a_page_and_a_place()
    {
        var timeline = Record(ActivationCodec.None);
        Assert.Contains("wanted", Assert.Throws<ArgumentException>(() => timeline.Save(Path.Combine(folder, "memory.svg"))).Message,
            StringComparison.Ordinal);
        Assert.ThrowsAny<IOException>(() => timeline.Save(Path.Combine(folder, "nowhere", "memory.html")));
    }

    [Fact]
    public void A_snapshot_frees_what_it_allocated_and_has_the_peak_of_the_timeline()
    {
        var timeline = Record(ActivationCodec.Dct(10));
        var file = Path.Combine(folder, "memory.json");
        timeline.Save(file);
        var snapshot = JsonDocument.Parse(File.ReadAllText(file)).RootElement;
        Assert.Equal(0, snapshot.GetProperty("segments").GetArrayLength());
        var (alive, peak, reached) = (new Dictionary<long, (long Bytes, string What)>(), 0L, new List<(long Bytes, string What)>());
        foreach (var one in Assert.Single(snapshot.GetProperty("device_traces").EnumerateArray()).EnumerateArray())
        {
            var (address, bytes) = (one.GetProperty("addr").GetInt64(), one.GetProperty("size").GetInt64());
            var frame = Assert.Single(one.GetProperty("frames").EnumerateArray());
            var what = frame.GetProperty("name").GetString()!;
            Assert.Matches("^(forward|backward) pass", frame.GetProperty("filename").GetString());
            Assert.Contains(one.GetProperty("category").GetString(), MemoryKinds.Words.Append("unknown"));
            if (one.GetProperty("action").GetString() == "alloc")
                Assert.True(alive.TryAdd(address, (bytes, what)));
            else
            {
                Assert.Equal("free_completed", one.GetProperty("action").GetString());
                Assert.True(alive.Remove(address, out var block));
                Assert.Equal((bytes, what), block);
            }
            var level = alive.Values.Sum(block => block.Bytes);
            if (level <= peak) continue;
            peak = level;
            reached = [.. alive.Values];
        }
        // The rest of the level is of smaller blocks. A packed map counts until its layer is done with it, a moment after it is freed.
        Assert.InRange(peak, timeline.Peak!.Bytes * 0.9, timeline.Peak.Bytes * 1.05);
        Assert.Contains(reached, block => block.What.StartsWith("packed map of ", StringComparison.Ordinal));
        Assert.Contains(alive.Values, block => block.What == "gradient of fc.weight");
        Assert.DoesNotContain(alive.Values, block => block.What.StartsWith("packed map", StringComparison.Ordinal));
    }

    sealed record Shown(string[] Peaks, string[] Titles, string[] First, string[] Next, double Widest, bool IsDrawn);

    // The pointer is moved by keys.
    const string Script = """
        const lists = () => [...page.querySelectorAll('.step > div > p')].map(one => one.textContent);
        const first = lists(), canvas = page.querySelector('canvas');
        canvas.dispatchEvent(new within.KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true, cancelable: true }));
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return {
          peaks: [...page.querySelectorAll('section > p')].map(one => one.textContent),
          titles: [...page.querySelectorAll('h2')].map(one => one.textContent),
          first, next: lists(), isDrawn: pixels.some(value => value != 0),
          widest: Math.max(...[...page.querySelectorAll('canvas, table')].map(one => one.getBoundingClientRect().right)),
        };
        """;

    [Fact]
    public void A_browser_shows_the_peaks_and_what_was_alive_at_each_moment()
    {
        using var browser = HeadlessBrowser.OrSkip();
        var (plain, compressed) = (Record(ActivationCodec.None), Record(ActivationCodec.Dct(10)));
        var file = Path.Combine(folder, "memory.html");
        MemoryPage.Save(file, "A network", [("plain", plain), ("dct:10", compressed)]);
        foreach (var (width, dark) in ((int, bool)[])[(390, true), (1400, false)])
        {
            var (seen, shown) = browser.Open<Shown>(file, width, dark, Script);
            Assert.True(seen.Width <= width && shown.Widest <= width, $"{seen.Width} and {shown.Widest} pixels in a page of {width}");
            Assert.Equal(dark ? "rgb(22, 25, 29)" : "rgb(255, 255, 255)", seen.Ground);
            Assert.Equal(["plain", "dct:10"], shown.Titles);
            foreach (var (timeline, text) in ((MemoryTimeline, string)[])[(plain, shown.Peaks[0]), (compressed, shown.Peaks[1])])
                Assert.Equal(FormattableString.Invariant(
                    $"Peak {timeline.Peak!.Bytes / 1048576.0:0.0} MiB, in the {timeline.Peak.Stage}."), text);
            Assert.Contains(", the peak", shown.First[0], StringComparison.Ordinal);
            Assert.NotEqual(shown.First[0], shown.Next[0]);
            Assert.Equal(shown.First[1], shown.Next[1]);
            Assert.True(shown.IsDrawn);
        }
    }
}
