using Actipress.Codecs;
using Actipress.Grid.Tiles;
using ILGPU;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// Loads and stores a map's numbers on a GPU, as <see cref="IGridCells"/> does on the CPU. Conversions use integer arithmetic, which is the
/// same on every device.
/// </summary>
static class GpuCells
{
    const int Single = (int)ScalarType.Float32, Double = (int)ScalarType.Float64, Half = (int)ScalarType.Float16;

    const uint SignBit = 0x80000000, Infinity = 0x7F800000;

    /// <summary>See <see cref="ExactZeros.Least"/>.</summary>
    public static float Least(int type, float step) => ExactZeros.Least(type == Half ? HalfCells.Smallest : SingleCells.Smallest, step);

    public static float Load(ArrayView<byte> map, int type, long at)
    {
        if (type == Single) return map.Cast<float>()[at];
        if (type == Double) return OfDouble(map.Cast<double>()[at]);
        uint bits = map.Cast<ushort>()[at];
        return type == Half ? OfHalf(bits) : Interop.IntAsFloat(bits << 16);
    }

    public static void Store(ArrayView<byte> map, int type, long at, float value)
    {
        if (type == Single) map.Cast<float>()[at] = value;
        else if (type == Double) map.Cast<double>()[at] = value;
        else map.Cast<ushort>()[at] = type == Half ? ToHalf(value) : ToBFloat16(value);
    }

    // A number that is too small for a float becomes the smallest float of its sign, not zero.
    internal static float OfDouble(double value)
    {
        var single = (float)value;
        return single == 0 && value != 0 ? Interop.IntAsFloat(value < 0 ? SignBit | 1 : 1) : single;
    }

    internal static float OfHalf(uint bits)
    {
        var (sign, exponent, fraction) = ((bits & 0x8000) << 16, bits >> 10 & 0x1F, bits & 0x3FF);
        if (exponent == 0x1F) return Interop.IntAsFloat(sign | Infinity | fraction << 13);
        if (exponent != 0) return Interop.IntAsFloat(sign | exponent + 112 << 23 | fraction << 13);
        var magnitude = fraction * (1f / (1 << 24));
        return sign != 0 ? -magnitude : magnitude;
    }

    // The value is clamped to the type's range and rounded to nearest, ties to even.
    internal static ushort ToHalf(float value)
    {
        var bits = Interop.FloatAsInt(value);
        var (sign, magnitude) = (bits >> 16 & 0x8000, bits & ~SignBit);
        if (magnitude > 0x477FE000) return (ushort)(sign | 0x7BFF);
        if (magnitude < 0x38800000)
        {
            // The half is subnormal. Adding 0.5 puts its number of units of 2^-24 into the lowest bits.
            var units = Interop.FloatAsInt(Interop.IntAsFloat(magnitude) + 0.5f) - 0x3F000000;
            return (ushort)(sign | units);
        }
        return (ushort)(sign | magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1) >> 13);
    }

    internal static ushort ToBFloat16(float value)
    {
        var bits = Interop.FloatAsInt(value);
        return (ushort)(bits + 0x7FFF + (bits >> 16 & 1) >> 16);
    }
}
