namespace Actipress.Data;

/// <summary>Finds the numbers in label files, where nothing else gives the number of classes.</summary>
static class LabelValues
{
    // More numbers than any atlas has: a file with more is an image.
    const int Most = 1024;

    /// <summary>
    /// All numbers, sorted; 0 and 1 where all files are masks of 0 and 255. Files that cannot be read are skipped, because reading their
    /// case reports them.
    /// </summary>
    /// <param name="files">The label files; each is read once.</param>
    /// <param name="relabelling">The relabelling that is applied first.</param>
    /// <param name="unreadable">How a file that does not hold labels is handled: reading its case reports it too.</param>
    /// <exception cref="InvalidDataException">
    /// A file does not hold labels, and the run stops there; the message says what it holds.
    /// </exception>
    public static IReadOnlyList<int> In(IReadOnlyList<string> files, Relabelling relabelling, Unreadable unreadable) =>
        Found(files, relabelling, unreadable) is var found && found is [0, 255] && !relabelling.Classes.ContainsKey(255) ? [0, 1] : found;

    static int[] Found(IReadOnlyList<string> files, Relabelling relabelling, Unreadable unreadable)
    {
        var found = new SortedSet<int>[files.Count];
        try { Parallel.For(0, files.Count, file => found[file] = Of(files[file], relabelling, unreadable)); }
        catch (AggregateException failures) { throw failures.InnerExceptions[0]; }
        return [.. new SortedSet<int>(found.SelectMany(values => values))];
    }

    /// <summary>The classes of the files. A number that no file has gets no class, so that 0, 1, 2 and 4 become 0 to 3.</summary>
    /// <param name="files">The label files; each is read once.</param>
    /// <param name="relabelling">The user's relabelling, which decides the classes where it is given.</param>
    /// <param name="name">The name of the data set, for a note about numbers that are relabelled.</param>
    /// <param name="unreadable">How a file that does not hold labels is handled.</param>
    /// <param name="notes">Receives the note.</param>
    public static (Relabelling Relabelling, int Classes, IReadOnlyList<string>? Names) Classes(IReadOnlyList<string> files,
        Relabelling? relabelling, string name, Unreadable unreadable, DataNotes notes)
    {
        if (relabelling is not null) return (relabelling, Math.Max(2, In(files, relabelling, unreadable).Append(0).Max() + 1), null);
        int[] values = [.. Found(files, Relabelling.None, unreadable).Prepend(0).Distinct()];
        if (values[^1] < values.Length) return (Relabelling.None, Math.Max(2, values.Length), null);
        notes.Add($"labels {string.Join(", ", values)} become classes 0 to {values.Length - 1}, and are written as they were", name);
        // Another mask may hold 0 and 1, and is read too.
        var become = values is [0, 255] ? Relabelling.OfMasks : Relabelling.InOrder(values);
        return (become, values.Length, [.. values.Select(value => $"{value}")]);
    }

    static SortedSet<int> Of(string file, Relabelling relabelling, Unreadable unreadable)
    {
        var values = new SortedSet<int>();
        Volume volume;
        try { volume = Nifti.Read(file); }
        catch (Exception failure) when (failure is InvalidDataException or IOException or UnauthorizedAccessException) { return values; }
        var last = float.NaN;
        foreach (var value in volume.Values)
        {
            if (value == last) continue;
            last = value;
            var label = relabelling.ClassOf(value);
            if (label is { } known && (!values.Add(known) || values.Count <= Most)) continue;
            if (unreadable == Unreadable.Skip) return [];
            throw new InvalidDataException(label is null
                ? $"{file} holds {value}: wanted labels, which are whole numbers from 0 on. Give the folder of the labels, or say what a "
                    + "number becomes."
                : $"{file} holds more than {Most} different numbers: wanted labels. Give the folder of the labels.");
        }
        return values;
    }
}
