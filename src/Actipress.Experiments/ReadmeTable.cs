using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Actipress.Experiments;

/// <summary>The README's table of results, from stored results.</summary>
public static class ReadmeTable
{
    const string Begin = "<!-- results: written by ./dev readme from experiments/mnist-lenet/results.jsonl -->", End = "<!-- end of results -->";

    /// <summary><paramref name="readme"/> with its table written anew.</summary>
    /// <param name="readme">The README's text.</param>
    /// <param name="results">The lines of a results file of <c>train</c>.</param>
    /// <exception cref="InvalidDataException">The README has no place for it.</exception>
    public static string Update(string readme, IEnumerable<string> results)
    {
        ArgumentNullException.ThrowIfNull(readme);
        var (begin, end) = (readme.IndexOf(Begin, StringComparison.Ordinal), readme.IndexOf(End, StringComparison.Ordinal));
        if (begin < 0 || end < begin) throw new InvalidDataException($"The README has no place for its results: wanted the lines '{Begin}' and '{End}'.");
        return readme[..(begin + Begin.Length)] + "\n" + Table(results) + readme[end..];
    }

    static string Table(IEnumerable<string> results)
    {
        var runs = results.Select(Json.TryParse).OfType<JsonElement>().Where(line => line.GetProperty("kind").GetString() == "train").Select(line => line.GetProperty("result")).ToArray();
        var text = new StringBuilder();
        text.AppendLine("| LeNet on MNIST | test accuracy | saved maps | allocator after forward | time a batch | gradient cosine |");
        text.AppendLine("|---|---|---|---|---|---|");
        foreach (var run in runs)
        {
            var (plain, packed) = (run.GetProperty("baseline"), run.GetProperty("compressed"));
            if (run.Equals(runs[0])) Row("plain", plain, plain.GetProperty("after_forward_bytes"), packed.GetProperty("saved_bytes"), 1);
            Row($"`{run.GetProperty("codec").GetString()}`, all layers", packed, packed.GetProperty("after_forward_bytes"), packed.GetProperty("kept_bytes"), packed.GetProperty("gradient_cosine").GetDouble());
        }
        if (runs.Length == 0) return "No results yet.\n";
        var (last, from) = (runs[^1], runs[^1].GetProperty("provenance"));
        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{last.GetProperty("epochs").GetInt32()} epochs, one seed, {from.GetProperty("machine").GetString()} with {from.GetProperty("cores").GetInt32()} cores, TorchSharp {from.GetProperty("torch_sharp").GetString()}, commit {from.GetProperty("commit").GetString()}.");
        return text.ToString().ReplaceLineEndings("\n");

        void Row(string name, JsonElement run, JsonElement afterForward, JsonElement maps, double cosine) => text.AppendLine(CultureInfo.InvariantCulture,
            $"| {name} | {100 * run.GetProperty("test_accuracy").GetDouble():0.00} % | {maps.GetInt64() / 1048576.0:0.00} MiB | {afterForward.GetInt64() / 1048576.0:0.00} MiB | {run.GetProperty("step_ms").GetDouble():0.0} ms | {cosine:0.000} |");
    }
}
