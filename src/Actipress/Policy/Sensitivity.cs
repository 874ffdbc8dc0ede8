using static TorchSharp.torch;

namespace Actipress;

/// <summary>What hangs on a map's zeros.</summary>
enum Zeros
{
    /// <summary>A gradient: that of the ReLU which made the map, or of an operation of which nothing is known.</summary>
    Decide,

    /// <summary>That the rebuilt values come nearer, and nothing else.</summary>
    Refine,

    /// <summary>Nothing: bits beside the values tell them.</summary>
    Known,
}

/// <summary>How much harm an error in a saved map does, by what the map is.</summary>
/// <remarks>
/// A vector has no neighbouring values for a transform to gather, and its layer's gradient has no sum over places in which errors
/// cancel: it gets 8-bit quantisation, and so do the channels' scales of a squeeze-and-excitation, each of which multiplies a whole map. Tokens are no vectors, though a linear layer folds them into rows. Inputs of normalisation layers, whose error enters the gradient of everything before them, are
/// smoother than the clipped maps that convolutions save, so that the same ratio gives them finer steps by itself. Halving their ratio
/// beyond that was measured on a ResNet-20 and buys less than a lower ratio everywhere (experiments/resnet20-fidelity).
/// </remarks>
static class Sensitivity
{
    const double OfNormalisation = 4;

    // From here on a bit for each zero costs several times what the values do, and a lower ratio buys more with it.
    const double RatioWithoutRefinedZeros = 30;

    public static ActivationCodec Adapt(ActivationCodec codec, Tensor map, Zeros zeros)
    {
        var ratio = codec.Keep is Keep.TopK keep ? keep.Ratio : 1;
        if (ratio > 1 && IsOfVectors(map)) return ActivationCodec.Quantized(8);
        return zeros == Zeros.Known || (zeros == Zeros.Refine && ratio >= RatioWithoutRefinedZeros) ? codec with { ExactZeros = false } : codec;
    }

    /// <summary>What hangs on the zeros of a map of which an operation needs so much, if no ReLU has saved it.</summary>
    public static Zeros ZerosOf(Need need) => need == Need.Linear ? Zeros.Refine : Zeros.Decide;

    // (n, features), and (n, channels, 1, 1) as a squeeze-and-excitation has it.
    static bool IsOfVectors(Tensor map) => map.dim() <= 2 || MapShape.Of(map.shape).MapElements == 1;

    /// <summary>How much an error in a map counts against one of the same relative size elsewhere.</summary>
    public static double Weight(Need need) => need == Need.Normalised ? OfNormalisation : 1;

    /// <summary>What a mean squared error in a map is measured by: its mean square, or its variance where a normalisation takes the mean away.</summary>
    public static double Energy(Tensor map, Need need)
    {
        using var wide = map.to(float64);
        using var squares = wide.mul(wide);
        using var meanSquare = squares.mean();
        using var mean = wide.mean();
        var energy = meanSquare.item<double>() - (need == Need.Normalised ? Math.Pow(mean.item<double>(), 2) : 0);
        return energy > 0 ? energy : 1;
    }
}
