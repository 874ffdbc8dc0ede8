using TorchSharp.Modules;

namespace Actipress;

/// <summary>What the backward pass of the operation that saved a map needs of it.</summary>
abstract record Need
{
    /// <summary>Its values, as exactly as the layer's codec gives them.</summary>
    public static readonly Need Values = new AllValues();

    /// <summary>Its shape: pooling keeps the positions of its maxima apart, and averages need nothing else.</summary>
    public static readonly Need Shape = new ShapeOnly();

    /// <summary>Where it is above zero: the rest of a ReLU's gradient is zero, of a LeakyReLU's scaled.</summary>
    public static readonly Need Sign = new Inside(0, double.PositiveInfinity);

    public sealed record AllValues : Need;

    public sealed record ShapeOnly : Need;

    /// <summary>Whether each value lies strictly between two bounds: one exact bit an element.</summary>
    public sealed record Inside(double Low, double High) : Need
    {
        /// <summary>A value inside, for the map that is made of the bits in the backward pass; outside it holds <see cref="Low"/>.</summary>
        public double Representative => double.IsInfinity(High) ? Low + 1 : (Low + High) / 2;

        /// <summary>The bits of <paramref name="map"/>, which the caller disposes. A NaN counts as inside, as in libtorch's own backward.</summary>
        public Tensor Bits(Tensor map)
        {
            if (double.IsInfinity(High))
            {
                var above = map.le(Low);
                return above.logical_not_();
            }
            using var low = map.le(Low);
            using var high = map.ge(High);
            return low.logical_or_(high).logical_not();
        }
    }

    /// <summary>What the builtin layers need of the floating-point maps that they save; <see cref="Values"/> where nothing better is known.</summary>
    public static Need Of(Layer layer) => layer.Module switch
    {
        ReLU or LeakyReLU => Sign,
        ReLU6 => new Inside(0, 6),
        MaxPool1d or MaxPool2d or MaxPool3d or AdaptiveMaxPool1d or AdaptiveMaxPool2d or AdaptiveMaxPool3d => Shape,
        AvgPool1d or AvgPool2d or AvgPool3d or AdaptiveAvgPool1d or AdaptiveAvgPool2d or AdaptiveAvgPool3d => Shape,
        _ => Values,
    };
}
