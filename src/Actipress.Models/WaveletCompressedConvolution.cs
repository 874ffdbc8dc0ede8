using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// A 1 x 1 convolution in the Haar domain (Finder, Zohav, Ashkenazi and Treister, "Wavelet Feature Maps Compression for Image-to-Image
/// CNNs", NeurIPS 2022): (n, inputs, h, w) to (n, outputs, h, w). Maps are transformed, and only the positions of largest energy over all
/// channels are kept (joint shrinkage). These are quantised and convolved, and the result is transformed back: y = H^T T^T K T H x. The
/// layer saves arithmetic, not training memory, and is here for comparison.
/// </summary>
/// <remarks>
/// Quantisation is that of the published code. Values are divided by a learned clip, clipped to [-1, 1] and rounded to 2^(bits - 1) - 1
/// steps on each side, with straight-through gradients. Weights are first standardised to mean 0 and deviation 1.
/// </remarks>
public sealed class WaveletCompressedConvolution : Module<Tensor, Tensor>
{
    const int Bands = 4;

    readonly Parameter weight;    // (outputs, inputs, 1)
    readonly Parameter? bias;     // (outputs)
    readonly Parameter? w_alpha, a_alpha;
    readonly int levels, weightBits, activationBits;
    readonly double rate;

    /// <param name="inputs">The number of input channels.</param>
    /// <param name="outputs">The number of output channels.</param>
    /// <param name="rate">The share of positions that is kept, above 0 and at most 1: the paper's compression rate.</param>
    /// <param name="levels">The number of levels of the wavelet transform; maps are padded with zeros to multiples of 2^levels.</param>
    /// <param name="weightBits">2 to 16; 32 for none.</param>
    /// <param name="activationBits">2 to 16; 32 for none.</param>
    /// <param name="hasBias">Whether a bias is added in the Haar domain, at the kept positions.</param>
    /// <exception cref="ArgumentOutOfRangeException">The rate, the number of levels or a number of bits is out of range.</exception>
    public WaveletCompressedConvolution(
        int inputs, int outputs, double rate = 0.25, int levels = 3, int weightBits = 4, int activationBits = 8, bool hasBias = false)
        : base(nameof(WaveletCompressedConvolution))
    {
        if (rate is not (> 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(rate), $"No rate of {rate}: wanted above 0 and at most 1.");
        if (levels is < 1 or > 8) throw new ArgumentOutOfRangeException(nameof(levels), $"No {levels} levels: wanted 1 to 8.");
        foreach (var (bits, name) in ((int, string)[])[(weightBits, nameof(weightBits)), (activationBits, nameof(activationBits))])
            if (bits is not (>= 2 and <= 16 or 32))
                throw new ArgumentOutOfRangeException(name, $"No quantisation to {bits} bits: wanted 2 to 16, or 32 for none.");
        (this.rate, this.levels, this.weightBits, this.activationBits) = (rate, levels, weightBits, activationBits);
        var bound = 1 / Math.Sqrt(inputs);
        weight = Parameter(empty(outputs, inputs, 1).uniform_(-bound, bound));
        bias = hasBias ? Parameter(empty(outputs).uniform_(-bound, bound)) : null;
        w_alpha = weightBits == 32 ? null : Parameter(tensor(3f));
        a_alpha = activationBits == 32 ? null : Parameter(tensor(8f));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var (n, height, width) = (x.shape[0], x.shape[2], x.shape[3]);
        var step = 1L << levels;
        var (down, right) = ((step - height % step) % step, (step - width % step) % step);
        var padded = down + right == 0 ? x.alias() : functional.pad(x, (0, right, 0, down));

        var coefficients = Transform(padded);
        var kept = Places(coefficients);    // (n, 1, k)
        var largest = coefficients.gather(2, kept.expand(-1, coefficients.shape[1], -1));
        var convolved = functional.conv1d(QuantizedActivations(largest), QuantizedWeight(), bias);
        var outputs = convolved.shape[1];
        var all = zeros([n, outputs, coefficients.shape[2]], x.dtype, x.device).scatter(2, kept.expand(-1, outputs, -1), convolved);
        var y = TransformBack(all, height + down, width + right);
        if (down + right > 0) y = y.narrow(2, 0, height).narrow(3, 0, width);
        return y.contiguous().MoveToOuterDisposeScope();
    }

    // T: the positions of largest energy over the channels, in each image by itself.
    Tensor Places(Tensor coefficients)
    {
        using var scope = NewDisposeScope();
        using var untracked = no_grad();
        var k = Math.Max(1, (int)(coefficients.shape[2] * rate));
        return coefficients.mul(coefficients).sum(1).topk(k, 1, sorted: false).indexes.unsqueeze(1).MoveToOuterDisposeScope();
    }

    // H: (n, c, h, w) to (n, c, h w). The coarsest low band comes first, then three detail bands a level from coarse to fine.
    Tensor Transform(Tensor x)
    {
        using var scope = NewDisposeScope();
        var (n, channels, filters) = (x.shape[0], x.shape[1], Filters(x));
        var bands = new List<Tensor>();
        for (var level = 0; level < levels; level++)
        {
            var split = functional.conv2d(x.reshape(n * channels, 1, x.shape[2], x.shape[3]), filters, strides: [2, 2]);
            bands.Insert(0, split.narrow(1, 1, Bands - 1).reshape(n, channels, -1));
            x = split.narrow(1, 0, 1).reshape(n, channels, split.shape[2], split.shape[3]);
        }
        return cat([x.flatten(2), .. bands], 2).MoveToOuterDisposeScope();
    }

    Tensor TransformBack(Tensor coefficients, long height, long width)
    {
        using var scope = NewDisposeScope();
        var (n, channels, filters) = (coefficients.shape[0], coefficients.shape[1], Filters(coefficients));
        var (h, w) = (height >> levels, width >> levels);
        var x = coefficients.narrow(2, 0, h * w);
        for (var level = 0; level < levels; level++, h *= 2, w *= 2)
        {
            var details = coefficients.narrow(2, h * w, (Bands - 1) * h * w).reshape(n * channels, Bands - 1, h, w);
            x = functional.conv_transpose2d(cat([x.reshape(n * channels, 1, h, w), details], 1), filters, strides: [2, 2]);
        }
        return x.reshape(n, channels, height, width).MoveToOuterDisposeScope();
    }

    // The four products of (1, 1) and (1, -1), divided by 2, as (4, 1, 2, 2): an orthonormal basis of 2 x 2 positions.
    static Tensor Filters(Tensor like) => tensor(new[]
    {
        0.5f, 0.5f, 0.5f, 0.5f,
        0.5f, -0.5f, 0.5f, -0.5f,
        0.5f, 0.5f, -0.5f, -0.5f,
        0.5f, -0.5f, -0.5f, 0.5f,
    }, [Bands, 1, 2, 2], like.dtype, like.device);

    Tensor QuantizedActivations(Tensor x) => a_alpha is null ? x : Quantized(x, a_alpha, activationBits);

    // The gradient of the weights is not clipped.
    Tensor QuantizedWeight()
    {
        if (w_alpha is null) return weight;
        using var scope = NewDisposeScope();
        Tensor mean, deviation;
        using (no_grad()) (mean, deviation) = (weight.mean(), weight.std());
        var normal = (weight - mean) / deviation;
        var fixedPart = normal.detach();
        return Quantized(fixedPart, w_alpha, weightBits).Add(normal - fixedPart).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Rounds to 2^(bits - 1) - 1 steps on either side of zero; the last step is at <paramref name="alpha"/>. Gradients ignore rounding.
    /// The gradient by x is that of clipping. The gradient by alpha is the sign of x where x was clipped, and elsewhere the rounding error
    /// divided by alpha.
    /// </summary>
    static Tensor Quantized(Tensor x, Tensor alpha, int bits)
    {
        using var scope = NewDisposeScope();
        var steps = (1 << bits - 1) - 1;
        var clipped = (x / alpha).Clamp(-1, 1);
        Tensor rounding;
        using (no_grad()) rounding = clipped.Mul(steps).round_().Div_(steps).sub_(clipped);
        return (clipped.Add(rounding) * alpha).MoveToOuterDisposeScope();
    }
}
