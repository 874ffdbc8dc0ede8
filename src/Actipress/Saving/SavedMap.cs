using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Maps;

namespace Actipress.Saving;

/// <summary>The form in which a map is held, and its name in a report.</summary>
sealed record Holding(Packed Held, string How)
{
    public long Bytes { get; } = Held.Bytes;

    /// <summary>How finely the values are held.</summary>
    public Fineness Fineness { get; init; } = Fineness.Exact;

    /// <summary>The norm of the error relative to the norm of the map; null where it is not known or there is no error.</summary>
    public double? RelativeError => Held is DerivedMap derived ? derived.RelativeError : (Held as PackedMap)?.RelativeError;

    /// <summary>The form as an entry of the ledger.</summary>
    public Entry Entry => new(Bytes, How, RelativeError);

    /// <summary>The bytes and the harm of other codecs for the map, where a budget measured them.</summary>
    public Rung[]? Rungs { get; init; }

    /// <summary>The sensitivity of the operation that reads the map, which is a factor of the harm.</summary>
    public double Weight { get; init; } = 1;

    // The harm to this map and to the maps that are derived from it, relative to the harm to this map.
    double harm = 1;

    /// <summary>Counts the harm that the errors of this map do to a map that is derived from it. These errors grow together.</summary>
    /// <param name="error">The relative error of the derived map.</param>
    /// <param name="weight">The sensitivity of the operation that reads the derived map.</param>
    public void HarmsToo(double error, double weight)
    {
        if (Rungs is null || RelativeError is not > 0) return;
        var more = harm + weight * error * error / (Weight * RelativeError.Value * RelativeError.Value);
        for (var i = 0; i < Rungs.Length; i++) Rungs[i] = Rungs[i] with { Harm = Rungs[i].Harm * more / harm };
        harm = more;
    }
}

/// <summary>
/// The elements of one storage that one or more operations saved, held once for all of them. It holds the values, or the bits of a layer
/// that needs no more, or only the shape.
/// </summary>
sealed class SavedMap : ITimedMap, IDisposable
{
    readonly MapOrigin origin;

    public SavedMap(Tensor tensor, Geometry geometry, Ledger.Account account) : this(new MapOrigin(tensor, geometry), account) { }

    /// <param name="origin">The elements; this disposes it.</param>
    /// <param name="account">The map's part of its layer in the ledger.</param>
    public SavedMap(MapOrigin origin, Ledger.Account account) => (this.origin, Account) = (origin, account);

    public StorageReference Storage => origin.Storage;

    /// <summary>The address of the storage. It identifies the storage as long as <see cref="Storage"/> is held.</summary>
    public nint Address => Storage.Address;

    /// <summary>The layout in which the map was first seen, and in which it is held.</summary>
    public Geometry Geometry => origin.Geometry;

    /// <summary>The map's part of its layer in the ledger.</summary>
    public Ledger.Account Account { get; }

    /// <summary>Whether no differentiable operation made the map. The caller may then keep it alive rightly.</summary>
    public bool IsInput => origin.IsInput;

    /// <summary>The passes of the thread that first saved the map.</summary>
    public required ThreadPass Pass { get; init; }

    /// <summary>
    /// Identifies the map among the maps of a step, by the operation that first saved it and the number of that operation's save.
    /// </summary>
    public required (Layer Layer, Operation Operation, int Number) Identity { get; init; }

    /// <summary>The layer that first saved the map.</summary>
    public Layer Layer => Identity.Layer;

    /// <summary>The line of the program that first saved the map; null where it was not looked up.</summary>
    public string? Site { get; set; }

    /// <summary>The number of saved tensors that refer to the map.</summary>
    public int Users { get; set; }

    public Holding? Values { get; set; }

    public Holding? Inside { get; set; }

    /// <summary>Whether an operation has saved the map itself, and not only a concatenation of which it is part.</summary>
    public bool IsSaved { get; set; }

    /// <summary>Whether an operation needs the signs of the map.</summary>
    public bool IsSignNeeded { get; set; }

    /// <summary>Whether the map is held more finely because other maps follow from it.</summary>
    public bool IsHeldAsSource { get; set; }

    /// <summary>Whether another map is derived from this one.</summary>
    public bool HasDerived { get; set; }

    /// <summary>The strictest need of the maps that follow from this map; null where none does.</summary>
    public Need? NeedOfDerived { get; set; }

    /// <summary>Whether the last operation that needed the map is done.</summary>
    public bool IsReleased { get; private set; }

    /// <summary>The bits for one layer's bounds; null where there are none.</summary>
    public HeldInside? BitsFor(Need need) => Bits.FirstOrDefault(bits => bits.Need == need);

