using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Maps;

namespace Actipress.Saving;

/// <summary>Something held in a map's place, and how a report calls it.</summary>
sealed record Holding(Packed Held, string How)
{
    public long Bytes { get; } = Held.Bytes;

    /// <summary>How finely it holds the values.</summary>
    public Fineness Fineness { get; init; } = Fineness.Exact;

    /// <summary>The norm of its error by the map's; null where that is not known, or nothing.</summary>
    public double? RelativeError => Held is DerivedMap derived ? derived.RelativeError : (Held as PackedMap)?.RelativeError;

    /// <summary>As the ledger sees it.</summary>
    public Entry Entry => new(Bytes, How, RelativeError);

    /// <summary>What other codecs would make of the map, where a budget asked.</summary>
    public IReadOnlyList<Rung>? Rungs { get; init; }
}

/// <summary>
/// The elements of one storage that one or more operations saved, held once for all of them: its values, the bits of a layer that
/// needs no more, or nothing but the shape.
/// </summary>
sealed class SavedMap : ITimedMap, IDisposable
{
    readonly Geometry geometry;
    readonly WeakTensor original;
    readonly long version, elementSize;

    public SavedMap(Tensor tensor, Geometry geometry, Ledger.Account account)
    {
        (this.geometry, Account, Storage) = (geometry, account, StorageReference.Of(tensor));
        (version, elementSize, IsInput) = (LibTorch.Version(tensor), tensor.ElementSize, LibTorch.IsLeaf(tensor));
        original = new WeakTensor(tensor, Storage);
    }

    public StorageReference Storage { get; }

    /// <summary>The storage's address, which stands for it as long as <see cref="Storage"/> is held.</summary>
    public nint Address => Storage.Address;

    /// <summary>The layout in which the map was first seen, and in which it is held.</summary>
    public Geometry Geometry => geometry;

    /// <summary>The part of its layer in the ledger.</summary>
    public Ledger.Account Account { get; }

    /// <summary>Whether no differentiable operation made it: it may be the caller's, who keeps it alive rightly.</summary>
    public bool IsInput { get; }

    /// <summary>The passes of the thread that saved it first.</summary>
    public required ThreadPass Pass { get; init; }

    /// <summary>Which of the maps of a step it is, by who saved it first and for the so-manieth time.</summary>
    public required (Layer Layer, Operation Operation, int Number) Identity { get; init; }

    /// <summary>The layer that saved it first.</summary>
    public Layer Layer => Identity.Layer;

    /// <summary>How many saved tensors stand on it.</summary>
    public int Users { get; set; }

    public Holding? Values { get; set; }

    public Holding? Inside { get; set; }

    /// <summary>Whether it is held more finely, for others follow from it.</summary>
    public bool IsHeldAsSource { get; set; }

    /// <summary>Whether another map is derived from this one.</summary>
    public bool HasDerived { get; set; }

    /// <summary>The strictest need of the maps that follow from this one; null where none does.</summary>
    public Need? NeedOfDerived { get; set; }

    /// <summary>Whether the last operation that needed it is done.</summary>
    public bool IsReleased { get; private set; }

    /// <summary>The bits of one layer's bounds; null where there are none.</summary>
    public HeldInside? BitsFor(Need need) => Bits.FirstOrDefault(bits => bits.Need == need);

    /// <summary>The bits of every layer's bounds.</summary>
    public IEnumerable<HeldInside> Bits => (Inside?.Held as HeldInside)?.All ?? [];

    /// <summary>Bytes of the map as it was saved.</summary>
    public long SavedBytes => geometry.Elements * elementSize;

    string ITimedMap.LayerName => Layer.Name;

    TimedValues? ITimedMap.TimedValues => Values is null ? null : new(Values.Bytes, IsHeldRaw, Values.Rungs);

    long? ITimedMap.BitsBytes => Inside?.Bytes;

    /// <summary>Bytes held in its place.</summary>
    public long Bytes => (Values?.Bytes ?? 0) + (Inside?.Bytes ?? 0) + Replaced.Sum(holding => holding.Bytes);

    // How its values are held, or were before finer ones took their place, where maps that are derived of it need them to the bit.
    readonly List<Holding> pinned = [];

