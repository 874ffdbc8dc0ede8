using TorchSharp.Modules;

namespace Actipress;

/// <summary>How much harm an error in a saved map does, by the kind of layer that saved it.</summary>
/// <remarks>
/// A convolution's or linear layer's saved input enters its own weight's gradient only; that of a normalisation enters the gradient
/// of everything before it. A vector has no neighbouring values for a transform to gather.
/// </remarks>
static class Sensitivity
{
    const double FinerForNormalisation = 2;

    public static ActivationCodec Adapt(ActivationCodec codec, Layer layer, Tensor map)
    {
        if (codec.Keep is not Keep.TopK { Ratio: > 1 } keep) return codec;
        if (map.dim() <= 2) return ActivationCodec.Quantized(8);
        return layer.Module is NormBase or GroupNorm or LayerNorm
            ? codec with { Keep = new Keep.TopK(Math.Max(1, keep.Ratio / FinerForNormalisation)) }
            : codec;
    }
}
