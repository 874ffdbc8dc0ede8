namespace Actipress;

/// <summary>What the backward pass of an operation needs of the maps that it saves, for <see cref="CompressionOptions.Operation"/>.</summary>
public enum SavedNeed
{
    /// <summary>Its shape only, as pooling does of its input: no value is kept.</summary>
    Shape,

    /// <summary>Where it is above zero, as ReLU and LeakyReLU do: one bit an element.</summary>
    Sign,

    /// <summary>Values that enter the gradient linearly, as a convolution's input and the factors of a product: the layer's codec.</summary>
    Linear,

    /// <summary>Values of which the gradient is a function with a bounded slope, as SiLU, GELU and sigmoid: the layer's codec.</summary>
    Smooth,

    /// <summary>Values of which the gradient is a function without a bounded slope, as logarithm, quotient and root: 16 bits.</summary>
    Steep,

    /// <summary>Every bit: what is compared for equality, statistics, indices.</summary>
    Exact,
}
