using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Codecs;

/// <summary>Prepares a map's values for a transform, and converts them back.</summary>
static class MapValues
{
    /// <summary>The largest magnitude with which sums over a block and wavelet cascades stay finite.</summary>
    public const float Largest = 1e30f;

    /// <summary>Whether sums of the values stay finite, and whether the map has zeros and no negative values.</summary>
    public static bool IsUsable(Tensor map, out bool isPositive, out LeftRaw why)
    {
        var (lowest, highest) = ValueRange.Of(map);
        isPositive = lowest == 0;
        var isUsable = lowest >= -Largest && highest <= Largest;
        why = isUsable ? LeftRaw.No : LeftRaw.NotFinite;
        return isUsable;
    }

    /// <summary>The values as row-major float32.</summary>
    public static Tensor Flat(Tensor map)
    {
        using var contiguous = map.contiguous();
        using var floats = contiguous.to(float32);
        return floats.view(-1);
    }

    /// <summary>The values in the map's own type and shape.</summary>
    public static Tensor InType(Tensor x, MapHeader header)
    {
        if (header.Type == ScalarType.Float16) x.Clamp_(finfo(header.Type).min, finfo(header.Type).max);
        using var typed = x.to(header.Type);
        return typed.view(header.Extents);
    }
}
