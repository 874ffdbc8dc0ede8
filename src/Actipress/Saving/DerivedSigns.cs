using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// The signs of a map that follows from held maps, such as a normalisation's result before a LeakyReLU. The map is rebuilt with errors, and
/// only the signs of elements near zero are held.
/// </summary>
sealed class DerivedSigns : HeldInside
{
    readonly DerivedValues values;

    DerivedSigns(DerivedValues values, HeldInside? beside) : base((Need.Inside)Saving.Need.Sign, beside) => this.values = values;

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
        return trial.Signs() is { } signs ? new(new(map, derivation.Settled(), signs, release), beside) : null;
    }

    public override string How => $"derived from {values.Layers}";

    protected override long OwnBytes => values.Bytes;

    public override Tensor Unpack() => values.Unpack();

    internal override bool HasRanges => values.HasRanges;

    internal override Tensor Unpack(MapRange range) => values.Unpack(range);

    public override void Dispose()
    {
        values.Dispose();
        base.Dispose();
    }
}
