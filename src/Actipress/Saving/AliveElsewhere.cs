using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>
/// The maps that something else kept alive until the last backward pass, such as an undisposed handle or a module that holds its output.
/// Packing such a map would only add to the held bytes.
/// </summary>
sealed class AliveElsewhere
{
    /// <summary>The name in a report for a map that is held as it is because something else keeps it alive.</summary>
    public const string How = "as it is: alive elsewhere";

    // The maps, each with the line of the program that saved it, where that is known.
    readonly Dictionary<(Layer Layer, Operation Operation, int Number), string?> known = [];

    /// <summary>
    /// Whether the same map of the last step was kept alive elsewhere. Called while the map is saved, so that the line of the program can
    /// be learnt.
    /// </summary>
    public bool Contains(SavedMap map)
    {
        if (!known.TryGetValue(map.Identity, out var site)) return false;
        // The line of an input, which the caller keeps alive rightly, is not told.
        if (!map.IsInput) known[map.Identity] = map.Site ??= site ?? CallSite.Here();
        return true;
    }

    /// <summary>
    /// Called when a backward pass begins. From then on a map that something else has kept alive is held as it is, exactly and at no cost,
    /// and the same map of the next step is not packed at all. Maps of other threads are left out: these threads may be in their forward
    /// passes, in which every map is alive.
    /// </summary>
    /// <param name="held">The maps that are held.</param>
    /// <param name="pass">The pass whose backward pass begins.</param>
    public void Look(HeldMaps held, ThreadPass pass)
    {
        foreach (var maps in held.ByStorage())    // the source of a derived map may be released with it
        {
            var rawHere = maps.Count(map => map.IsHeldRaw);
            foreach (var map in maps.Where(map => map.Pass == pass && !map.IsReleased))
            {
                if (map.IsHeldRaw)
                {
                    if (map.Values!.How != How) continue;
                    if (map.Storage.Users > rawHere) Enter(map);
                    else known.Remove(map.Identity);
                    continue;
                }
                if (map.Values?.Held is TrialMap) continue;    // a trial map keeps the map alive itself
                using var original = map.Original();
                if (original is null) continue;
                Enter(map);
                known[map.Identity] = map.Site;
                held.HoldOriginal(map, original);
            }
        }
    }

    /// <summary>Enters a map that was alive into the ledger. The map may be an input that the caller keeps alive rightly.</summary>
    public static void Enter(SavedMap map)
    {
        if (map.IsInput) return;
        map.Account.AddAliveElsewhere(
            map.SavedBytes, map.Identity.Operation == Operation.Unknown ? null : map.Identity.Operation.Name, map.Site);
    }
}
