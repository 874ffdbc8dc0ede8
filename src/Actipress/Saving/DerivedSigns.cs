using Actipress.Encodings;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// The signs of a map that follows from held maps, such as a normalisation's result before a LeakyReLU. The map is rebuilt with errors, and
/// only the signs of elements near zero are held.
/// </summary>
sealed class DerivedSigns : HeldInside
{
    readonly Derivation derivation;
    readonly long[] sizes;
    readonly DerivedFrom from;
    readonly SignsInDoubt signs;

    DerivedSigns(SavedMap map, Derivation settled, SignsInDoubt signs, HeldInside? beside, Action<SavedMap> release)
        : base((Need.Inside)Saving.Need.Sign, beside)
    {
        (derivation, this.signs, sizes) = (settled, signs, map.Geometry.Sizes);
        from = new(settled, map, release);
    }

    /// <summary>Derives the signs of a map; null where a bit for each element would take hardly more.</summary>
    /// <param name="map">The map.</param>
    /// <param name="values">The values of the map; not disposed.</param>
    /// <param name="derivation">The derivation, for which <see cref="DerivedMap.CanBe"/> holds.</param>
    /// <param name="beside">What is held for other bounds; null for nothing.</param>
    /// <param name="release">Releases a source.</param>
    public static DerivedSigns? Of(
        SavedMap map, Tensor values, Derivation derivation, HeldInside? beside, Action<SavedMap> release)
    {
        if (!derivation.CanSettle) return null;
        using var trial = new DerivationTrial(derivation, values, map.Geometry.Sizes);
        return trial.Signs() is { } signs ? new(map, derivation.Settled(), signs, beside, release) : null;
    }

    public override string How => $"derived from {from.Layers}";

    protected override long OwnBytes => signs.Bytes + from.Bytes;

    public override Tensor Unpack()
    {
        using var values = derivation.Rebuild();
        signs.Rectify(values, MapRange.Whole(Shape, 0, Shape.Maps));
        return values.view(sizes);
    }

    internal override bool HasRanges => derivation.HasRanges(Shape);

    internal override Tensor Unpack(MapRange range)
    {
        var whole = signs.Cover(range);
        var values = derivation.Rebuild(whole);
        signs.Rectify(values, whole);
        return range.Within(whole, values);
    }

    MapShape Shape => MapShape.Of(sizes);

    public override void Dispose()
    {
        signs.Dispose();
        from.Dispose();
        base.Dispose();
    }
}
