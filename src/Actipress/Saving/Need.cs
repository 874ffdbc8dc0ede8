using Actipress.Autograd;
using Actipress.Codecs;
using TorchSharp.Modules;

namespace Actipress.Saving;

/// <summary>The need of the backward pass of an operation for a tensor that the operation saved.</summary>
/// <param name="Fineness">How finely the values must be held, where values are needed at all.</param>
abstract record Need(Fineness Fineness)
{
    /// <summary>The shape only. Pooling keeps the positions of its maxima separately, and an average needs only the shape.</summary>
    public static readonly Need Shape = new ShapeOnly();

    /// <summary>Whether each value is above zero. The rest of a ReLU's gradient is zero, and that of a LeakyReLU is scaled.</summary>
    public static readonly Need Sign = new Inside(0, double.PositiveInfinity);

    /// <summary>A convolution's input. It enters the gradient linearly, in sums over many places, in which errors average out.</summary>
    public static readonly Need Linear = new OfValues("linear", Fineness.Codec);

    /// <summary>
    /// A factor of a product of maps or matrices. It enters linearly, but its error is that of the other factor's gradient.
    /// </summary>
    public static readonly Need Factor = new OfValues("factor", Fineness.Codec);

    /// <summary>
    /// The input of a normalisation whose statistics are held exactly. It enters linearly too, but its error reaches the gradient of every
    /// layer before it.
    /// </summary>
    public static readonly Need Normalised = new OfValues("normalised", Fineness.Codec);

    /// <summary>The input of a layer norm, which normalises each token by itself. Small tokens count as much as large tokens.</summary>
    public static readonly Need Tokens = new OfValues("tokens", Fineness.Codec);

    /// <summary>Values of which the gradient is a function with a bounded slope, as those of SiLU, GELU, sigmoid and tanh.</summary>
    public static readonly Need Smooth = new OfValues("smooth", Fineness.Codec);

    /// <summary>
    /// Results of a function that saturates: probabilities between 0 and 1, and results of tanh between -1 and 1. A loss often divides by
    /// the distance from the bound, and so its relative error must be small.
    /// </summary>
    public static readonly Need Saturating = new OfValues("saturating", Fineness.Sixteen);

    /// <summary>
    /// Angles, and exponents of which the backward pass computes exponentials. An error counts as it is, however large the value is, so
    /// that values far from zero are kept exactly.
    /// </summary>
    public static readonly Need Angle = new OfValues("angle", Fineness.Sixteen);

    /// <summary>
    /// Queries and keys of an attention, of whose products the backward pass computes exponentials. Where these products are large, they
    /// are kept exactly.
    /// </summary>
    public static readonly Need Score = new OfValues("score", Fineness.Sixteen);

    /// <summary>
    /// Values of which the gradient is a function without a bounded slope, as those of a logarithm, a quotient, a root, a loss or an
    /// attention: a small error anywhere may be a large one in the gradient. Their relative error must be small.
    /// </summary>
    public static readonly Need Steep = new OfValues("steep", Fineness.Sixteen);

    /// <summary>
    /// Every bit. This is the need for statistics, indices, values that are compared for equality, factorisations and functions near the
    /// edge of their domain, and for tensors whose use is unknown.
    /// </summary>
    public static readonly Need Exact = new OfValues("exact", Fineness.Exact);

    /// <summary>The weight of a layer, also one that was computed. A weight is no activation map, and passes untouched.</summary>
    public static readonly Need Weight = new OfValues("weight", Fineness.Exact);

    public sealed record ShapeOnly() : Need(Fineness.Codec);

    /// <param name="Name">The name of the kind of values.</param>
    /// <param name="Fineness">How finely the values must be held.</param>
    public sealed record OfValues(string Name, Fineness Fineness) : Need(Fineness);

    /// <summary>Whether each value lies strictly between two bounds. One exact bit an element tells it.</summary>
    public sealed record Inside(double Low, double High) : Need(Fineness.Codec)
    {
        /// <summary>
        /// A value inside the bounds, for the map that the backward pass makes from the bits. An element outside gets <see cref="Low"/>.
        /// </summary>
        public double Representative => double.IsInfinity(High) ? Low + 1 : (Low + High) / 2;

