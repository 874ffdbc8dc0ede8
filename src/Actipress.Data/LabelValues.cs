namespace Actipress.Data;

/// <summary>The numbers that label files hold, where nothing else tells how many classes there are.</summary>
static class LabelValues
{
    // More than any atlas has: what holds more is an image.
    const int Most = 1024;

    /// <summary>All of them, sorted; files that cannot be read are passed over, since reading their case will tell.</summary>
    /// <param name="files">Each is read once.</param>
    /// <param name="relabelling">What they become first.</param>
    /// <exception cref="InvalidDataException">A file holds something other than labels; the message says what.</exception>
    public static IReadOnlyList<int> In(IReadOnlyList<string> files, Relabelling relabelling)
    {
        var found = new SortedSet<int>[files.Count];
        try { Parallel.For(0, files.Count, file => found[file] = Of(files[file], relabelling)); }
        catch (AggregateException failures) { throw failures.InnerExceptions[0]; }
        var all = new SortedSet<int>(found.SelectMany(values => values));
        return all.SetEquals([0, 255]) && !relabelling.Classes.ContainsKey(255) ? [0, 1] : [.. all];
    }

    /// <summary>The classes that files hold: a number that none has gets no class, so that 0, 1, 2 and 4 become 0 to 3.</summary>
    /// <param name="files">Each is read once.</param>
    /// <param name="relabelling">What the user says that numbers become; then classes are what comes of it.</param>
    /// <param name="name">Of the data set, for a note of numbers that become others.</param>
    /// <param name="notes">Gets it.</param>
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
