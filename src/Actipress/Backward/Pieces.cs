using Actipress.Autograd;
using Actipress.Maps;

namespace Actipress.Backward;

/// <summary>The size of the pieces in which a backward pass reads a map.</summary>
static class Pieces
{
    // A smaller map makes no peak of memory, and more pieces would only cost time.
    const long Least = sizeof(float) * Strips.PieceElements, Most = 16;

    /// <summary>The smallest size in bytes of a map that is read in pieces.</summary>
    public const long LeastBytes = 2 * Least;

    /// <summary>
    /// The tensor for the gradient by the input: the incoming gradient itself where it may be overwritten or was copied, else a new tensor.
    /// </summary>
    /// <param name="gradient">The incoming gradient.</param>
    /// <param name="given">The same gradient, contiguous.</param>
    /// <param name="mayOverwrite">Whether nobody else reads the incoming gradient afterwards.</param>
    public static Tensor ByInput(Tensor gradient, Tensor given, bool mayOverwrite) =>
        mayOverwrite || StorageReference.AddressOf(given) != StorageReference.AddressOf(gradient) ? given : torch.empty_like(given);

    /// <summary>The size of a piece in bytes.</summary>
    /// <param name="map">The size of the map in bytes.</param>
    /// <param name="scale">The size of this step relative to the real step, which a prediction runs smaller.</param>
    public static long Bytes(long map, double scale) => Math.Max((long)(Least * scale), map / Most);
}
