using System.Diagnostics;
using System.Text.Json;

namespace Actipress.Experiments;

/// <summary>
/// Results as lines of JSON, each written whole and at once, so that the file is valid whenever the program ends. Several programs may
/// add to one file. Where one was killed in the middle of a line, that line is dropped.
/// </summary>
public sealed class ResultsFile
{
    static readonly TimeSpan patience = TimeSpan.FromMinutes(1);

    /// <param name="folder">Made where it does not exist; the file is <c>results.jsonl</c> in it.</param>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public ResultsFile(string folder)
    {
        Path = System.IO.Path.Combine(folder, "results.jsonl");
        Directory.CreateDirectory(folder);
        using var alone = Lock();
        using var file = Open();
        Dropped = DropBrokenEnd(file);
    }

    /// <summary>Where it is.</summary>
    public string Path { get; }

    /// <summary>What was found at the file's end in place of a whole line, and dropped; null where nothing was.</summary>
    public string? Dropped { get; }

    /// <summary>Adds a line.</summary>
    public void Add<T>(T result) => AddUnless(_ => false, result);

    /// <summary>Adds a line unless there is one already for which <paramref name="same"/> is true; no other program can add one meanwhile.</summary>
    /// <returns>Whether it was added.</returns>
    public bool AddUnless<T>(Func<JsonElement, bool> same, T result)
    {
        ArgumentNullException.ThrowIfNull(same);
        using var alone = Lock();
        using var file = Open();
        DropBrokenEnd(file);
        if (Lines(file).Any(same)) return false;
        file.Seek(0, SeekOrigin.End);
        file.Write(System.Text.Encoding.UTF8.GetBytes(Json.Line(result) + "\n"));
        file.Flush(flushToDisk: true);
        return true;
    }

    /// <summary>The lines; what is no JSON object is passed over.</summary>
    public IReadOnlyList<JsonElement> Lines()
    {
        using var alone = Lock();
        using var file = Open();
        return [.. Lines(file)];
    }

    static IEnumerable<JsonElement> Lines(FileStream file)
    {
        file.Position = 0;
        var text = System.Text.Encoding.UTF8.GetString(Content(file));
        return text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Json.TryParse).OfType<JsonElement>().Where(line => line.ValueKind == JsonValueKind.Object);
    }

    static string? DropBrokenEnd(FileStream file)
    {
        var bytes = Content(file);
        var end = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        if (end == bytes.Length) return null;
        var last = System.Text.Encoding.UTF8.GetString(bytes.AsSpan(end));
        if (Json.TryParse(last) is not null)
        {
            file.WriteByte((byte)'\n');
            return null;
        }
        file.SetLength(end);
        return last;
    }

    static byte[] Content(FileStream file)
    {
        var bytes = new byte[file.Length];
        file.Position = 0;
        file.ReadExactly(bytes);
        return bytes;
    }

    FileStream Open() => new(Path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);

    // The system gives it back however the program ends. A file of its own, so that readers are never in the way; it stays, since
    // between opening and locking a deleted one there is time for another.
    FileStream Lock()
    {
        for (var waited = Stopwatch.StartNew(); ;)
        {
            try { return new FileStream(Path + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None); }
            catch (IOException) when (File.Exists(Path + ".lock") && waited.Elapsed < patience) { Thread.Sleep(10); }
        }
    }
}
