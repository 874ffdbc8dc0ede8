namespace Actipress;

/// <summary>The need of an operation's backward pass for the maps that it saves, for <see cref="CompressionOptions.Operation"/>.</summary>
public enum SavedNeed
{
    /// <summary>The map's shape only, as pooling needs of its input: no value is kept.</summary>
    Shape,

    /// <summary>The signs of the map, as ReLU and LeakyReLU need them: one bit an element.</summary>
    Sign,

    /// <summary>
    /// Values that enter the gradient linearly, such as a convolution's input and the factors of a product: the layer's codec.
    /// </summary>
    Linear,

    /// <summary>
    /// Values of which the gradient is a function with a bounded slope, as for SiLU, GELU and sigmoid: the layer's codec.
    /// </summary>
    Smooth,

    /// <summary>Values of which the gradient is a function without a bounded slope, as for logarithm, quotient and root: 16 bits.</summary>
    Steep,

    /// <summary>Every bit: operands of a comparison for equality, statistics, indices.</summary>
    Exact,
}
