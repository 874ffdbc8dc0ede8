using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>Which data sets a folder holds, by the names of their files: for a message where another one was looked for.</summary>
static class FoundData
{
    /// <summary>Those whose files lie in the folder, or in the part of it that has the data set's name.</summary>
    public static IReadOnlyList<KnownDataSet> In(string folder) =>
        [.. KnownData.All.Where(known => known.Folder is not null && Lies(known, folder))];

    /// <summary>Whether files of a data set lie in a folder, or in the part of it that has the data set's name.</summary>
    public static bool Lies(KnownDataSet known, string folder) =>
        known.Files.Any(pattern => Matches(DataFolder.Part(folder, known.Folder!), pattern.Split('/')));

    static bool Matches(string folder, ReadOnlySpan<string> pattern)
    {
        try
        {
            if (pattern.Length == 1) return Directory.EnumerateFiles(folder, pattern[0]).Any();
            foreach (var below in Directory.EnumerateDirectories(folder, pattern[0]))
                if (Matches(below, pattern[1..])) return true;
            return false;
        }
        // What cannot be read holds nothing.
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException) { return false; }
    }

    /// <summary>A sentence that names what is there in place of <paramref name="wanted"/>; empty where there is nothing else.</summary>
    public static string Sentence(string folder, KnownDataSet wanted)
    {
        var found = In(folder);
        if (found.Count == 0 || found.Contains(wanted)) return "";
        return $" {folder} looks like {string.Join(" and ", found.Select(known => known.Name))}: choose it with --data.";
    }
}
