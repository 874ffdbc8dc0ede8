using System.Runtime.Intrinsics;

namespace Actipress.Machine;

/// <summary>
/// The floats of one SIMD register. Kernels are written once over this interface and run at 16, 8 or 4 lanes; every width rounds
/// alike.
/// </summary>
unsafe interface ILanes<T> where T : unmanaged, ILanes<T>
{
    static abstract int Count { get; }
    static abstract T Load(float* from);
    static abstract T All(float value);
    void Store(float* to);
    static abstract T operator +(T a, T b);
    static abstract T operator -(T a, T b);
    static abstract T operator *(T a, T b);

    /// <summary>a b + c, rounded once.</summary>
    static abstract T Fused(T a, T b, T c);

    /// <summary>a b with b as a memory operand of the instruction, for tables that do not fit in registers.</summary>
    static abstract T Times(T a, T* b);

    /// <summary>a b + c, rounded once, with b as a memory operand.</summary>
    static abstract T Fused(T a, T* b, T c);

    /// <summary>Deinterleaves the floats of a, then b: those of even and those of odd index.</summary>
    static abstract void Split(T a, T b, out T even, out T odd);

    /// <summary>The inverse of <see cref="Split"/>.</summary>
    static abstract void Join(T even, T odd, out T a, out T b);

    /// <summary>Rotates the lanes: lane i of the result is lane i + <paramref name="by"/> of a, modulo the number of lanes.</summary>
    static abstract T Rotated(T a, int by);

    /// <summary>Transposes 16 rows of 16 floats; the strides are in floats.</summary>
    static abstract void Transpose(float* from, long fromStride, float* to, long toStride);

    /// <summary>
    /// Quantises 64 floats x in four rows of 16: floor(|x| inverse), at most <see cref="sbyte.MaxValue"/>. The bytes are in the order of
    /// groups: four of an upper row, then the four below them.
    /// </summary>
    /// <remarks>
    /// <c>levels</c> receives 64 magnitudes. <c>kept</c> receives a bit for each level that is not zero, <c>negative</c> one for each that
    /// is below zero.
    /// </remarks>
    static abstract void Levels(float* rows, T inverse, byte* levels, out ulong kept, out ulong negative);

    /// <summary>Compares 64 bytes of at most 127 with <paramref name="m"/>: a bit is set for each that is greater.</summary>
    static abstract ulong Above(byte* bytes, int m);

    /// <summary>
    /// Composes 64 bytes: where a bit of <c>present</c> is set, 1 plus the number whose bits are in the planes, one word a bit; elsewhere
    /// 0. The top bit is set where <c>below</c> is.
    /// </summary>
    static abstract void Compose(ulong present, ulong below, ulong* planes, int count, byte* bytes);

    /// <summary>Extracts from 64 bytes the <paramref name="bit"/>-th bit of (byte - 1).</summary>
    static abstract ulong Plane(byte* bytes, int bit);

    /// <summary>Dequantises 16 bytes, each a level of at most <paramref name="highest"/> with its sign in the top bit.</summary>
    static abstract void Values(Vector128<byte> levels, Magnitudes* magnitudes, int highest, float* to);

    /// <summary>Dequantises 64 levels of at most 2 to four rows of 16; the bits are in the order of <see cref="Levels"/>.</summary>
    /// <remarks>
    /// <c>present</c>, <c>two</c> and <c>below</c> have a bit for each level that is not zero, that is 2, and that is below zero.
    /// </remarks>
    static abstract void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* to);

    /// <summary>
    /// Compares 64 floats, in four rows <paramref name="stride"/> apart, with zero: a bit is set for each that is not zero.
    /// </summary>
    /// <remarks>
    /// <c>most</c> becomes the maximum of itself and the floats as unsigned integers, in which floats with a sign are the largest.
    /// </remarks>
    static abstract ulong NotZero(float* rows, long stride, ref T most);

    /// <summary>Whether the sign bit of any lane is set.</summary>
    static abstract bool AnySigned(T x);

    /// <summary>
    /// Updates <paramref name="largest"/>, the maximum of the magnitudes as integers (NaN above infinity above all numbers), and
    /// <paramref name="least"/>, the minimum, with 16 floats.
    /// </summary>
    static abstract void Measure(float* row, ref T largest, ref T least);

    /// <summary>Whether any lane is below zero.</summary>
    static abstract bool AnyNegative(T x);

    /// <summary>Whether any magnitude is above <paramref name="limit"/> in the order of <see cref="Measure"/>.</summary>
    static abstract bool AnyAbove(T magnitudes, float limit);

    /// <summary>
    /// Copies two rows of 16 floats to rows <paramref name="stride"/> apart: where a float's bit is set it becomes at least
    /// <paramref name="smallest"/>, elsewhere zero.
    /// </summary>
    static abstract void Restore(float* rows, uint positive, T smallest, float* to, long stride);
}

/// <summary>Operations on lanes through memory, for processors without an instruction for them.</summary>
static unsafe class LanesInMemory
{
    public static T Rotated<T>(T a, int by) where T : unmanaged, ILanes<T>
    {
        var twice = stackalloc float[2 * T.Count];
        a.Store(twice);
        a.Store(twice + T.Count);
        return T.Load(twice + (by & T.Count - 1));
    }
}
