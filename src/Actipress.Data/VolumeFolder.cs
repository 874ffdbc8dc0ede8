namespace Actipress.Data;

/// <summary>The NIfTI files of a folder by their names without endings, and the other files.</summary>
sealed class VolumeFolder
{
    // The longer endings come first. An .img file is read through its header.
    static readonly string[] endings = [".nii.gz", ".nii", ".hdr.gz", ".hdr"], numbers = [".img.gz", ".img"];

    VolumeFolder(SortedDictionary<string, string> volumes, IReadOnlyList<string> leftOut) => (Volumes, LeftOut) = (volumes, leftOut);

    /// <summary>The paths by name.</summary>
    public SortedDictionary<string, string> Volumes { get; }

    /// <summary>The paths of files that are no volumes, without hidden files, which archives from macOS hold.</summary>
    public IReadOnlyList<string> LeftOut { get; }

    /// <summary>The full path of a file that a list names.</summary>
    /// <param name="list">The path of the list, for the message.</param>
    /// <param name="folder">The folder of relative paths.</param>
    /// <param name="file">The path in the list.</param>
    /// <exception cref="InvalidDataException">The path has a null character.</exception>
    public static string Listed(string list, string folder, string file) => !file.Contains('\0', StringComparison.Ordinal)
        ? Path.GetFullPath(file, Path.GetFullPath(folder))
        : throw new InvalidDataException($"{list} names a file '{file.Replace("\0", "\\0", StringComparison.Ordinal)}': found a null "
            + "character, wanted the path of a volume.");

    /// <summary>Lists a folder. A missing folder is empty.</summary>
    /// <exception cref="InvalidDataException">Two volumes have one name, or a link leads nowhere; the message names them.</exception>
    public static VolumeFolder Of(string folder)
    {
        var (volumes, leftOut) = (new SortedDictionary<string, string>(StringComparer.Ordinal), new List<string>());
        foreach (var file in Directory.Exists(folder) ? Directory.GetFiles(folder).Order(StringComparer.Ordinal)
            : Enumerable.Empty<string>())
        {
            var name = Path.GetFileName(file);
            if (name.StartsWith('.')) continue;
            if (Stem(name) is not { } stem)
            {
                if (!numbers.Any(ending => name.EndsWith(ending, StringComparison.OrdinalIgnoreCase))) leftOut.Add(file);
                continue;
            }
            if (new FileInfo(file) is { LinkTarget: not null } link && link.ResolveLinkTarget(returnFinalTarget: true)
                is not { Exists: true })
                throw new InvalidDataException($"{file} is a link to {link.LinkTarget}, where there is no file: wanted a volume. Mend or "
                    + "remove the link.");
            if (!volumes.TryAdd(stem, file))
                throw new InvalidDataException($"{file} has the name of {volumes[stem]}: wanted one volume of a name. Remove or rename "
                    + "one of them.");
        }
        return new(volumes, leftOut);
    }

    /// <summary>The first few names in a folder, for messages.</summary>
    public static string Holds(string folder) => string.Join(
        ", ",
        Directory.GetFileSystemEntries(folder).Select(Path.GetFileName).Order(StringComparer.Ordinal).Take(5).DefaultIfEmpty("nothing"));

    /// <summary>A file's name without the ending of a volume, in any case; null where it has no such ending.</summary>
    public static string? Stem(string file)
    {
        var name = Path.GetFileName(file);
        return endings.FirstOrDefault(ending => name.EndsWith(ending, StringComparison.OrdinalIgnoreCase)) is { } own ? name[..^own.Length]
            : null;
    }
}
