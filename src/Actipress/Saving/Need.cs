using Actipress.Autograd;
using Actipress.Codecs;
using TorchSharp.Modules;

namespace Actipress.Saving;

/// <summary>What the backward pass of the operation that saved a tensor needs of it.</summary>
/// <param name="Fineness">How finely its values must be held, where values are needed at all.</param>
abstract record Need(Fineness Fineness)
{
    /// <summary>Its shape only. Pooling keeps the places of its maxima apart, and an average needs nothing else.</summary>
    public static readonly Need Shape = new ShapeOnly();

    /// <summary>Where it is above zero: the rest of a ReLU's gradient is zero, that of a LeakyReLU scaled.</summary>
    public static readonly Need Sign = new Inside(0, double.PositiveInfinity);

    /// <summary>A convolution's input: it enters the gradient linearly, in sums over many places, in which errors average out.</summary>
    public static readonly Need Linear = new OfValues("linear", Fineness.Codec);

    /// <summary>
    /// A factor of a product of maps or matrices: it enters linearly, but its error is that of the other factor's gradient.
    /// </summary>
    public static readonly Need Factor = new OfValues("factor", Fineness.Codec);

    /// <summary>
    /// The input of a normalisation whose statistics are held exactly. It enters linearly too, but its error reaches the gradient of
    /// everything before it.
    /// </summary>
    public static readonly Need Normalised = new OfValues("normalised", Fineness.Codec);

    /// <summary>The same of a layer norm, which normalises each token by itself: small ones count as much as large ones.</summary>
    public static readonly Need Tokens = new OfValues("tokens", Fineness.Codec);

    /// <summary>Values of which the gradient is a function with a bounded slope, as those of SiLU, GELU, sigmoid and tanh.</summary>
    public static readonly Need Smooth = new OfValues("smooth", Fineness.Codec);

    /// <summary>
    /// Values of which the gradient is a function without a bounded slope, as those of a logarithm, a quotient, a root, a loss or an
    /// attention: a small error anywhere may be a large one in the gradient. Their relative error must be small.
    /// </summary>
    public static readonly Need Steep = new OfValues("steep", Fineness.Sixteen);

    /// <summary>
    /// Every bit: statistics, indices, values that are compared for equality, factorisations, functions near the edge of their domain;
    /// and whatever an operation saves of which nothing is known.
    /// </summary>
    public static readonly Need Exact = new OfValues("exact", Fineness.Exact);

    /// <summary>The weight of a layer, also one that was computed: it is no activation map, and passes untouched.</summary>
    public static readonly Need Weight = new OfValues("weight", Fineness.Exact);

    public sealed record ShapeOnly() : Need(Fineness.Codec);

    /// <param name="Name">What kind of values.</param>
    /// <param name="Fineness">How finely they must be held.</param>
    public sealed record OfValues(string Name, Fineness Fineness) : Need(Fineness);

    /// <summary>Whether each value lies strictly between two bounds: one exact bit an element.</summary>
    public sealed record Inside(double Low, double High) : Need(Fineness.Codec)
    {
        /// <summary>
        /// A value inside, for the map that is made of the bits in the backward pass; outside it holds <see cref="Low"/>.
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
    /// <see cref="Inside"/> of bounds that are arguments of the call, by their places; <see cref="Steep"/> where there are none.
    /// </summary>
    public sealed record InsideArguments(int Low, int? High) : Need(Fineness.Sixteen)
    {
        /// <summary>With the bounds of one call.</summary>
        public Need Of(Frame frame)
        {
            var (low, high) = (frame.Numbers[Low], High is { } place ? frame.Numbers[place] : double.PositiveInfinity);
            return low < high ? new Inside(low, high) : Steep;
        }
    }

    /// <summary>Values by the name of their kind.</summary>
    /// <exception cref="InvalidDataException">There is none of this name.</exception>
    public static Need Named(string name) =>
        ((OfValues[])[
            (OfValues)Linear, (OfValues)Factor, (OfValues)Normalised, (OfValues)Tokens, (OfValues)Smooth, (OfValues)Steep, (OfValues)Exact,
        ])
        .FirstOrDefault(need => need.Name == name) ?? throw new InvalidDataException($"No need '{name}' of values.");

    /// <summary>As a user names it.</summary>
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

    /// <summary>What answers both, where one tensor plays two parts in an operation or a saved tensor's part is not certain.</summary>
    public static Need Both(Need a, Need b) =>
        a == b ? a :
        a == Exact || b == Exact ? Exact :
        a == Weight || b == Weight ? Weight :
        a == Steep || b == Steep ? Steep :
        a is OfValues && b is not OfValues ? a :
        b is OfValues && a is not OfValues ? b :
        a is OfValues ? a == Factor || b == Factor ? Factor : Smooth : Exact;

    /// <summary>
    /// What the builtin layers need of the floating-point maps that they save, where libtorch does not tell which operation runs;
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
