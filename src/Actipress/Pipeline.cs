using Actipress.Autograd;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>Why a map was left as it is.</summary>
public enum LeftRaw
{
    /// <summary>It was not.</summary>
    No,

    /// <summary>It has no elements.</summary>
    Empty,

    /// <summary>It holds NaN, infinities, or numbers so large that their transform would overflow.</summary>
    NotFinite,

    /// <summary>It would not have become smaller.</summary>
    NotSmaller,

    /// <summary>The transform gathers little of its energy, and much would have been lost.</summary>
    LittleGathered,
}

/// <summary>The method on one page (paper, Section 3 and Figure 2): transform, keep the largest coefficients, encode them; and back.</summary>
public static class Pipeline
{
    // Sums of a block's values and wavelet cascades stay finite below this.
    internal const float Largest = 1e30f;

    /// <summary>Packs an activation map.</summary>
    /// <param name="map">Any floating-point type, shape, layout and device; not changed, not disposed. See <see cref="MapShape"/> for what its axes mean.</param>
    /// <param name="codec">Transform, selection and encoding.</param>
    /// <param name="why">Why nothing was packed.</param>
    /// <returns>The packed map, which the caller disposes; null where the map is better left as it is.</returns>
    public static PackedMap? Pack(Tensor map, ActivationCodec codec, out LeftRaw why) => Pack(map, codec, double.PositiveInfinity, out why);

    /// <summary>The same, unless the sample that grid storage takes on the CPU tells of a larger relative error than <paramref name="mostError"/>.</summary>
    internal static PackedMap? Pack(Tensor map, ActivationCodec codec, double mostError, out LeftRaw why)
    {
        ArgumentNullException.ThrowIfNull(map);
        ArgumentNullException.ThrowIfNull(codec);
        if (codec == ActivationCodec.None) throw new ArgumentException("The codec 'none' packs nothing; leave the map as it is.", nameof(codec));
        var shape = MapShape.Of(map.shape);
        why = LeftRaw.Empty;
        if (shape.Elements == 0) return null;

        using var gradients = no_grad();
        using var values = map.detach();
        if (codec.Encoding is Grid)
        {
            if (values.device_type == DeviceType.CPU) return Grid.Pack(values, codec, shape, mostError, out why);
            if (GridOnGpu.Covers(codec, shape) && CudaDevice.Of(values.device) is { } gpu) return GridOnGpu.Pack(gpu, values, codec, shape, out why);
            codec = codec with { Encoding = new Compact() };
        }
        if (codec is { Encoding: Quantized quantized, Transform: Identity, Keep: Keep.Everything } && values.device_type == DeviceType.CPU) return quantized.Pack(values, codec, out why);
        var (lowest, highest) = Range(values);
        why = LeftRaw.NotFinite;
        if (!(lowest >= -Largest && highest <= Largest)) return null;

        var zeros = codec.ExactZeros && lowest == 0 ? Zeros(values) : null;
        Tensor[] sections;
        using (var x = Flat(values))
        using (var coefficients = codec.Transform.Forward(x, shape))
        using (var kept = codec.Keep.Select(coefficients, shape.Elements))
            sections = codec.Encoding.Encode(kept, coefficients.NumberOfElements);

        var packed = new PackedMap(codec, map.shape, map.dtype, zeros, sections);
        why = LeftRaw.No;
        if (codec.EvenIfLarger || packed.Bytes < map.Bytes()) return packed;
        packed.Dispose();
        why = LeftRaw.NotSmaller;
        return null;
    }

    /// <summary>The map of <paramref name="packed"/>: contiguous, in its own shape and type; the caller disposes it.</summary>
    internal static Tensor Unpack(PackedMap packed)
    {
        using var gradients = no_grad();
        var (codec, shape) = (packed.Codec, MapShape.Of(packed.Shape));
        if (packed.Grid is { } grid) return Grid.Unpack(grid, packed, shape);
        if (packed.GridOnGpu is { } onGpu) return onGpu.Unpack(codec, packed.Shape, packed.Type);
        if (codec is { Encoding: Quantized quantized, Transform: Identity, Keep: Keep.Everything } && packed.Sections[0].device_type == DeviceType.CPU) return quantized.Unpack(packed);
        Tensor flat;
        using (var coefficients = codec.Encoding.Decode(packed.Sections, codec.Transform.Coefficients(shape)))
            flat = codec.Transform.Inverse(coefficients, shape);
        using var x = flat;
        if (packed.Zeros is { } zeros) RestoreZeros(x, zeros, packed.Type, codec.Encoding.Step(packed.Sections));
        return InType(x, packed.Type, packed.Shape);
    }

    // Row-major float32.
    internal static Tensor Flat(Tensor map)
    {
        using var contiguous = map.contiguous();
        using var floats = contiguous.to(float32);
        return floats.view(-1);
    }

    internal static (double Lowest, double Highest) Range(Tensor map)
    {
        var (lowest, highest) = map.aminmax();
        using (lowest)
        using (highest)
        using (var wideLowest = lowest.to(float64))
        using (var wideHighest = highest.to(float64))
            return (wideLowest.item<double>(), wideHighest.item<double>());
    }

    // After a ReLU one exact bit an element keeps the zeros, and with them the ReLU's own gradient.
    internal static Tensor Zeros(Tensor map)
    {
        using var contiguous = map.contiguous();
        using var positive = contiguous.Ne(0);
        using var flat = positive.view(-1);
        return ExactBits.ToBits(flat);
    }

    internal static void RestoreZeros(Tensor x, Tensor positiveBits, ScalarType type, float step)
    {
        x.ClampMin_(Grid.Least((float)Math.Max(finfo(type).tiny, finfo(float32).tiny), step));
        using var positive = ExactBits.FromBits(positiveBits, x.NumberOfElements);
        using var isZero = positive.logical_not_();
        x.MaskedFill_(isZero, 0);
    }

    internal static Tensor InType(Tensor x, ScalarType type, long[] shape)
    {
        if (type == ScalarType.Float16) x.Clamp_(finfo(type).min, finfo(type).max);
        using var typed = x.to(type);
        return typed.view(shape);
    }
}
