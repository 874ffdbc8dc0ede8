namespace Actipress.Data;

/// <summary>Writes files that are complete whenever the program ends: a file is written under another name and then renamed.</summary>
static class WholeFile
{
    /// <summary>Writes a file. Where this fails, an older file stays as it was, and the new file is removed.</summary>
    /// <param name="path">The file, which is replaced when the new file is complete.</param>
    /// <param name="write">Writes the new file to the given path.</param>
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
            // An incomplete file would only fill a full disk.
            if (File.Exists(part)) File.Delete(part);
            throw;
        }
    }

    /// <summary>Removes a file, and the incomplete file that a killed program may have left.</summary>
    public static void Delete(string path)
    {
        File.Delete(path);
        File.Delete(path + Part);
    }

    const string Part = ".part";
}
