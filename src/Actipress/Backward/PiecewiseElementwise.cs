using Actipress.Maps;

namespace Actipress.Backward;

/// <summary>
/// The backward pass of an elementwise function whose saved map, input or result, is read in pieces. libtorch's own operation computes each
/// piece of the gradient, so that the gradient is libtorch's to the bit.
/// </summary>
/// <remarks>The gradient by the input overwrites the incoming gradient where nobody else reads that.</remarks>
static class PiecewiseElementwise
{
    /// <param name="gradient">The gradient by the output.</param>
    /// <param name="map">The saved map.</param>
    /// <param name="mayOverwrite">Whether nobody else reads <paramref name="gradient"/> afterwards.</param>
    /// <param name="compute">
    /// Computes a piece of the gradient by the input from the same piece of the gradient by the output and of the map. The first tensor and
    /// the last, to which the result goes, may be the same memory.
    /// </param>
    /// <returns>The gradient by the input.</returns>
    public static Tensor Run(Tensor gradient, IMapPieces map, bool mayOverwrite, Action<Tensor, Tensor, Tensor> compute)
    {
        var given = gradient.contiguous();
        var byInput = Pieces.ByInput(gradient, given, mayOverwrite);
        foreach (var piece in new Strips(MapShape.Of(map.Sizes)).Pieces((long)(Strips.PieceElements * map.Scale)))
        {
            using var scope = torch.NewDisposeScope();
            compute(piece.Of(given), Placeholder.Read(map, piece), piece.Of(byInput));
        }
        return byInput;
    }
}
