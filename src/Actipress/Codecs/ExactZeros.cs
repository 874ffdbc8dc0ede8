using Actipress.Encodings;
using static TorchSharp.torch;

namespace Actipress.Codecs;

/// <summary>The zeros that a ReLU leaves, kept exactly at one bit an element, and with them the ReLU's own gradient.</summary>
static class ExactZeros
{
    /// <summary>One bit for each element, set where it is not zero; the caller disposes it.</summary>
    /// <param name="map">Without negatives; not disposed.</param>
    public static Tensor Of(Tensor map)
    {
        using var contiguous = map.contiguous();
        using var positive = contiguous.Ne(0);
        using var flat = positive.view(-1);
        return ExactBits.ToBits(flat);
    }

    /// <summary>Makes zero in place what was zero, and everything else positive.</summary>
    /// <param name="x">Flat float32.</param>
    /// <param name="positive">What <see cref="Of"/> gave.</param>
    /// <param name="type">The type that the map will have.</param>
    /// <param name="step">About how far stored values are from each other; 0 if unknown.</param>
    public static void Restore(Tensor x, Tensor positive, ScalarType type, float step)
    {
        x.ClampMin_(Least((float)Math.Max(finfo(type).tiny, finfo(float32).tiny), step));
        using var bits = ExactBits.FromBits(positive, x.NumberOfElements);
        using var isZero = bits.logical_not_();
        x.MaskedFill_(isZero, 0);
    }

    /// <summary>
    /// What a value is raised to that the map's own zeros must be told from: lost in rounding beside a step, yet no number near the smallest.
    /// With those a convolution's sums would fall below them, where processors are many times slower.
    /// </summary>
    public static float Least(float smallest, float step) => Math.Max(smallest, step * (1f / (1 << 24)));
}
