using System.Collections.Concurrent;

namespace Actipress.Data;

/// <summary>What is worth knowing of data that were read all the same: what was resampled, left out or taken for something. Any thread adds
/// to them.</summary>
public sealed class DataNotes
{
    const int Named = 3;

    readonly ConcurrentDictionary<(string What, string Case), byte> notes = [];

    /// <summary>Adds one; of the same case the same is told once.</summary>
    /// <param name="what">A sentence's end, the same for each case that it holds for.</param>
    /// <param name="of">The case or file.</param>
    public void Add(string what, string of) => notes.TryAdd((what, of), 0);

    internal void AddLeftOut(VolumeFolder folder)
    {
        foreach (var file in folder.LeftOut) Add("no volume, left out", file);
    }

    /// <summary>A line for each kind, with how many cases it holds for and the first of them.</summary>
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
