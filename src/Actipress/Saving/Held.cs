using System.Numerics;
using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>A map kept as it is, with libtorch's own protection against changes in place.</summary>
/// <param name="saved">The map; not disposed.</param>
sealed class HeldRaw(Tensor saved) : Packed
{
    readonly UnchangedTensor tensor = new(saved);

    public override long Bytes => tensor.Bytes;

    public override Tensor Unpack() => tensor.Again();

    public override void Dispose() => tensor.Dispose();
}

/// <summary>A tensor kept on another device.</summary>
sealed class HeldElsewhere : Packed
{
    readonly Tensor tensor;
    readonly Device device;

    public HeldElsewhere(Tensor saved, Device elsewhere)
    {
        device = saved.device;
        tensor = saved.to(elsewhere, copy: true);
        tensor.DetachFromDisposeScope();
    }

    public override long Bytes => tensor.Bytes();

    public override Tensor Unpack()
    {
        using var back = tensor.to(device);
        return back.contiguous();
    }

    public override void Dispose() => tensor.Dispose();
}

/// <summary>A dropout's mask of floating-point numbers: zeros and one other value.</summary>
sealed class HeldMask : Packed
{
    readonly Packed bits;
    readonly double value;
    readonly ScalarType type;

    HeldMask(Packed bits, double value, ScalarType type) => (this.bits, this.value, this.type) = (bits, value, type);

    /// <summary>The mask in <paramref name="tensor"/>, or null where it holds more than zeros and one other value.</summary>
    public static HeldMask? Pack(Tensor tensor)
    {
        if (tensor.device_type == DeviceType.CPU && tensor.dtype == ScalarType.Float32 && tensor.is_contiguous())
            return OtherThanZero(tensor.Elements<float>()) is var other && other >= 0 && other <= float.MaxValue
                ? new HeldMask(ExactBits.PackInside(tensor, 0, float.PositiveInfinity), other, tensor.dtype) : null;
        using var scope = NewDisposeScope();
        var flat = tensor.reshape(-1);
        // Real maps are recognised by a few of their elements.
        var sample = flat.narrow(0, 0, Math.Min(64, flat.NumberOfElements)).to(ScalarType.Float64).data<double>().ToArray();
        if (sample.Where(x => x != 0).Distinct().Count() > 1) return null;
        var value = flat.max();
        var inside = flat.Ne(0);
        using (var expected = inside.to(tensor.dtype))
        using (var difference = expected.mul_(value).sub_(flat))
            if (difference.count_nonzero().item<long>() != 0) return null;
        return new HeldMask(ExactBits.Pack(inside.view(tensor.shape)), value.to(ScalarType.Float64).item<double>(), tensor.dtype);
    }

    // Returns the one value beside zeros; it is not finite where there is another value. Real maps are recognised by their first elements.
    static float OtherThanZero(ReadOnlySpan<float> values)
    {
        var start = values.IndexOfAnyExcept(0f);
        if (start < 0) return 0;
        var (other, at) = (values[start], start);
        for (var others = new Vector<float>(other); at <= values.Length - Vector<float>.Count; at += Vector<float>.Count)
        {
            var x = new Vector<float>(values[at..]);
            if (!Vector.EqualsAll(Vector.Equals(x, others) | Vector.Equals(x, Vector<float>.Zero), Vector<int>.AllBitsSet))
                return float.NaN;
        }
        for (; at < values.Length; at++) if (values[at] != other && values[at] != 0) return float.NaN;
        return other;
    }

    public override long Bytes => bits.Bytes;

    public override Tensor Unpack()
    {
        if (bits is ExactBits { IsOnCpu: true } onCpu && type == ScalarType.Float32) return onCpu.UnpackAs((float)value, 0);
        using var inside = bits.Unpack();
        return inside.to(type).Mul_(value);
    }

    public override void Dispose() => bits.Dispose();
}

/// <summary>
/// Exactly which elements of a map lie inside the bounds that a layer needs. Unpacking gives a map from which the layer's backward pass
/// computes the exact gradient.
/// </summary>
/// <param name="need">The bounds.</param>
/// <param name="beside">What is held for layers of other bounds, disposed with this; null for none.</param>
abstract class HeldInside(Need.Inside need, HeldInside? beside) : Packed
{
    public Need.Inside Need => need;