        /// <summary>
        /// The bits of <paramref name="map"/>, which the caller disposes. A NaN counts as inside, as in libtorch's own backward.
        /// </summary>
        public Tensor Bits(Tensor map)
        {
            if (double.IsInfinity(High))
            {
                var above = map.Le(Low);
                return above.logical_not_();
            }
            using var low = map.Le(Low);
            using var high = map.Ge(High);
            return low.logical_or_(high).logical_not();
        }
    }

    /// <summary>
    /// <see cref="Inside"/> with bounds that are arguments of the call, given by their positions; <see cref="Steep"/> where there are none.
    /// </summary>
    public sealed record InsideArguments(int Low, int? High) : Need(Fineness.Sixteen)
    {
        /// <summary>The need with the bounds of one call.</summary>
        public Need Of(Frame frame)
        {
            var (low, high) = (frame.Numbers[Low], High is { } place ? frame.Numbers[place] : double.PositiveInfinity);
            return low < high ? new Inside(low, high) : Steep;
        }
    }

    /// <summary>The need of values by its name.</summary>
    /// <exception cref="InvalidDataException">There is no need of this name.</exception>
    public static Need Named(string name) =>
        ((OfValues[])[
            (OfValues)Linear, (OfValues)Factor, (OfValues)Normalised, (OfValues)Tokens, (OfValues)Smooth, (OfValues)Steep,
            (OfValues)Saturating, (OfValues)Angle, (OfValues)Score, (OfValues)Exact,
        ])
        .FirstOrDefault(need => need.Name == name) ?? throw new InvalidDataException($"No need '{name}' of values.");

    /// <summary>The need that a user's choice stands for.</summary>
    public static Need Of(SavedNeed need) => need switch
    {
        SavedNeed.Shape => Shape,
        SavedNeed.Sign => Sign,
        SavedNeed.Linear => Factor,
        SavedNeed.Smooth => Smooth,
        SavedNeed.Steep => Steep,
        SavedNeed.Exact => Exact,
        _ => throw new ArgumentOutOfRangeException(
            nameof(need), $"No need {need}: wanted one of {string.Join(", ", Enum.GetNames<SavedNeed>())}."),
    };

    /// <summary>The need that covers both needs, where one tensor has two roles in an operation or its role is not certain.</summary>
    public static Need Both(Need a, Need b) =>
        a == b ? a :
        a == Exact || b == Exact ? Exact :
        a == Weight || b == Weight ? Weight :
        IsParticular(a) && IsParticular(b) ? Exact :
        IsParticular(a) ? a :
        IsParticular(b) ? b :
        a == Steep || b == Steep ? Steep :
        a is OfValues && b is not OfValues ? a :
        b is OfValues && a is not OfValues ? b :
        a is OfValues ? a == Factor || b == Factor ? Factor : Smooth : Exact;

    // Needs of 16 bits that ask for more than a small relative error.
    static bool IsParticular(Need need) => need == Saturating || need == Angle || need == Score;

    /// <summary>
    /// The needs of the builtin layers for the floating-point maps that they save, where libtorch does not report the running operation;
    /// <see cref="Linear"/> where nothing is known.
    /// </summary>
    public static Need Of(Layer layer) => layer.Module switch
    {
        ReLU or LeakyReLU => Sign,
        ReLU6 => new Inside(0, 6),
        MaxPool1d or MaxPool2d or MaxPool3d or AdaptiveMaxPool1d or AdaptiveMaxPool2d or AdaptiveMaxPool3d => Shape,
        AvgPool1d or AvgPool2d or AvgPool3d or AdaptiveAvgPool1d or AdaptiveAvgPool2d or AdaptiveAvgPool3d => Shape,
        Conv1d or Conv2d or Conv3d => Linear,
        TorchSharp.Modules.Linear => Factor,
        BatchNorm1d or BatchNorm2d or BatchNorm3d or InstanceNorm1d or InstanceNorm2d or InstanceNorm3d or GroupNorm => Normalised,
        LayerNorm => Tokens,
        _ => Smooth,
    };
}
