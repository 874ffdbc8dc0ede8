using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>How much harm an error in a saved map does, by what the map is.</summary>
/// <remarks>
/// A vector has no neighbouring values for a transform to gather, and its layer's gradient has no sum over places in which errors
/// cancel: it gets 8-bit quantisation. Inputs of normalisation layers, whose error enters the gradient of everything before them, are
/// smoother than the clipped maps that convolutions save, so that the same ratio gives them finer steps by itself. Halving their ratio
/// beyond that was measured on a ResNet-20 and buys less than a lower ratio everywhere (experiments/resnet20-fidelity).
/// </remarks>
static class Sensitivity
{
    const double OfNormalisation = 4;

    public static ActivationCodec Adapt(ActivationCodec codec, Tensor map) =>
        codec.Keep is Keep.TopK { Ratio: > 1 } && map.dim() <= 2 ? ActivationCodec.Quantized(8) : codec;

    /// <summary>How much an error in a map of this layer counts against one of the same relative size elsewhere.</summary>
    public static double Weight(Layer layer) => Normalises(layer) ? OfNormalisation : 1;

    /// <summary>What a mean squared error in a map of this layer is measured by: its mean square, or its variance where the layer takes the mean away.</summary>
    public static double Energy(Tensor map, Layer layer)
    {
        using var wide = map.to(float64);
        using var squares = wide.mul(wide);
        using var meanSquare = squares.mean();
        using var mean = wide.mean();
        var energy = meanSquare.item<double>() - (Normalises(layer) ? Math.Pow(mean.item<double>(), 2) : 0);
        return energy > 0 ? energy : 1;
    }

    static bool Normalises(Layer layer) => layer.Module is
        BatchNorm1d or BatchNorm2d or BatchNorm3d or InstanceNorm1d or InstanceNorm2d or InstanceNorm3d or LayerNorm or GroupNorm;
}
