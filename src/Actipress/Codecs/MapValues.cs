using static TorchSharp.torch;

namespace Actipress.Codecs;

/// <summary>A map's values on their way into a transform and back.</summary>
static class MapValues
{
    /// <summary>Sums of a block's values and wavelet cascades stay finite below this.</summary>
    public const float Largest = 1e30f;

    /// <summary>Whether all values are numbers of which sums stay finite, and whether they are zeros and positive ones.</summary>
    public static bool IsUsable(Tensor map, out bool isPositive, out LeftRaw why)
    {
        var (lowest, highest) = Range(map);
        isPositive = lowest == 0;
        var isUsable = lowest >= -Largest && highest <= Largest;
        why = isUsable ? LeftRaw.No : LeftRaw.NotFinite;
        return isUsable;
    }

    /// <summary>The least and the most value; NaN where the map has one.</summary>
    public static (double Lowest, double Highest) Range(Tensor map)
    {
        var (lowest, highest) = map.aminmax();
        using (lowest)
        using (highest)
        using (var wideLowest = lowest.to(float64))
        using (var wideHighest = highest.to(float64))
            return (wideLowest.item<double>(), wideHighest.item<double>());
    }

    /// <summary>Row-major float32.</summary>
    public static Tensor Flat(Tensor map)
    {
        using var contiguous = map.contiguous();
        using var floats = contiguous.to(float32);
        return floats.view(-1);
    }

    /// <summary>In the map's own type and shape.</summary>
    public static Tensor InType(Tensor x, MapHeader header)
    {
        if (header.Type == ScalarType.Float16) x.Clamp_(finfo(header.Type).min, finfo(header.Type).max);
        using var typed = x.to(header.Type);
        return typed.view(header.Extents);
    }
}
