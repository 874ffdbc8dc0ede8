using static TorchSharp.torch;

// These stand in for torch's own operators in every part of the library and its programs, and so in the namespace of all of them.
namespace Actipress;

/// <summary>
/// TorchSharp's operations that take a number or make one inside, under torch's names with a capital letter; here the number lives until
/// the native function has returned.
/// </summary>
/// <remarks>
/// TorchSharp 0.107.0 hands a native function a scalar's pointer and forgets the scalar, whose finalizer may free it while the function
/// reads it: the function then computes with another number, or fails (docs/torchsharp-scalars.md). Even <c>x.add(y)</c> makes a scalar,
/// its alpha of 1. The build refuses TorchSharp's own operations of this kind everywhere else (src/BannedSymbols.txt).
/// </remarks>
static class HeldScalars
{
#pragma warning disable RS0030    // Here scalars are held.

    public static Tensor Add(this Tensor x, Tensor other)
    {
        using Scalar alpha = 1;
        return x.add(other, alpha);
    }

    public static Tensor Add(this Tensor x, double other)
    {
        using Scalar held = other, alpha = 1;
        return x.add(held, alpha);
    }

    public static Tensor Add_(this Tensor x, Tensor other)
    {
        using Scalar alpha = 1;
        return x.add_(other, alpha);
    }

    public static Tensor Add_(this Tensor x, Tensor other, double alpha)
    {
        using Scalar held = alpha;
        return x.add_(other, held);
    }

    public static Tensor Add_(this Tensor x, double other)
    {
        using Scalar held = other, alpha = 1;
        return x.add_(held, alpha);
    }

    public static Tensor Mul(this Tensor x, double other)
    {
        using Scalar held = other;
        return x.mul(held);
    }

    public static Tensor Mul_(this Tensor x, long other)
    {
        using Scalar held = other;
        return x.mul_(held);
    }

    public static Tensor Mul_(this Tensor x, double other)
    {
        using Scalar held = other;
        return x.mul_(held);
    }

    public static Tensor Div(this Tensor x, long other, RoundingMode mode)
    {
        using Scalar held = other;
        return x.div(held, mode);
    }

    public static Tensor Div(this Tensor x, double other)
    {
        using Scalar held = other;
        return x.div(held);
    }

    public static Tensor Div_(this Tensor x, double other)
    {
        using Scalar held = other;
        return x.div_(held);
    }

    public static Tensor Remainder(this Tensor x, long other)
    {
        using Scalar held = other;
        return x.remainder(held);
    }

    public static Tensor Remainder_(this Tensor x, long other)
    {
        using Scalar held = other;
        return x.remainder_(held);
    }

    public static Tensor Addcmul_(this Tensor x, Tensor first, Tensor second, double value)
    {
        using Scalar held = value;
        return x.addcmul_(first, second, held);
    }

    public static Tensor Addcdiv_(this Tensor x, Tensor above, Tensor below, double value)
    {
        using Scalar held = value;
        return x.addcdiv_(above, below, held);
    }

    public static Tensor Clamp(this Tensor x, double min, double max)
    {
        using Scalar lowest = min, highest = max;
        return x.clamp(lowest, highest);
    }

    public static Tensor Clamp_(this Tensor x, double min, double max)
    {
        using Scalar lowest = min, highest = max;
        return x.clamp_(lowest, highest);
    }

    public static Tensor ClampMin_(this Tensor x, double min)
    {
        using Scalar lowest = min;
        return x.clamp_min_(lowest);
    }

    // TorchSharp 0.107.0 calls libtorch, and returns x itself.
    public static Tensor Hardtanh(this Tensor x, double min, double max)
    {
        using Scalar lowest = min, highest = max;
        return x.hardtanh(lowest, highest);
    }

    public static Tensor Hardtanh_(this Tensor x, double min, double max)
    {
        using Scalar lowest = min, highest = max;
        return x.hardtanh_(lowest, highest);
    }

    public static Tensor Elu(this Tensor x, double alpha)
    {
        using Scalar held = alpha, one = 1;
        return x.elu(held, one, one);
    }

    public static Tensor Elu_(this Tensor x, double alpha)
    {
        using Scalar held = alpha, scale = 1;
        return x.elu_(held, scale, scale);
    }

    public static Tensor LeakyRelu(this Tensor x, double slope)
    {
        using Scalar held = slope;
        return x.leaky_relu(held);
    }

    public static Tensor LeakyRelu_(this Tensor x, double slope)
    {
        using Scalar held = slope;
        return x.leaky_relu_(held);
    }

    public static Tensor Eq(this Tensor x, long other)
    {
        using Scalar held = other;
        return x.eq(held);
    }

    public static Tensor Ne(this Tensor x, long other)
    {
        using Scalar held = other;
        return x.ne(held);
    }

    public static Tensor Lt(this Tensor x, long other)
    {
        using Scalar held = other;
        return x.lt(held);
    }

    public static Tensor Le(this Tensor x, double other)
    {
        using Scalar held = other;
        return x.le(held);
    }

    public static Tensor Ge(this Tensor x, double other)
    {
        using Scalar held = other;
        return x.ge(held);
    }

    public static Tensor Gt(this Tensor x, double other)
    {
        using Scalar held = other;
        return x.gt(held);
    }

    public static Tensor MaskedFill(this Tensor x, Tensor mask, double value)
    {
        using Scalar held = value;
        return x.masked_fill(mask, held);
    }

    public static Tensor MaskedFill_(this Tensor x, Tensor mask, double value)
    {
        using Scalar held = value;
        return x.masked_fill_(mask, held);
    }

    public static Tensor IndexFill_(this Tensor x, long dim, Tensor index, bool value)
    {
        using Scalar held = value;
        return x.index_fill_(dim, index, held);
    }

    public static Tensor IndexAdd_(this Tensor x, long dim, Tensor index, Tensor source)
    {
        using Scalar alpha = 1;
        return x.index_add_(dim, index, source, alpha);
    }

    /// <summary>0, 1, and so on, <paramref name="end"/> numbers.</summary>
    public static Tensor Arange(long end, ScalarType type = ScalarType.Int64, Device? device = null)
    {
        using Scalar start = 0, stop = end, step = 1;
        return arange(start, stop, step, type, device);
    }
}
