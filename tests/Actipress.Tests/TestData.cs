using System.Runtime.CompilerServices;

namespace Actipress.Tests;

/// <summary>The folders of the tests' files: files beside the sources, and real data outside the repository.</summary>
public static class TestData
{
    static string Sources([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;

    public static string Repository => Path.GetFullPath(Path.Combine(Sources(), "..", ".."));

    public static string Golden(string file) => Path.Combine(Repository, "tests", "Golden", file);

    /// <summary>A file or folder of the real data; the test skips by name where it is missing.</summary>
    public static string Real(string path)
    {
        var folder = Environment.GetEnvironmentVariable("ACTIPRESS_DATA")
            ?? Path.GetFullPath(Path.Combine(Repository, "..", "shared", "data"));
        var full = Path.Combine(folder, path);
        if (!Path.Exists(full)) Assert.Skip($"No {full}: set ACTIPRESS_DATA to the folder that holds {path}.");
        return full;
    }
}
