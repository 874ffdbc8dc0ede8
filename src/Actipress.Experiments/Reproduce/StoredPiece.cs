using System.Text.Json;

namespace Actipress.Experiments;

/// <summary>The result of one piece of a reproduction in a results file.</summary>
/// <param name="Result">The result as JSON.</param>
/// <param name="Machine">The machine and commit, as text.</param>
/// <param name="Commit">The commit.</param>
public sealed record StoredPiece(JsonElement Result, string Machine, string Commit)
{
    /// <summary>All pieces of a results file by key; the last of equal keys counts.</summary>
    /// <exception cref="InvalidDataException">A piece lacks a member; the message says which line.</exception>
    public static IReadOnlyDictionary<string, StoredPiece> Read(ResultsFile results)
    {
        ArgumentNullException.ThrowIfNull(results);
        var pieces = new Dictionary<string, StoredPiece>();
        foreach (var line in results.Lines().Where(line => line.Has("kind", Kind)))
            try { Add(line); }
            catch (Exception failure) when (failure is KeyNotFoundException or InvalidOperationException or FormatException)
            {
                throw new InvalidDataException($"{results.Path} has a piece that cannot be read, {Json.Beginning(line)}: {failure.Message} "
                    + "Wanted key, result and provenance. Take the line out.", failure);
            }
        return pieces;

        void Add(JsonElement line)
        {
            var from = line.GetProperty("provenance");
            var commit = from.GetProperty("commit").GetString() ?? throw new FormatException("Its commit is null.");
            pieces[line.GetProperty("key").GetString() ?? throw new FormatException("Its key is null.")] = new(line.GetProperty("result"),
                $"{(from.TryGetProperty("gpu", out var gpu) ? $"{gpu.GetString()} beside " : "")}{from.GetProperty("machine").GetString()} "
                    + $"with {from.GetProperty("cores").GetInt32()} cores, TorchSharp {from.GetProperty("torch_sharp").GetString()}, "
                    + $"commit {commit}", commit);
        }
    }

    /// <summary>All pieces of an experiments folder's results files.</summary>
    public static IReadOnlyDictionary<string, StoredPiece> ReadAll(string experiments)
    {
        if (!Directory.Exists(experiments))
            throw new InvalidDataException($"No folder {experiments}: wanted the one with the experiments' results, such as "
                + "experiments/paper/results.jsonl.");
        var pieces = new Dictionary<string, StoredPiece>();
        foreach (var folder in Directory.EnumerateDirectories(experiments).Order(StringComparer.Ordinal)
            .Where(folder => File.Exists(Path.Combine(folder, "results.jsonl"))))
            foreach (var (key, piece) in Read(new ResultsFile(folder))) pieces[key] = piece;
        return pieces;
    }

    /// <summary>Adds a piece that was measured on a device.</summary>
    public static void Add(ResultsFile results, string key, object result, torch.Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(results);
        results.Add(new { kind = Kind, key, result, provenance = Provenance.Here(device) });
    }

    const string Kind = "piece";

    /// <summary>Reads the result as the stored type.</summary>
    /// <exception cref="InvalidDataException">The result has another type.</exception>
    public T As<T>()
    {
        try { return Json.Of<T>(Result); }
        catch (JsonException failure)
        {
            throw new InvalidDataException(
                $"A stored result is no {typeof(T).Name}, {Json.Beginning(Result)}: {failure.Message} Take its line out.", failure);
        }
    }
}
