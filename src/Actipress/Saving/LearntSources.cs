namespace Actipress.Saving;

/// <summary>The maps from which other maps followed in the steps so far. The next step holds these maps more finely.</summary>
sealed class LearntSources
{
    // The strictest need of the maps that follow from a map; null where these were not derived although the map was held more finely.
    readonly SortedDictionary<string, Need?> needs = new(StringComparer.Ordinal);

    /// <summary>The strictest need of the maps that follow from a map; null where none is to be derived from it.</summary>
    public Need? NeedOfDerived(SavedMap map) => needs.GetValueOrDefault(NameOf(map));

    /// <summary>Learns from the maps of a pass.</summary>
    public void Learn(IEnumerable<SavedMap> maps)
    {
        foreach (var map in maps)
        {
            var name = NameOf(map);
            if (map.NeedOfDerived is not { } need) needs.Remove(name);
            else if (map.HasDerived) needs[name] = need;
            else if (map.IsHeldAsSource) needs[name] = null;
            else needs.TryAdd(name, need);
        }
    }

    static string NameOf(SavedMap map) => $"{map.Layer.Name} {map.Identity.Operation} {map.Identity.Number}";

    /// <summary>Writes the needs that the steps so far have shown.</summary>
    public void Save(BinaryWriter writer)
    {
        writer.Write(needs.Count);
        foreach (var (name, need) in needs)
        {
            writer.Write(name);
            writer.Write((need as Need.OfValues)?.Name ?? "");
        }
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <exception cref="InvalidDataException">A name of a need is unknown.</exception>
    public void Load(BinaryReader reader)
    {
        needs.Clear();
        for (var left = reader.ReadInt32(); left > 0; left--)
        {
            var (name, need) = (reader.ReadString(), reader.ReadString());
            needs[name] = need.Length == 0 ? null : Need.Named(need);
        }
    }
}
