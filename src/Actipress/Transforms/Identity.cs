namespace Actipress.Transforms;

/// <summary>No transform: plain thresholding of the map itself ("ST" in the paper).</summary>
sealed record Identity : Transform
{
    /// <inheritdoc/>
    public override string Name => "st";

    /// <inheritdoc/>
    public override long Coefficients(MapShape shape) => shape.Elements;

    /// <inheritdoc/>
    public override void Forward(ReadOnlySpan<float> map, MapShape shape, Span<float> coefficients) => map.CopyTo(coefficients);

    /// <inheritdoc/>
    public override void Inverse(ReadOnlySpan<float> coefficients, MapShape shape, Span<float> map) => coefficients.CopyTo(map);

    /// <inheritdoc/>
    public override Tensor Forward(Tensor map, MapShape shape) => map.reshape(-1);

    /// <inheritdoc/>
    public override Tensor Inverse(Tensor coefficients, MapShape shape) => coefficients.alias();
}
