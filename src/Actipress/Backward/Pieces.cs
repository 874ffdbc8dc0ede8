using Actipress.Maps;

namespace Actipress.Backward;

/// <summary>The size of the pieces in which a backward pass reads a map.</summary>
static class Pieces
{
    // A smaller map makes no peak of memory, and more pieces would only cost time.
    const long Least = sizeof(float) * Strips.PieceElements, Most = 16;

    /// <summary>The smallest size in bytes of a map that is read in pieces.</summary>
    public const long LeastBytes = 2 * Least;

    /// <summary>The size of a piece in bytes.</summary>
    /// <param name="map">The size of the map in bytes.</param>
    /// <param name="scale">The size of this step relative to the real step, which a prediction runs smaller.</param>
    public static long Bytes(long map, double scale) => Math.Max((long)(Least * scale), map / Most);
}
