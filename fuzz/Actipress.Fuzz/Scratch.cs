
namespace Actipress.Fuzz;

/// <summary>A folder for the files that a target reads, and an object that the target makes once.</summary>
sealed class Scratch : IDisposable
{
    object? kept;

    /// <summary>The folder.</summary>
    public string Folder { get; } = Directory.CreateTempSubdirectory("actipress-fuzz-").FullName;

    /// <summary>Writes a file and returns its path.</summary>
    public string Write(string name, byte[] bytes)
    {
        var path = Path.Combine(Folder, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    /// <summary>Writes a file and returns the folder that holds it.</summary>
    public string Only(string name, byte[] bytes)
    {
        Write(name, bytes);
        return Folder;
    }

    /// <summary>Returns the object that the first call made.</summary>
    public T Keep<T>(Func<T> make) where T : class => (T)(kept ??= make());

    /// <inheritdoc/>
    public void Dispose()
    {
        (kept as IDisposable)?.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}
