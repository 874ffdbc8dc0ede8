using System.Collections.Concurrent;

namespace Actipress.Data;

/// <summary>
/// Notes about data that were read, although something was resampled, left out or assumed. They may be added from any thread.
/// </summary>
public sealed class DataNotes
{
    const int Named = 3;

    readonly ConcurrentDictionary<(string What, string Case), byte> notes = [];

    /// <summary>Adds a note. The same note about the same case is kept once.</summary>
    /// <param name="what">The end of a sentence, which is the same for every case with this note.</param>
    /// <param name="of">The case or file of the note.</param>
    public void Add(string what, string of) => notes.TryAdd((what, of), 0);

    internal void AddLeftOut(VolumeFolder folder)
    {
        foreach (var file in folder.LeftOut) Add("no volume, left out", file);
    }

    /// <summary>A line for each kind of note, with the number of its cases and the first of them.</summary>
    public IReadOnlyList<string> Lines() =>
    [
        .. notes.Keys.GroupBy(note => note.What, note => note.Case, StringComparer.Ordinal)
        .OrderBy(group => group.Key, StringComparer.Ordinal).Select(group =>
        {
            var cases = group.Order(StringComparer.Ordinal).ToArray();
            return $"{string.Join(", ", cases.Take(Named))}{(cases.Length > Named ? $" and {cases.Length - Named} more" : "")}: "
                + $"{group.Key}";
        }),
    ];
}