    /// <summary>The bits for every layer's bounds.</summary>
    public IEnumerable<HeldInside> Bits => (Inside?.Held as HeldInside)?.All ?? [];

    /// <summary>The bytes of the map as it was saved.</summary>
    public long SavedBytes => Geometry.Elements * origin.ElementSize;

    string ITimedMap.LayerName => Layer.Name;

    TimedValues? ITimedMap.TimedValues => Values is null ? null : new(Values.Bytes, IsHeldRaw, Values.Rungs);

    long? ITimedMap.BitsBytes => Inside?.Bytes;

    /// <summary>The bytes of the map's present forms.</summary>
    public long Bytes => (Values?.Bytes ?? 0) + (Inside?.Bytes ?? 0) + Replaced.Sum(holding => holding.Bytes);

    // The forms that derived maps need to the bit, including forms that a finer one has replaced.
    readonly List<Holding> pinned = [];

    IEnumerable<Holding> Replaced => pinned.Where(holding => holding != Values);

    /// <summary>Keeps the present form of the values until the map is released, even if a finer form replaces it.</summary>
    public Holding Pin()
    {
        if (!pinned.Contains(Values!)) pinned.Add(Values!);
        return Values!;
    }

    public bool IsPinned(Holding holding) => pinned.Contains(holding);

    /// <summary>Whether the present form determines the values alone, the same to the bit each time.</summary>
    public bool CanPin =>
        Values?.Held is PackedMap or OffloadedMap or HeldRaw or HeldMask or HeldSaturating or DerivedMap { IsSettled: true }
        && !Bits.Any(bits => bits.TellsZeros);

    /// <summary>Whether unpacking makes a new tensor.</summary>
    public bool HasPackedValues => Values is not null && IsPacked(Values);

    public static bool IsPacked(Holding values) => values.Held is PackedMap or OffloadedMap or DerivedMap or HeldMask or HeldSaturating;

    public bool IsHeldRaw => Values?.Held is HeldRaw;

    /// <summary>The version counter of the storage when the map was saved.</summary>
    public long Version => origin.Version;

    /// <summary>Whether a tensor of this storage has these elements, unchanged since.</summary>
    public bool Is(Geometry other, long version) => origin.Is(other, version);

    /// <summary>Whether the present form suffices for <paramref name="need"/>.</summary>
    public bool Answers(Need need) =>
        need is Need.ShapeOnly || ValuesAnswer(need) || BitsFor(need) is not null;

    /// <summary>
    /// Whether the held values suffice. Exact zeros beside positive values suffice for a ReLU, and a raw map suffices for every need.
    /// </summary>
    public bool ValuesAnswer(Need need) => Values is not null && Values.Fineness >= need.Fineness
        && (need is not Need.Inside || IsHeldRaw || (need == Need.Sign && Values.Held.KeepsExactZeros));

    /// <summary>The consequence of the zeros of the values that an operation needs.</summary>
    public Zeros ZerosFor(Need need) =>
        Inside is null ? Sensitivity.ZerosOf(need) :
        Bits.Any(bits => bits.TellsZeros) ? Zeros.Known :
        Zeros.Decide;

    /// <summary>Rebuilds the values in row-major order of the sizes of <see cref="Geometry"/>; the caller disposes them.</summary>
    /// <param name="pinned">A pinned form of the values; null for the present form.</param>
    public Tensor Rebuild(Holding? pinned = null)
    {
        var held = (pinned ?? Values!).Held;
        var values = held.Unpack();
        if (held is not (DeferredMap or DerivedMap)) Bits.FirstOrDefault(bits => bits.TellsZeros)?.RestoreZeros(values);
        return values;
    }

    /// <summary>Whether a range of the values can be rebuilt without the rest.</summary>
    /// <param name="pinned">A pinned form of the values; null for the present form.</param>
    public bool HasRanges(Holding? pinned = null) =>
        Geometry.IsRowMajor && (pinned ?? Values) is { Held: var held } && (held is HeldRaw || held.HasRanges)
        && (held is DerivedMap || !Bits.Any(bits => bits.TellsZeros));

    /// <summary>Rebuilds a range of the values, (maps, rows, elements of a row); the caller disposes it.</summary>
    public Tensor Rebuild(MapRange range, Holding? pinned = null)
    {
        var held = (pinned ?? Values!).Held;
        if (held is not HeldRaw) return held.Unpack(range);
        using var whole = held.Unpack();
        using var part = range.Of(whole);
        return part.clone();
    }

    /// <inheritdoc cref="MapOrigin.Again"/>
    public Tensor? Original() => origin.Again();

    public void Dispose()
    {
        IsReleased = true;
        foreach (var holding in Replaced) holding.Held.Dispose();
        Values?.Held.Dispose();
        Inside?.Held.Dispose();
        origin.Dispose();
    }
}