    IEnumerable<Holding> Replaced => pinned.Where(holding => holding != Values);

    /// <summary>Keeps how its values are held now until the map is released, whatever finer takes their place.</summary>
    public Holding Pin()
    {
        if (!pinned.Contains(Values!)) pinned.Add(Values!);
        return Values!;
    }

    public bool IsPinned(Holding holding) => pinned.Contains(holding);

    /// <summary>Whether what is held tells the values by itself, the same to the bit each time.</summary>
    public bool CanPin =>
        Values?.Held is PackedMap or OffloadedMap or HeldRaw or HeldMask or DerivedMap { KeepsExactZeros: true }
        && !Bits.Any(bits => bits.TellsZeros);

    /// <summary>Whether its values are rebuilt into a tensor of their own.</summary>
    public bool HasPackedValues => Values is not null && IsPacked(Values);

    public static bool IsPacked(Holding values) => values.Held is PackedMap or OffloadedMap or DerivedMap or HeldMask;

    public bool IsHeldRaw => Values?.Held is HeldRaw;

    /// <summary>How often the storage had been changed in place when the map was saved.</summary>
    public long Version => version;

    /// <summary>Whether a tensor of this storage is these very elements, unchanged since.</summary>
    public bool Is(Geometry other, long otherVersion) => version == otherVersion && geometry.SameElements(other);

    /// <summary>Whether what is held answers <paramref name="need"/>.</summary>
    public bool Answers(Need need) =>
        need is Need.ShapeOnly || ValuesAnswer(need) || BitsFor(need) is not null;

    /// <summary>
    /// Whether the values that are held do: exact zeros beside positive values tell a ReLU all, a raw map tells everything.
    /// </summary>
    public bool ValuesAnswer(Need need) => Values is not null && Values.Fineness >= need.Fineness
        && (need is not Need.Inside || IsHeldRaw || (need == Need.Sign && Values.Held.KeepsExactZeros));

    /// <summary>What hangs on the zeros of the values that an operation asks for.</summary>
    public Zeros ZerosFor(Need need) =>
        Inside is null ? Sensitivity.ZerosOf(need) :
        Bits.Any(bits => bits.TellsZeros) ? Zeros.Known :
        Zeros.Decide;

    /// <summary>The values in row-major order of <see cref="Geometry"/>'s sizes, for the caller to dispose.</summary>
    /// <param name="pinned">How they were held at some time; null for now.</param>
    public Tensor Rebuild(Holding? pinned = null)
    {
        var held = (pinned ?? Values!).Held;
        var values = held.Unpack();
        if (held is not (DeferredMap or DerivedMap)) Bits.FirstOrDefault(bits => bits.TellsZeros)?.RestoreZeros(values);
        return values;
    }

    /// <summary>Whether a range of the values can be rebuilt without the rest.</summary>
    /// <param name="pinned">How they were held at some time; null for now.</param>
    public bool HasRanges(Holding? pinned = null) =>
        geometry.IsRowMajor && (pinned ?? Values) is { Held: var held } && (held is HeldRaw || held.HasRanges)
        && (held is DerivedMap || !Bits.Any(bits => bits.TellsZeros));

    /// <summary>A range of the values, (maps, rows, elements of a row), for the caller to dispose.</summary>
    public Tensor Rebuild(MapRange range, Holding? pinned = null)
    {
        var held = (pinned ?? Values!).Held;
        if (held is not HeldRaw) return held.Unpack(range);
        using var whole = held.Unpack();
        using var part = range.Of(whole);
        return part.clone();
    }

    /// <summary>
    /// The map itself in the layout in which it is held, for the caller to dispose, where something else keeps it alive and has not changed
    /// it; else null.
    /// </summary>
    public Tensor? Original()
    {
        using var again = original.Again();
        return again?.as_strided(geometry.Sizes, geometry.Strides, geometry.Offset);
    }

    public void Dispose()
    {
        IsReleased = true;
        original.Dispose();
        foreach (var holding in Replaced) holding.Held.Dispose();
        Values?.Held.Dispose();
        Inside?.Held.Dispose();
        Storage.Dispose();
    }
}
