namespace Actipress.Saving;

/// <summary>
/// The map that was rebuilt last, where several operations ask for it: it is decoded once, and dropped as soon as another map is wanted.
/// </summary>
sealed class DecodedMap
{
    (SavedMap Map, Tensor Values)? kept;

    public bool Is(SavedMap map) => kept?.Map == map;

    /// <summary>The values of a map, for the caller to dispose.</summary>
    public Tensor Of(SavedMap map)
    {
        if (kept is { } cached && cached.Map == map) return cached.Values.alias();
        Drop();
        var values = map.Rebuild();
        if (map.Users > 1 && map.Values!.Held is not TrialMap)    // which may be asked again under another codec
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
