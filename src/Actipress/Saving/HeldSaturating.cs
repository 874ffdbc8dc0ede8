using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// A map of values between -1 and 1, such as probabilities or results of tanh, in 16 bits each. A value up to a half is held as bfloat16,
/// and a larger one as its distance d from 1 or -1, so that both have bfloat16's relative error. A distance is held as 2^-64 d with the
/// sign of the value, which no value of the first kind is small enough for.
/// </summary>
sealed class HeldSaturating : Packed
{
    /// <summary>How it is held, in the words of the report.</summary>
    public const string How = "bf16 (saturating)";

    // The number of elements that are converted at a time, so that no temporary tensor is as large as the map.
    const long Some = 1 << 20;

    const double Half = 0.5;

    // A distance of 0 is held as the least one, which is lost beside 1.
    static readonly double scale = Math.ScaleB(1, 64), least = Math.ScaleB(1, -125), mostOfDistances = Math.ScaleB(1, -65);

    // Values up to this are held as 0, so that none is rounded to a distance.
    static readonly double tiny = 2 * mostOfDistances;

    readonly Tensor held;
    readonly long[] shape;
    readonly ScalarType type;
    readonly Device device;

    HeldSaturating(Tensor held, Tensor values) =>
        (this.held, shape, type, device) = (held, values.shape, values.dtype, values.device);

    /// <summary>Packs a map; null where it has values beyond 1 or -1, or a type that 16 bits would not make smaller.</summary>
    /// <param name="values">The map; not disposed.</param>
    /// <param name="elsewhere">The device that holds the 16 bits; null for the map's own.</param>
    public static HeldSaturating? Pack(Tensor values, Device? elsewhere = null)
    {
        if (values.dtype is not (ScalarType.Float32 or ScalarType.Float64) || values.NumberOfElements == 0) return null;
        var (lowest, highest) = ValueRange.Of(values);
        if (!(lowest >= -1 && highest <= 1)) return null;
        using var untracked = no_grad();
        using Tensor detached = values.detach(), flat = detached.reshape(-1);
        var held = empty([flat.NumberOfElements], bfloat16, elsewhere ?? values.device).DetachFromDisposeScope();
        ForEach(flat, held, (some, to) =>
        {
            using Tensor sizes = some.abs(), isFar = sizes.Le(Half), isTiny = sizes.Le(tiny);
            using var distances = sizes.Mul_(-1).Add_(1).Mul_(1 / scale).ClampMin_(least);
            using Tensor signed = distances.copysign(some), own = where(isFar, some, signed);
            to.copy_(own.MaskedFill_(isTiny, 0));
        });
        return new(held, values);
    }

    public override long Bytes => held.Bytes();

    public override Tensor Unpack() => Rebuild(held, shape);

    internal override bool HasRanges => true;

    internal override Tensor Unpack(MapRange range)
    {
        using Tensor whole = held.view(shape), part = range.Of(whole), own = part.contiguous(), flat = own.view(-1);
        return Rebuild(flat, part.shape);
    }

    Tensor Rebuild(Tensor some, long[] sizes)
    {
        using var untracked = no_grad();
        using var flat = empty([some.NumberOfElements], type, device);
        ForEach(flat, some, (to, from) =>
        {
            using Tensor own = from.to(type, device), magnitudes = own.abs(), isZero = magnitudes.Eq(0);
            using Tensor isSmall = magnitudes.Le(mostOfDistances), isFar = isSmall.logical_not_().logical_or_(isZero);
            using Tensor values = magnitudes.Mul_(-scale).Add_(1).copysign(own), all = where(isFar, own, values);
            to.copy_(all);
        });
        return flat.view(sizes);
    }

    static void ForEach(Tensor values, Tensor held, Action<Tensor, Tensor> act)
    {
        for (long first = 0; first < values.NumberOfElements; first += Some)
        {
            var count = Math.Min(Some, values.NumberOfElements - first);
            using Tensor some = values.narrow(0, first, count), own = held.narrow(0, first, count);
            act(some, own);
        }
    }

    public override void Dispose() => held.Dispose();
}