    /// <summary>What is held for each layer with other bounds, beginning with this.</summary>
    public IEnumerable<HeldInside> All => beside is null ? [this] : beside.All.Prepend(this);

    /// <summary>How it is held, in the words of the report.</summary>
    public abstract string How { get; }

    /// <summary>
    /// Whether every element that is not inside is either zero or at the upper bound, far above it, as after a ReLU6 in place.
    /// </summary>
    public virtual bool TellsZeros => false;

    /// <summary>The bytes held for these bounds.</summary>
    protected abstract long OwnBytes { get; }

    public sealed override long Bytes => OwnBytes + (beside?.Bytes ?? 0);

    /// <summary>Writes the exact zeros into the rebuilt values of the map, where <see cref="TellsZeros"/>.</summary>
    public virtual void RestoreZeros(Tensor values) => throw new InvalidOperationException($"{GetType().Name} tells no zeros.");

    /// <summary>Computes a ReLU's result from its argument, which was rebuilt with errors. The held signs tell the exact zeros.</summary>
    public virtual void Rectify(Tensor values)
    {
        values.ClampMin_(0);
        using var above = Unpack();
        using var zeros = above.Eq(0);
        values.MaskedFill_(zeros, 0);
    }

    public override void Dispose() => beside?.Dispose();
}

/// <summary>One bit an element: whether it lies inside the bounds.</summary>
sealed class HeldBits(ExactBits bits, Need.Inside need, ScalarType type, bool tellsZeros, HeldInside? beside) : HeldInside(need, beside)
{
    public override string How => "signs";

    public override bool TellsZeros => tellsZeros;

    /// <param name="map">The map; not disposed.</param>
    /// <param name="need">The bounds.</param>
    /// <param name="beside">The bits for layers of other bounds, disposed with these bits; null for none.</param>
    public static HeldBits Pack(Tensor map, Need.Inside need, HeldInside? beside)
    {
        var tellsZeros = need is { Low: 0, High: < double.PositiveInfinity } && ValueRange.Of(map).Lowest >= 0;
        if (map.device_type == DeviceType.CPU && map.dtype == ScalarType.Float32 && map.is_contiguous())
            return new(ExactBits.PackInside(map, (float)need.Low, (float)need.High), need, map.dtype, tellsZeros, beside);
        using var inside = need.Bits(map);
        return new(ExactBits.Pack(inside), need, map.dtype, tellsZeros, beside);
    }

    protected override long OwnBytes => bits.Bytes;

    public override Tensor Unpack()
    {
        if (bits.IsOnCpu && type == ScalarType.Float32) return bits.UnpackAs((float)Need.Representative, (float)Need.Low);
        using var inside = bits.Unpack();
        var map = inside.to(type);
        if (Need.Representative - Need.Low != 1) map.Mul_(Need.Representative - Need.Low);
        if (Need.Low != 0) map.Add_(Need.Low);
        return map;
    }

    internal override bool HasRanges => bits.IsOnCpu && type == ScalarType.Float32;

    internal override Tensor Unpack(MapRange range) => bits.UnpackAs((float)Need.Representative, (float)Need.Low, range);

    public override void RestoreZeros(Tensor values)
    {
        if (bits.IsOnCpu && values.dtype == ScalarType.Float32 && values.is_contiguous())
        {
            bits.ZeroUnset(values, (float)Need.Representative);
            return;
        }
        using var inside = bits.Unpack();
        using var high = values.Gt(Need.Representative);
        using var zeros = inside.logical_or_(high).logical_not_();
        values.MaskedFill_(zeros, 0);
    }

    public override void Rectify(Tensor values)
    {
        if (bits.IsOnCpu && values.dtype == ScalarType.Float32) bits.ZeroUnset(values, float.PositiveInfinity, lowest: 0);
        else base.Rectify(values);
    }

    public override void Dispose()
    {
        bits.Dispose();
        base.Dispose();
    }
}
