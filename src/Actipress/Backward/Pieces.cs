using Actipress.Maps;

namespace Actipress;

/// <summary>How large the pieces are in which a backward pass reads a map.</summary>
static class Pieces
{
    // A smaller map makes no peak, and more pieces would only cost time.
    const long Least = sizeof(float) * Strips.PieceElements, Most = 16;

    /// <summary>The bytes of a map from which on it is read in pieces.</summary>
    public const long LeastBytes = 2 * Least;

    /// <summary>The bytes of a piece.</summary>
    /// <param name="map">The map's.</param>
    /// <param name="scale">The size of the step by that of the step for which it stands.</param>
    public static long Bytes(long map, double scale) => Math.Max((long)(Least * scale), map / Most);
}
