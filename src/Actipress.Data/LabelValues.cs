namespace Actipress.Data;

/// <summary>Finds the numbers in label files, where nothing else gives the number of classes.</summary>
static class LabelValues
{
    // More numbers than any atlas has: a file with more is an image.
    const int Most = 1024;

    /// <summary>All numbers, sorted. Files that cannot be read are skipped, because reading their case reports them.</summary>
    /// <param name="files">The label files; each is read once.</param>
    /// <param name="relabelling">The relabelling that is applied first.</param>
    /// <exception cref="InvalidDataException">A file does not hold labels; the message says what it holds.</exception>
    public static IReadOnlyList<int> In(IReadOnlyList<string> files, Relabelling relabelling)
    {
        var found = new SortedSet<int>[files.Count];
        try { Parallel.For(0, files.Count, file => found[file] = Of(files[file], relabelling)); }
        catch (AggregateException failures) { throw failures.InnerExceptions[0]; }
        var all = new SortedSet<int>(found.SelectMany(values => values));
        return all.SetEquals([0, 255]) && !relabelling.Classes.ContainsKey(255) ? [0, 1] : [.. all];
    }

    /// <summary>The classes of the files. A number that no file has gets no class, so that 0, 1, 2 and 4 become 0 to 3.</summary>
    /// <param name="files">The label files; each is read once.</param>
    /// <param name="relabelling">The user's relabelling, which decides the classes where it is given.</param>
    /// <param name="name">The name of the data set, for a note about numbers that are relabelled.</param>
    /// <param name="notes">Receives the note.</param>
    public static (Relabelling Relabelling, int Classes, IReadOnlyList<string>? Names) Classes(IReadOnlyList<string> files,
        Relabelling? relabelling, string name, DataNotes notes)
    {
        int[] values = [.. In(files, relabelling ?? Relabelling.None).Prepend(0).Distinct()];
        if (relabelling is not null || values[^1] < values.Length) return (relabelling ?? Relabelling.None, Math.Max(2, values[^1] + 1),
            null);
        notes.Add($"labels {string.Join(", ", values)} become classes 0 to {values.Length - 1}, and are written as they were", name);
        return (Relabelling.InOrder(values), values.Length, [.. values.Select(value => $"{value}")]);
    }

    static SortedSet<int> Of(string file, Relabelling relabelling)
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
            if (relabelling.ClassOf(value) is not { } label) throw new InvalidDataException($"{file} holds {value}: wanted labels, which "
                + "are whole numbers from 0 on. Give the folder of the labels, or say what a number becomes.");
            if (values.Add(label) && values.Count > Most) throw new InvalidDataException($"{file} holds more than {Most} different "
                + "numbers: wanted labels. Give the folder of the labels.");
        }
        return values;
    }
}
