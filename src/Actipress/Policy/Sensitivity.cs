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
    public static ActivationCodec Adapt(ActivationCodec codec, Tensor map) =>
        codec.Keep is Keep.TopK { Ratio: > 1 } && map.dim() <= 2 ? ActivationCodec.Quantized(8) : codec;
}
