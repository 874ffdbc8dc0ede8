namespace Actipress.Data;

/// <summary>How a case that cannot be read, or whose mask is missing, is handled.</summary>
public enum Unreadable
{
    /// <summary>The run ends with the case's message.</summary>
    Stop,

    /// <summary>The run continues without the case, and names it.</summary>
    Skip,
}

static class UnreadableCases
{
    /// <summary>The end of the sentence that names a case which is left out.</summary>
    public static string LeftOut(InvalidDataException failure) =>
        $"cannot be read, left out: {(failure.InnerException ?? failure).Message}";

    /// <summary>Finds the files of cases.</summary>
    /// <param name="unreadable">How a case that lacks a file is handled.</param>
    /// <param name="found">What was found of each case.</param>
    /// <param name="name">The name of a case, for the note about it.</param>
    /// <param name="files">Finds the files of a case. It throws where one is missing.</param>
    /// <param name="notes">Receives a note for each case that is left out.</param>
    /// <exception cref="InvalidDataException">A case lacks a file, and the run stops there; or every case does.</exception>
    public static VolumeCase[] Cases<T>(
        this Unreadable unreadable, IReadOnlyCollection<T> found, Func<T, string> name, Func<T, VolumeCase> files, DataNotes notes)
    {
        var (cases, first) = (new List<VolumeCase>(), (InvalidDataException?)null);
        foreach (var one in found)
        {
            try { cases.Add(files(one)); }
            catch (InvalidDataException failure) when (unreadable == Unreadable.Skip)
            {
                first ??= failure;
                notes.Add(LeftOut(failure), name(one));
            }
        }
        if (cases.Count == 0 && first is not null)
            throw new InvalidDataException($"None of the {found.Count} cases can be read. The first: {first.Message}", first);
        return [.. cases];
    }
}
