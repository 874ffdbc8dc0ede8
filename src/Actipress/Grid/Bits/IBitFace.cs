using Actipress.Machine;

namespace Actipress.Grid.Bits;

/// <summary>Coefficients to levels, levels to bits, and back.</summary>
unsafe interface IBitFace
{
    /// <summary>
    /// The level of each coefficient, min(floor(|y| inverse), <see cref="GridLevels.Escape"/>), in the order of groups.
    /// </summary>
    /// <remarks><c>levels</c>: receives 256 bytes. <c>kept</c>: receives a bit for each level that is not zero: 4 words. <c>negative</c>: receives a bit for each of those whose coefficient is negative: 4 words.</remarks>
    static abstract void Levels(float* y, float inverse, byte* levels, ulong* kept, ulong* negative);

    /// <summary>A bit for each of 64 levels that is more than <paramref name="m"/>.</summary>
    static abstract ulong Above(byte* levels, int m);

    /// <summary>64 levels where they are present, else zero, each with its top bit where it is to be below zero.</summary>
    /// <remarks><c>planes</c>: <c>count</c> words of bits of one less than each, the lowest first.</remarks>
    static abstract void Compose(ulong present, ulong below, ulong* planes, int count, byte* levels);

    /// <summary>Of 64 levels the <paramref name="bit"/>-th bit of one less than each.</summary>
    static abstract ulong Plane(byte* levels, int bit);

    /// <summary>What 64 levels with their signs stand for, in rows of 16.</summary>
    /// <remarks><c>highest</c>: no level is above it.</remarks>
    static abstract void Values(byte* levels, int highest, Magnitudes* magnitudes, float* y);

    /// <summary>The same of 64 levels of at most 2, from a bit for each that is not zero, that is 2, and that is below zero.</summary>
    static abstract void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* y);
}
