namespace Actipress.Experiments;

/// <summary>
/// Results as lines of JSON, each written whole and at once, so that the file is valid whenever the program ends. Where an earlier
/// program was killed in the middle of a line, that line is closed before the first new one.
/// </summary>
public sealed class ResultsFile : IDisposable
{
    readonly FileStream file;

    /// <param name="folder">Made where it does not exist; the file is <c>results.jsonl</c> in it.</param>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public ResultsFile(string folder)
    {
        Directory.CreateDirectory(folder);
        Path = System.IO.Path.Combine(folder, "results.jsonl");
        file = new FileStream(Path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
        if (file.Length == 0) return;
        file.Seek(-1, SeekOrigin.End);
        if (file.ReadByte() != '\n') file.WriteByte((byte)'\n');
    }

    /// <summary>Where it is.</summary>
    public string Path { get; }

    /// <summary>Adds a line.</summary>
    public void Add<T>(T result)
    {
        file.Write(System.Text.Encoding.UTF8.GetBytes(Json.Line(result) + "\n"));
        file.Flush(flushToDisk: true);
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();
}
