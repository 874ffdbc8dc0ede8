namespace Actipress.Data;

/// <summary>A file that is whole whenever the program ends: it is written beside and moved into place.</summary>
static class WholeFile
{
    /// <summary>Writes a file; where that fails, an older one stays as it was, and nothing is left of the new one.</summary>
    /// <param name="path">The file, which is replaced when the new one is complete.</param>
    /// <param name="write">Writes the new one to the path that it is given.</param>
    public static void Write(string path, Action<string> write)
    {
        var part = path + Part;
        try
        {
            write(part);
            File.Move(part, path, overwrite: true);
        }
        catch
        {
            // On a full disk a part would only fill it.
            if (File.Exists(part)) File.Delete(part);
            throw;
        }
    }

    /// <summary>Removes a file, and what a program that was killed may have left of a new one.</summary>
    public static void Delete(string path)
    {
        File.Delete(path);
        File.Delete(path + Part);
    }

    const string Part = ".part";
}
