namespace Actipress.Cli;

/// <summary>Tests the places of results before any work, so that no work is lost at its end.</summary>
static class Outputs
{
    /// <summary>Makes the folder where it does not exist.</summary>
    /// <param name="option">The option that names the path, for the message.</param>
    /// <param name="folder">The folder for the files.</param>
    /// <exception cref="IOException">Nothing can be written there.</exception>
    public static string Folder(string option, string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
            var trial = Path.Combine(folder, Path.GetRandomFileName());
            using (new FileStream(trial, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose)) { }
            return folder;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ArgumentException)
        {
            if (System.IO.File.Exists(folder)) throw new IOException($"{option} {folder}: found a file, wanted a folder.", failure);
            throw new IOException(
                $"{option} {folder}: it cannot be written, wanted a folder that can be ({failure.Message.TrimEnd('.')}).", failure);
        }
    }

    /// <summary>Makes the folder of a file where it does not exist.</summary>
    /// <param name="option">The option that names the path, for the message.</param>
    /// <param name="file">The file to write.</param>
    /// <param name="extensions">The allowed extensions; empty for any.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static string File(string option, string file, params ReadOnlySpan<string> extensions)
    {
        if (extensions.Length > 0 && !extensions.Contains(Path.GetExtension(file)))
            throw new IOException($"{option} {file}: wanted a file that ends in {string.Join(" or ", extensions!)}.");
        if (Directory.Exists(file)) throw new IOException($"{option} {file}: found a folder, wanted a file.");
        var full = Path.GetFullPath(file);
        Folder(option, Path.GetDirectoryName(full)!);
        return full;
    }
}
