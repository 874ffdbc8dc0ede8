using Actipress.Codecs;
using Actipress.Maps;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>The consequence of an error in a map's zeros.</summary>
enum Zeros
{
    /// <summary>The zeros decide a gradient: that of the ReLU which made the map, or of an operation that is not known.</summary>
    Decide,

    /// <summary>Exact zeros only bring the rebuilt values nearer.</summary>
    Refine,

    /// <summary>The zeros have no consequence, because bits beside the values tell them.</summary>
    Known,
}

/// <summary>The harm that an error in a saved map does, depending on the kind of map.</summary>
/// <remarks>
/// A vector has no neighbouring values for a transform to gather, and its layer's gradient has no sum over places in which errors
/// cancel: it gets 8-bit quantisation, and so do the channels' scales of a squeeze-and-excitation, each of which multiplies a whole map.
/// Tokens are no vectors, though a linear layer folds them into rows. Inputs of normalisation layers, whose error enters the gradient of
/// everything before them, are smoother than the clipped maps that convolutions save, so that the same ratio gives them finer steps by
/// itself. Halving their ratio beyond that was measured on a ResNet-20 and buys less than a lower ratio everywhere
/// (experiments/resnet20-fidelity).
/// </remarks>
static class Sensitivity
{
    const double OfNormalisation = 4;

    // The error of a factor is that of the other factor's gradient. Where attention is computed from single operations, a difference of two
    // such products follows.
    const double MostOfFactors = 0.15;

    // This is a share of the error of white noise, which a sample tells to one percent. The errors of smoother maps cancel in a
    // convolution's sums over places.
    const double MostOfConvolutions = 0.99;

    // This holds for the maps of smooth functions. The error of a map is an error of the slope at each place, in the gradient of every
    // layer before it. A detector of SiLU layers that had learnt nothing kept a cosine of 0.39 without this limit, 0.70 at 0.4, 0.78 at 0.3
    // and 0.82 at 0.2, where it kept 3 % of its bytes.
    const double MostOfSmoothMaps = 0.2;

    // No ratio between this one and 8 bits is tried. Where a fourth of the coefficients does not suffice, half of them hardly do.
    const double FinerRatio = 4;

    // A relative error so small stands for a transform that gathers all, or for values that differ little beside their mean.
    const double SmallError = 0.004;

    // The deviation of a channel, relative to the values. Grid storage rounds the largest coefficients, the means of blocks, by a
    // thousandth, and bfloat16 rounds values by two thousandths.
    const double LeastContrast = 1.0 / 300, LeastContrastOfSixteenBits = 1.0 / 150;

    // Tokens whose sizes differ by more than this factor have large errors of their own where the error of the whole map is small.
    const double MostUnlike = 2;

    // From this ratio on, a bit for each zero costs several times the bytes of the values, and a lower ratio gains more from these bytes.
    const double RatioWithoutRefinedZeros = 30;

    // Up to these bfloat16's largest error is a sixteenth, of a radian or of the logarithm of an exponential. The errors of an attention's
    // products cancel in their sums.
    const double MostOfAngles = 32, MostOfScores = 128;

    /// <summary>Whether 16 bits suffice for the values of a map, as far as these decide it; not for angles and scores with a NaN.</summary>
    public static bool BearsSixteenBits(Tensor map, Need need)
    {
        if (map.NumberOfElements == 0) return true;
        if (need == Need.Angle) return ValueRange.Of(map) is var (lowest, highest) && lowest > -MostOfAngles && highest < MostOfAngles;
        if (need != Need.Score) return true;
        // The largest product of a query and a key is that of the longest ones. A query counts as if the key were as long, and so does a
        // key.
        using var untracked = no_grad();
        using Tensor means = map.mean([-1]), squares = means.mul(means), meanSquares = map.var([-1], unbiased: false).Add_(squares);
        using Tensor longest = meanSquares.max(), wide = longest.to(float64);
        return wide.item<double>() * Math.Sqrt(map.shape[^1]) < MostOfScores;
    }

    public static ActivationCodec Adapt(ActivationCodec codec, Tensor map, Need need, Zeros zeros)
    {
        var ratio = codec.Keep is Keep.TopK keep ? keep.Ratio : 1;
        if (ratio > 1 && need == Need.Tokens && AreUnlike(map)) return ActivationCodec.BFloat16;
        if (ratio > 1 && (IsOfVectors(map) || (map.device_type != DeviceType.CPU && BearsLittle(map, need))))
            return ActivationCodec.Quantized(8);
        return zeros == Zeros.Known || (zeros == Zeros.Refine && ratio >= RatioWithoutRefinedZeros)
            ? codec with { ExactZeros = false } : codec;
    }

    /// <summary>
    /// The substitutes of a codec for a map that would lose more than its operation bears, or its contrast, from the coarsest. A transform
    /// gathers little of white noise, of embeddings and of matrices.
    /// </summary>
    public static IEnumerable<(ActivationCodec Codec, double MostError)> Finer(ActivationCodec codec, Tensor map, Need need)
    {
        if (codec.RoundsToSixteenBits)
        {
            yield return (codec, double.PositiveInfinity);
            yield return (ActivationCodec.Quantized(8) with { ExactZeros = codec.ExactZeros }, double.PositiveInfinity);
            yield break;
        }
        var (most, bits) =
            BearsLittle(map, need) ? (MostOfFactors, 8) :
            need == Need.Smooth ? (MostOfSmoothMaps, 4) :
            need == Need.Linear && codec.Keep is Keep.TopK { Ratio: > 1 and var ratio } ? (MostOfConvolutions * OfWhiteNoise(ratio), 8) :
            (double.PositiveInfinity, 8);
        yield return (codec, most);
        if (most < double.PositiveInfinity && need != Need.Linear && codec.Keep is Keep.TopK { Ratio: > FinerRatio })
            yield return (codec with { Keep = new Keep.TopK(FinerRatio) }, most);
        yield return (ActivationCodec.Quantized(bits) with { ExactZeros = codec.ExactZeros }, double.PositiveInfinity);
    }

