
namespace Actipress.Fuzz;

/// <summary>A folder for what a target reads, and what it makes once.</summary>
sealed class Scratch : IDisposable
{
    object? kept;

    /// <summary>The folder.</summary>
    public string Folder { get; } = Directory.CreateTempSubdirectory("actipress-fuzz-").FullName;

    /// <summary>Writes a file and tells its path.</summary>
    public string Write(string name, byte[] bytes)
    {
        var path = Path.Combine(Folder, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    /// <summary>Writes a file and tells the folder that holds it.</summary>
    public string Only(string name, byte[] bytes)
    {
        Write(name, bytes);
        return Folder;
    }

    /// <summary>What was made the first time.</summary>
    public T Keep<T>(Func<T> make) where T : class => (T)(kept ??= make());

    /// <inheritdoc/>
    public void Dispose()
    {
        (kept as IDisposable)?.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}
