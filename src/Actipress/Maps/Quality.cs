using static TorchSharp.torch;

namespace Actipress;

/// <summary>Measures of the error of a rebuilt map.</summary>
static class Quality
{
    /// <summary>Mean squared error (paper, equation 29).</summary>
    /// <param name="original">Any shape; not disposed.</param>
    /// <param name="rebuilt">The same shape; not disposed.</param>
    public static double Mse(Tensor original, Tensor rebuilt)
    {
        ArgumentNullException.ThrowIfNull(original);
        ArgumentNullException.ThrowIfNull(rebuilt);
        using var gradients = no_grad();
        using var wide = original.to(float64);
        using var difference = wide.sub(rebuilt);
        using var squares = difference.mul_(difference);
        using var mean = squares.mean();
        return mean.item<double>();
    }

    /// <summary>Peak signal-to-noise ratio in dB: 10 log10(peak^2 / MSE) (paper, equation 30). Infinite for equal tensors.</summary>
    /// <param name="original">Any shape; not disposed.</param>
    /// <param name="rebuilt">The same shape; not disposed.</param>
    /// <param name="peak">The largest possible value, such as 255 for pictures; by default the original's largest magnitude.</param>
    public static double Psnr(Tensor original, Tensor rebuilt, double? peak = null)
    {
        var mse = Mse(original, rebuilt);
        if (peak is null)
        {
            using var magnitudes = original.abs();
            using var largest = magnitudes.max();
            using var wide = largest.to(float64);
            peak = wide.item<double>();
        }
        return 10 * Math.Log10(peak.Value * peak.Value / mse);
    }
}
