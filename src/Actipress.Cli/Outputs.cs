namespace Actipress.Cli;

/// <summary>Where results go: tried before any work, so that none is lost at its end.</summary>
static class Outputs
{
    /// <summary>Makes the folder where it does not exist.</summary>
    /// <param name="option">That names it, for the message.</param>
    /// <param name="folder">Where files will be written.</param>
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
    /// <param name="option">That names it, for the message.</param>
    /// <param name="file">What will be written.</param>
    /// <param name="extensions">It may have; any where there are none.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
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
