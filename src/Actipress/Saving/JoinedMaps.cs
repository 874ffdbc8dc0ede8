using Actipress.Autograd;
using Actipress.Codecs;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// Holds the result of a concatenation as the maps that it joined. A joined map that is held anyway, or that follows from a held map, takes
/// no further bytes. The others are packed, once for all concatenations of which they are a part.
/// </summary>
/// <param name="policy">The policy, which tells the error that an operation bears.</param>
/// <param name="held">The maps that are held.</param>
/// <param name="lineage">The concatenations of the step.</param>
/// <param name="meet">Adds a joined map that no operation saved by itself: its elements, and the result.</param>
/// <param name="answer">Packs the values of a joined map for a need, by a function, unless its present form suffices.</param>
/// <param name="release">Ends a use of a map.</param>
sealed class JoinedMaps(
    SavingPolicy policy, HeldMaps held, Lineage lineage, Func<MapOrigin, SavedMap, SavedMap> meet,
    Action<SavedMap, Tensor, Need, Func<SavedMap, Tensor, Zeros, Holding>> answer, Action<SavedMap> release)
{
    /// <summary>
    /// Packs a map as the maps that it joins; null where it is no concatenation, where that gains nothing, or where a joined map cannot be
    /// held.
    /// </summary>
    /// <param name="saved">The map.</param>
    /// <param name="values">The values of the map; not disposed.</param>
    /// <param name="wanted">The treatment of the map, and so of those that it joins.</param>
    /// <param name="pack">Packs the values of one joined map.</param>
    public Holding? Pack(SavedMap saved, Tensor values, Treatment.Map wanted, Func<SavedMap, Tensor, Zeros, Holding> pack)
    {
        if (lineage.ConcatenationOf(saved) is not { } concatenation || !concatenation.Parts.Any(IsHeldOrFollows)) return null;
        var maps = new List<SavedMap>();
        try
        {
            var parts = new List<(Derivation, long[])>();
            foreach (var part in concatenation.Parts)
            {
                if (held.Find(part.Origin) is not { } map)
                {
                    if (part.Origin.IsDisposed) return null;    // with the map of another pass
                    map = meet(part.Take(), saved);
                }
                map.Users++;
                maps.Add(map);
                using var own = part.Of(values, concatenation.Axis);
                answer(map, own, wanted.Need, pack);
                parts.Add((new Derivation.Held(map), own.shape));
            }
            var derivation = new Derivation.Joined(parts, concatenation.Axis, values.shape);
            if (!DerivedMap.CanBe(saved, derivation)) return null;
            var mostError = policy.MostError(wanted.Codec, values, wanted.Need);
            return DerivedMap.Of(saved, derivation, mostError, release) is { } joined
                ? new(joined, "joined") { Fineness = Fineness.Codec } : null;
        }
        finally
        {
            foreach (var map in maps) release(map);
        }
    }

    bool IsHeldOrFollows(Concatenation.Part part) =>
        held.Find(part.Origin) is { Values: not null }
        || (lineage.Of(part.Origin) is { } derivation && DerivedMap.CanBe(null, derivation));
}