    /// <summary>
    /// Whether the values of each channel differ so little beside their mean that a packed map does not tell them apart. A batch norm
    /// and a variance remove the mean.
    /// </summary>
    public static bool LosesContrast(PackedMap packed, Tensor map)
    {
        const int Some = 8;    // along each axis
        var least = packed.Codec.RoundsToSixteenBits ? LeastContrastOfSixteenBits : packed.RelativeError < SmallError ? LeastContrast : 0;
        if (least == 0 || map.dim() < 3) return false;
        using var scope = NewDisposeScope();
        var sample = map;
        for (var axis = 0; axis < map.dim(); axis++)
            sample = sample.slice(axis, 0, map.shape[axis], (map.shape[axis] + Some - 1) / Some);
        var channels = sample.to(float64).transpose(0, 1).flatten(1);
        using Tensor variance = channels.var([1], unbiased: false).mean(), meanSquare = channels.mul(channels).mean();
        return variance.item<double>() is > 0 and var found && found < least * least * meanSquare.item<double>();
    }

    /// <summary>The stricter of two needs in a map from which both are derived.</summary>
    public static Need Stricter(Need a, Need b) => Rank(a) >= Rank(b) ? a : b;

    static int Rank(Need need) => need == Need.Factor || need == Need.Tokens ? 3 : need == Need.Smooth ? 2 : need == Need.Linear ? 1 : 0;

    // Where no sample measures the error, as on a GPU, such maps get 8 bits at once.
    static bool BearsLittle(Tensor map, Need need) => need == Need.Factor || need == Need.Tokens || (need == Need.Smooth && map.dim() <= 3);

    /// <summary>
    /// The relative error of normally distributed coefficients of which one in <paramref name="ratio"/> is kept. All coefficients below a
    /// threshold t are lost, and t is the quantisation step.
    /// </summary>
    public static double OfWhiteNoise(double ratio)
    {
        var (low, high) = (0.0, 10.0);
        while (high - low > 1e-6) (low, high) = Tail((low + high) / 2) > 1 / ratio ? ((low + high) / 2, high) : (low, (low + high) / 2);
        var t = low;
        var kept = 2 * t * Math.Exp(-t * t / 2) / Math.Sqrt(2 * Math.PI) + Tail(t);
        return Math.Sqrt(1 - kept + t * t / 12 / ratio);
    }

    // The probability that a normal variable lies beyond x on either side, by the continued fraction of the complementary error function,
    // or by its series.
    static double Tail(double x)
    {
        if (x < 2)
        {
            var (term, sum) = (x, x);
            for (var n = 1; n < 60; n++) sum += term *= -x * x / (2 * n) * (2 * n - 1) / (2 * n + 1);
            return 1 - sum * Math.Sqrt(2 / Math.PI);
        }
        var fraction = x;
        for (var n = 60; n > 0; n--) fraction = x + n / fraction;
        return Math.Sqrt(2 / Math.PI) * Math.Exp(-x * x / 2) / fraction;
    }

    // Compares the root mean squares of a few rows: that of all rows with that of a small row.
    static bool AreUnlike(Tensor map)
    {
        const int Rows = 64;
        if (map.dim() < 2) return false;
        using var scope = NewDisposeScope();
        var rows = map.reshape(-1, map.shape[^1]);
        var step = Math.Max(1, rows.shape[0] / Rows);
        var sample = rows.slice(0, 0, rows.shape[0], step).to(float32);
        var squares = sample.mul(sample).mean([1]).cpu().data<float>().ToArray();
        Array.Sort(squares);
        return squares.Average() > MostUnlike * MostUnlike * squares[squares.Length / 10];
    }

    /// <summary>The consequence of the zeros of a map with this need, if no ReLU has saved it.</summary>
    public static Zeros ZerosOf(Need need) => need == Need.Linear || need == Need.Factor ? Zeros.Refine : Zeros.Decide;

    // Vectors are (n, features), and (n, channels, 1, 1) as in a squeeze-and-excitation.
    static bool IsOfVectors(Tensor map) => map.dim() <= 2 || MapShape.Of(map.shape).MapElements == 1;

    /// <summary>The weight of an error in a map against an error of the same relative size elsewhere.</summary>
    public static double Weight(Need need) => need == Need.Normalised || need == Need.Tokens ? OfNormalisation : 1;

    /// <summary>
    /// The reference of a mean squared error in a map: its mean square, or its variance where a normalisation subtracts the mean.
    /// </summary>
    public static double Energy(Tensor map, Need need)
    {
        using var wide = map.to(float64);
        using var squares = wide.mul(wide);
        using var meanSquare = squares.mean();
        using var mean = wide.mean();
        var energy = meanSquare.item<double>() - (need == Need.Normalised || need == Need.Tokens ? Math.Pow(mean.item<double>(), 2) : 0);
        return energy > 0 ? energy : 1;
    }
}
