using Actipress.Machine;

namespace Actipress.Grid.Bits;

/// <summary>The arithmetic between coefficients, levels and bits.</summary>
unsafe interface IBitFace
{
    /// <summary>
    /// Quantises 256 coefficients to levels, min(floor(|y| inverse), <see cref="GridLevels.Escape"/>), in the order of groups.
    /// </summary>
    /// <remarks>
    /// <c>levels</c> receives 256 bytes. <c>kept</c> receives four words with a bit for each level that is not zero, <c>negative</c> four
    /// with a bit for each of these whose coefficient is negative.
    /// </remarks>
    static abstract void Levels(float* y, float inverse, byte* levels, ulong* kept, ulong* negative);

    /// <summary>Compares 64 levels with <paramref name="m"/>: a bit is set for each that is greater.</summary>
    static abstract ulong Above(byte* levels, int m);

    /// <summary>
    /// Composes 64 levels from bit planes: zero where a level is not present, and with the top bit set where it is negative.
    /// </summary>
    /// <remarks><c>planes</c> has <c>count</c> words with the bits of (level - 1), the lowest bit first.</remarks>
    static abstract void Compose(ulong present, ulong below, ulong* planes, int count, byte* levels);

    /// <summary>Extracts the <paramref name="bit"/>-th bit of (level - 1) from 64 levels.</summary>
    static abstract ulong Plane(byte* levels, int bit);

    /// <summary>Dequantises 64 levels with their signs to rows of 16.</summary>
    /// <remarks>No level is above <c>highest</c>.</remarks>
    static abstract void Values(byte* levels, int highest, Magnitudes* magnitudes, float* y);

    /// <summary>Dequantises 64 levels of at most 2, from a bit for each that is not zero, that is 2, and that is negative.</summary>
    static abstract void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* y);
}
