using System.Diagnostics;
using System.Text.Json;

namespace Actipress.Experiments;

/// <summary>
/// Results as lines of JSON. Each line is written whole, in one call, so that the file is valid whenever the program ends. Several programs
/// may add lines to one file. Where a program was killed within a line, this line is dropped.
/// </summary>
public sealed class ResultsFile
{
    static readonly TimeSpan patience = TimeSpan.FromMinutes(1);

    /// <param name="folder">The folder, which is made where it does not exist; the file is <c>results.jsonl</c> in it.</param>
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

    /// <summary>The path of the file.</summary>
    public string Path { get; }

    /// <summary>The incomplete line at the file's end that was dropped; null where there was none.</summary>
    public string? Dropped { get; }

    /// <summary>Adds a line.</summary>
    public void Add<T>(T result) => AddUnless(_ => false, result);

    /// <summary>
    /// Adds a line unless the file has one for which <paramref name="same"/> is true. No other program can add a line meanwhile.
    /// </summary>
    /// <returns>Whether the line was added.</returns>
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

    /// <summary>The lines; lines that are no JSON objects are skipped.</summary>
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
        return text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Json.TryParse).OfType<JsonElement>()
            .Where(line => line.ValueKind == JsonValueKind.Object);
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

    // The system releases the lock however the program ends. The lock is a file of its own, so that readers never block it. The file is not
    // deleted, because another program could open and lock it in between.
    FileStream Lock()
    {
        for (var waited = Stopwatch.StartNew(); ;)
        {
            try { return new FileStream(Path + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None); }
            catch (IOException) when (File.Exists(Path + ".lock") && waited.Elapsed < patience) { Thread.Sleep(10); }
        }
    }
}
