namespace Actipress;

/// <summary>
/// The first stage of the method: T and its inverse (paper, Section 3.1 and Figure 2). A transform turns each map into
/// coefficients, most of them near zero, and back.
/// </summary>
/// <remarks>
/// Every transform has two implementations that agree: the definition, plain loops over spans, and one in torch operations, which runs on
/// any device. Coefficients are one flat sequence in the transform's own order, on which no other code relies.
/// </remarks>
public abstract record Transform
{
    /// <summary>The name in a codec's specification, such as <c>dct</c> or <c>wt:db3</c>.</summary>
    public abstract string Name { get; }

    /// <summary>The number of coefficients of <paramref name="shape"/>: N, or slightly more where a wavelet divides odd extents.</summary>
    public abstract long Coefficients(MapShape shape);

    /// <summary>The definition: Y = T X.</summary>
    /// <param name="map">All maps, <see cref="MapShape.Elements"/> values in row-major order.</param>
    /// <param name="shape">How <paramref name="map"/> divides into maps.</param>
    /// <param name="coefficients">Receives <see cref="Coefficients"/> values.</param>
    public abstract void Forward(ReadOnlySpan<float> map, MapShape shape, Span<float> coefficients);

    /// <summary>The definition: X = T^-1 Y.</summary>
    public abstract void Inverse(ReadOnlySpan<float> coefficients, MapShape shape, Span<float> map);

    /// <summary>The transform in torch operations, on the device of <paramref name="map"/>.</summary>
    /// <param name="map">Contiguous float32 of <see cref="MapShape.Elements"/> elements, any shape; not disposed.</param>
    /// <param name="shape">How <paramref name="map"/> divides into maps.</param>
    /// <returns>A flat float32 tensor of <see cref="Coefficients"/> values, which the caller disposes.</returns>
    public abstract Tensor Forward(Tensor map, MapShape shape);

    /// <summary>
    /// The inverse in torch operations. Returns a flat tensor of <see cref="MapShape.Elements"/> values, which the caller disposes.
    /// </summary>
    public abstract Tensor Inverse(Tensor coefficients, MapShape shape);
}
