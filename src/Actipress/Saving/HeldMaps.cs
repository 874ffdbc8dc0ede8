using Actipress.Accounting;
using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>The maps that are held now, each storage once. Every change of a map's form is entered in the ledger.</summary>
sealed class HeldMaps(Ledger ledger)
{
    readonly Dictionary<nint, List<SavedMap>> byStorage = [];

    public bool IsEmpty => byStorage.Count == 0;

    /// <summary>The maps that a pass saved first.</summary>
    public IEnumerable<SavedMap> Of(ThreadPass pass) => byStorage.Values.SelectMany(maps => maps).Where(map => map.Pass == pass);

    /// <summary>A copy of the list of the maps of each storage.</summary>
    public SavedMap[][] ByStorage() => [.. byStorage.Values.Select(maps => maps.ToArray())];

    /// <summary>The held map of a tensor that has not changed since; null where there is none.</summary>
    /// <param name="tensor">The tensor that is saved now.</param>
    /// <param name="geometry">The geometry of the tensor's map in its storage.</param>
    public SavedMap? Find(Tensor tensor, Geometry geometry)
    {
        var storage = StorageReference.AddressOf(tensor);
        return byStorage.ContainsKey(storage) ? Find(storage, geometry, LibTorch.Version(tensor)) : null;
    }

    /// <summary>The held map of these elements; null where there is none.</summary>
    public SavedMap? Find(MapOrigin origin) => Find(origin.Storage.Address, origin.Geometry, origin.Version);

    SavedMap? Find(nint storage, Geometry geometry, long version)
    {
        if (!byStorage.TryGetValue(storage, out var maps)) return null;
        foreach (var map in maps)
            if (map.Is(geometry, version)) return map;
        return null;
    }

    /// <summary>Adds a map that an operation saves, or that is part of a saved one.</summary>
    public void Add(SavedMap map)
    {
        if (!byStorage.TryGetValue(map.Address, out var maps)) byStorage.Add(map.Address, maps = []);
        maps.Add(map);
    }

    /// <summary>Counts a map when an operation saves it for the first time.</summary>
    public static void CountSaved(SavedMap map)
    {
        map.IsSaved = true;
        map.Account.Maps++;
        map.Account.SavedBytes += map.SavedBytes;
    }

    /// <summary>Called when the last operation that needed a map is done.</summary>
    public void Remove(SavedMap map)
    {
        ledger.Release(map.Bytes);
        var maps = byStorage[map.Address];
        maps.Remove(map);
        if (maps.Count == 0) byStorage.Remove(map.Address);
        map.Dispose();
    }

    /// <summary>Holds the values of a map in another form.</summary>
    public void HoldValues(SavedMap map, Holding values)
    {
        Drop(map, map.Values);
        map.Values = values;
        ledger.Hold(map.Account, values.Entry);
        DropAnsweredBits(map);
    }

    /// <summary>Holds bits of a map for the layers of these bounds.</summary>
    public void HoldBits(SavedMap map, HeldInside bits)
    {
        // The new bits contain those of other bounds.
        if (map.Inside is { } others) ledger.Replace(map.Account, others.Entry);
        map.Inside = new(bits, bits.How);
        ledger.Hold(map.Account, map.Inside.Entry);
    }

    /// <summary>Holds only the tensor itself, which something else keeps alive.</summary>
    public void HoldOriginal(SavedMap map, Tensor original)
    {
        Drop(map, map.Inside);
        Drop(map, map.Values);
        (map.Inside, map.Values) = (null, new(new HeldRaw(original), AliveElsewhere.How));
        ledger.Hold(map.Account, map.Values.Entry);
    }

    void DropAnsweredBits(SavedMap map)
    {
        if (map.Inside is null || !map.Bits.All(bits => map.ValuesAnswer(bits.Need))) return;
        Drop(map, map.Inside);
        map.Inside = null;
    }

    void Drop(SavedMap map, Holding? holding)
    {
        if (holding is null || map.IsPinned(holding)) return;
        ledger.Replace(map.Account, holding.Entry);
        holding.Held.Dispose();
    }
}
