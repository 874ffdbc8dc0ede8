using Actipress.Encodings;
using static TorchSharp.torch;

namespace Actipress.Codecs;

/// <summary>The exact zeros of a ReLU's output, kept at one bit an element, which keep the ReLU's own gradient exact.</summary>
static class ExactZeros
{
    /// <summary>Packs one bit for each element, set where the element is not zero; the caller disposes the bits.</summary>
    /// <param name="map">A map without negative values; not disposed.</param>
    public static Tensor Of(Tensor map)
    {
        using var contiguous = map.contiguous();
        using var positive = contiguous.Ne(0);
        using var flat = positive.view(-1);
        return ExactBits.ToBits(flat);
    }

    /// <summary>The bytes that the bits of so many elements take.</summary>
    public static long Bytes(long elements) => (elements + 7) / 8;

    /// <summary>Restores the zeros in place, and makes all other values positive.</summary>
    /// <param name="x">Flat float32.</param>
    /// <param name="positive">The bits from <see cref="Of"/>.</param>
    /// <param name="type">The type that the map will have.</param>
    /// <param name="step">The approximate distance of stored values; 0 if unknown.</param>
    public static void Restore(Tensor x, Tensor positive, ScalarType type, float step)
    {
        x.ClampMin_(Least((float)Math.Max(finfo(type).tiny, finfo(float32).tiny), step));
        using var bits = ExactBits.FromBits(positive, x.NumberOfElements);
        using var isZero = bits.logical_not_();
        x.MaskedFill_(isZero, 0);
    }

    /// <summary>
    /// The smallest value that an element which is not zero may decode to. It lies far below one quantisation step, yet is a normal number:
    /// subnormal inputs make a convolution many times slower on Intel's processors.
    /// </summary>
    public static float Least(float smallest, float step) => Math.Max(smallest, step * (1f / (1 << 24)));
}
