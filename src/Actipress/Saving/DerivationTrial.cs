using Actipress.Encodings;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>Compares a derivation with the map that it is to give. A large map is rebuilt range by range.</summary>
sealed class DerivationTrial : IDisposable
{
    readonly Derivation derivation;
    readonly Tensor values;
    readonly long[] sizes;
    readonly bool isPlain;
    readonly Tensor? whole;

    /// <param name="derivation">The derivation of the map, or of the argument of the ReLU whose result the map is.</param>
    /// <param name="values">The values of the map; not disposed.</param>
    /// <param name="sizes">The sizes of the map.</param>
    public DerivationTrial(Derivation derivation, Tensor values, long[] sizes)
    {
        (this.derivation, this.values, this.sizes) = (derivation, values, sizes);
        isPlain = values.device_type == DeviceType.CPU && values.dtype == ScalarType.Float32 && values.is_contiguous();
        var shape = MapShape.Of(sizes);
        var byRanges = isPlain && shape.Elements > Strips.PieceElements && derivation.HasRanges(shape);
        whole = byRanges ? null : derivation.Rebuild();
        MapRange[] ranges = byRanges ? [.. new Strips(shape).Samples()] : [MapRange.Whole(shape, 0, shape.Maps)];
        Sample = RebuiltSample.Of(values, ranges, Rebuilt);
    }

    /// <summary>A sample of the map and of the rebuilt values.</summary>
    public RebuiltSample Sample { get; }

    /// <summary>The signs of the map, beside a derivation that is settled; null where bits would take hardly more.</summary>
    public SignsInDoubt? Signs() => isPlain && derivation.CanSettle ? SignsInDoubt.Pack(values, Sample, Rebuilt) : null;

    public void Dispose() => whole?.Dispose();

    Tensor Rebuilt(MapRange range)
    {
        if (whole is null) return derivation.Rebuild(range);
        using var row = whole.view(sizes);
        return range.Of(row);
    }
}
