using Actipress.Encodings;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// The values of a map that follow from held maps, with exact signs where these are held beside. The held maps and the numbers of the
/// derivation live as long as this.
/// </summary>
sealed class DerivedValues : IDisposable
{
    readonly Derivation derivation;
    readonly SignsInDoubt? signs;
    readonly long[] sizes;
    readonly SavedMap[] sources, rectified;
    readonly NormalisationNumbers[] numbers;
    readonly Action<SavedMap> release;
    bool disposed;

    /// <param name="map">The map that is derived.</param>
    /// <param name="derivation">The derivation of the values; with signs it is settled, and the values are a ReLU's of it.</param>
    /// <param name="signs">The signs; disposed with this, null for none.</param>
    /// <param name="release">Releases a held map.</param>
    public DerivedValues(SavedMap map, Derivation derivation, SignsInDoubt? signs, Action<SavedMap> release)
    {
        (this.derivation, this.signs, this.release, sizes) = (derivation, signs, release, map.Geometry.Sizes);
        (sources, numbers) = ([.. derivation.Sources], [.. derivation.Numbers]);
        rectified = [.. derivation.Rectified.Where(other => other != map)];
        foreach (var one in numbers) one.Share();
        foreach (var source in sources.Concat(rectified)) source.Users++;
    }

    /// <summary>The maps whose values are needed.</summary>
    public IReadOnlyList<SavedMap> Sources => sources;

    /// <summary>The layers of the sources, as the report names them.</summary>
    public string Layers => string.Join(" and ", sources.Select(source => source.Layer.Name).Distinct());

    /// <summary>Whether exact signs are held.</summary>
    public bool HasSigns => signs is not null;

    /// <summary>The bytes of the signs, the numbers and the references.</summary>
    public long Bytes => (signs?.Bytes ?? 0) + (sources.Length + rectified.Length) * sizeof(long) + numbers.Sum(one => one.Bytes);

    /// <summary>Whether a range can be rebuilt without the rest.</summary>
    public bool HasRanges => derivation.HasRanges(Shape);

    MapShape Shape => MapShape.Of(sizes);

    /// <summary>Rebuilds the values, which the caller disposes.</summary>
    public Tensor Unpack()
    {
        using var values = derivation.Rebuild();
        signs?.Rectify(values, MapRange.Whole(Shape, 0, Shape.Maps));
        return values.view(sizes);
    }

    /// <summary>Rebuilds a range of the values, which the caller disposes.</summary>
    public Tensor Unpack(MapRange range)
    {
        if (signs is null) return derivation.Rebuild(range);
        var whole = signs.Cover(range);
        var values = derivation.Rebuild(whole);
        signs.Rectify(values, whole);
        return range.Within(whole, values);
    }

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        signs?.Dispose();
        foreach (var one in numbers) one.Dispose();
        foreach (var source in sources.Concat(rectified)) release(source);
    }
}
