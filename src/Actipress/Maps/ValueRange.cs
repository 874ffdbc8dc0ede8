using static TorchSharp.torch;

namespace Actipress.Maps;

/// <summary>The range of a tensor's values.</summary>
static class ValueRange
{
    /// <summary>The lowest and the highest value; NaN where the tensor has a NaN. It must not be empty.</summary>
    public static (double Lowest, double Highest) Of(Tensor values)
    {
        var (lowest, highest) = values.aminmax();
        using (lowest)
        using (highest)
        using (var wideLowest = lowest.to(float64))
        using (var wideHighest = highest.to(float64))
            return (wideLowest.item<double>(), wideHighest.item<double>());
    }
}
