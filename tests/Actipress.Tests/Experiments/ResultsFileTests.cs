using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class ResultsFileTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    string Path => System.IO.Path.Combine(folder, "results.jsonl");

    [Theory]
    [InlineData("{\"a\":1}\n{\"broken é", "{\"broken é", new[] { "{\"a\":1}", "{\"b\":2}" })]
    [InlineData("{\"broken", "{\"broken", new[] { "{\"b\":2}" })]
    [InlineData("{\"a\":1}\n{\"whole\":1}", null, new[] { "{\"a\":1}", "{\"whole\":1}", "{\"b\":2}" })]
    [InlineData("", null, new[] { "{\"b\":2}" })]
    public void A_broken_last_line_is_dropped_and_said(string before, string? dropped, string[] after)
    {
        File.WriteAllText(Path, before);
        var results = new ResultsFile(folder);
        Assert.Equal(dropped, results.Dropped);
        results.Add(new { B = 2 });
        Assert.Equal(after, File.ReadAllLines(Path));
    }

    [Fact]
    public void Several_writers_lose_nothing_and_add_nothing_twice()
    {
        Parallel.For(0, 4, _ =>
        {
            var results = new ResultsFile(folder);
            for (var i = 0; i < 25; i++) results.AddUnless(line => line.GetProperty("i").GetInt32() == i, new { I = i, Padding = new string('x', 5000) });
        });
        Assert.Equal(Enumerable.Range(0, 25), new ResultsFile(folder).Lines().Select(line => line.GetProperty("i").GetInt32()).Order());
    }
}
