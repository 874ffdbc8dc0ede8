namespace Actipress.Saving;

/// <summary>
/// The map that was rebuilt last. Where several operations read one map, it is decoded once. It is released when another map is read.
/// </summary>
sealed class DecodedMap
{
    (SavedMap Map, Tensor Values)? kept;

    public bool Is(SavedMap map) => kept?.Map == map;

    /// <summary>Returns the values of a map; the caller disposes them.</summary>
    public Tensor Of(SavedMap map)
    {
        if (kept is { } cached && cached.Map == map) return cached.Values.alias();
        Drop();
        var values = map.Rebuild();
        if (map.Users > 1 && map.Values!.Held is not TrialMap)    // a trial map may be unpacked again under another codec
        {
            var again = values.alias();
            again.DetachFromDisposeScope();
            kept = (map, again);
        }
        return values;
    }

    public void Drop()
    {
        kept?.Values.Dispose();
        kept = null;
    }
}
