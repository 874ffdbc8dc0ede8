using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>
/// The maps that something else kept alive until the last backward pass, such as an undisposed handle or a module that holds its output:
/// packing such a map would only add to what is held.
/// </summary>
sealed class AliveElsewhere
{
    /// <summary>What a report calls a map that is held so.</summary>
    public const string How = "as it is: alive elsewhere";

    readonly HashSet<(Layer Layer, Operation Operation, int Number)> known = [];

    /// <summary>Whether the same map of the last step was alive.</summary>
    public bool Contains(SavedMap map) => known.Contains(map.Identity);

    /// <summary>
    /// A backward pass begins. A map that something else has kept alive is held as it is from here on, exactly and for nothing, and the
    /// same map of the next step will not be packed at all. Other threads may be in the middle of forward passes, in which every map is
    /// alive.
    /// </summary>
    /// <param name="held">The maps that are held.</param>
    /// <param name="pass">The pass whose backward pass begins.</param>
    public void Look(HeldMaps held, ThreadPass pass)
    {
        foreach (var maps in held.ByStorage())    // what a map was derived from may go with it
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
                if (map.Values?.Held is TrialMap) continue;    // which keeps it alive itself
                using var original = map.Original();
                if (original is null) continue;
                Enter(map);
                known.Add(map.Identity);
                held.HoldOriginal(map, original);
            }
        }
    }

    /// <summary>Enters a map that was alive into the books. An input may be the caller's, who keeps it alive rightly.</summary>
    public static void Enter(SavedMap map)
    {
        if (map.IsInput) return;
        map.Account.AddAliveElsewhere(map.SavedBytes, map.Identity.Operation == Operation.Unknown ? null : map.Identity.Operation.Name);
    }
}
