using System.Text.Json;
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

    [Theory, InlineData(98), InlineData(99)]
    public void A_message_shows_the_first_100_letters_of_a_line(int letters)
    {
        var line = $"\"{new string('a', letters)}\"";
        Assert.Equal(letters == 98 ? line : $"{line[..100]}...", Json.Beginning(JsonDocument.Parse(line).RootElement));
    }

    [Fact]
    public void A_line_that_another_program_broke_off_since_is_dropped_too()
    {
        var results = new ResultsFile(folder);
        results.Add(new { A = 1 });
        File.AppendAllText(Path, "{\"broken");
        results.Add(new { B = 2 });
        Assert.Equal(["{\"a\":1}", "{\"b\":2}"], File.ReadAllLines(Path));
    }

    [Fact]
    public void A_line_that_is_no_object_or_no_text_is_passed_over()
    {
        File.WriteAllText(
            Path, "5\n{\"a\":1}\n[{}]\n\"a\"\nnull\nbroken\n{\"half a pair\":[\"\\ud800\"]}\n{\"\\udc00\":1}\n{\"\\ud83d\\ude00\":1}\n");
        Assert.Equal(["""{"a":1}""", """{"\ud83d\ude00":1}"""], new ResultsFile(folder).Lines().Select(line => line.GetRawText()));
    }

    [Theory]
    [InlineData("""{"kind":"piece","result":[1],"provenance":{"machine":"EPYC","cores":2,"torch_sharp":"1","commit":"a"}}""")]
    [InlineData("""{"kind":"piece","key":"one","result":[1],"provenance":{"machine":"EPYC","cores":"2","torch_sharp":"1","commit":"a"}}""")]
    [InlineData(
        """{"kind":"piece","key":"one","result":[1],"provenance":{"machine":"EPYC","cores":1e99,"torch_sharp":"1","commit":"a"}}""")]
    [InlineData("""{"kind":"piece","key":"one","result":[1],"provenance":"EPYC"}""")]
    [InlineData("""{"kind":"piece","key":null,"result":[1],"provenance":{"machine":"EPYC","cores":2,"torch_sharp":"1","commit":"a"}}""")]
    public void A_piece_that_lacks_something_is_named(string line)
    {
        File.WriteAllText(Path, "{\"kind\":5}\n" + line + "\n");
        var message = Assert.Throws<InvalidDataException>(() => StoredPiece.Read(new ResultsFile(folder))).Message;
        Assert.Contains($"{Path} has a piece that cannot be read, {line[..50]}", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"machine":"EPYC","cores":2,"commit":"a","torch_sharp":"1","dot_net":"10"}""", null)]
    [InlineData("""{"machine":null,"cores":2,"commit":"a","torch_sharp":"1","dot_net":"10"}""", "machine")]
    [InlineData("""{"machine":"EPYC","cores":2,"torch_sharp":"1","dot_net":"10"}""", "commit")]
    [InlineData("""{"machine":"EPYC","cores":"2","commit":"a","torch_sharp":"1","dot_net":"10"}""", "cores")]
    [InlineData("""[]""", "Provenance")]
    public void A_stored_result_of_another_type_is_named(string result, string? says)
    {
        var results = new ResultsFile(folder);
        StoredPiece.Add(results, "one", Json.TryParse(result)!.Value);
        var piece = StoredPiece.Read(results)["one"];
        if (says is null) Assert.Equal("EPYC", piece.As<Provenance>().Machine);
        else
        {
            var message = Assert.Throws<InvalidDataException>(() => piece.As<Provenance>()).Message;
            Assert.StartsWith($"A stored result is no Provenance, {result}: ", message, StringComparison.Ordinal);
            Assert.Contains(says, message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Several_writers_lose_nothing_and_add_nothing_twice()
    {
        Parallel.For(0, 4, _ =>
        {
            var results = new ResultsFile(folder);
            for (var i = 0; i < 25; i++)
                results.AddUnless(line => line.GetProperty("i").GetInt32() == i, new { I = i, Padding = new string('x', 5000) });
        });
        Assert.Equal(Enumerable.Range(0, 25), new ResultsFile(folder).Lines().Select(line => line.GetProperty("i").GetInt32()).Order());
    }
}
