using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>Finds the data sets in a folder by the names of their files, for a message where another data set was wanted.</summary>
static class FoundData
{
    /// <summary>The data sets whose files are in the folder, or in the folder inside it with the data set's name.</summary>
    public static IReadOnlyList<KnownDataSet> In(string folder) =>
        [.. KnownData.All.Where(known => known.Folder is not null && Lies(known, folder))];

    /// <summary>Whether files of a data set are in a folder, or in the folder inside it with the data set's name.</summary>
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
        // A folder that cannot be read counts as empty.
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException) { return false; }
    }

    /// <summary>
    /// A sentence that names the data sets that are there in place of <paramref name="wanted"/>; empty where there are none.
    /// </summary>
    public static string Sentence(string folder, KnownDataSet wanted)
    {
        var found = In(folder);
        if (found.Count == 0 || found.Contains(wanted)) return "";
        return $" {folder} looks like {string.Join(" and ", found.Select(known => known.Name))}: choose it with --data.";
    }
}
