using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Actipress.Grid;

namespace Actipress.Machine;

/// <summary>
/// A few floats side by side in one register. Kernels are written once over this interface and run at 16, 8 or 4 lanes; every width
/// rounds alike.
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

    /// <summary>a b, where the instruction that multiplies reads b from memory: for tables that no register has room for.</summary>
    static abstract T Times(T a, T* b);

    /// <summary>a b + c likewise.</summary>
    static abstract T Fused(T a, T* b, T c);

    /// <summary>Of neighbours a and b, every second one from the first and from the second.</summary>
    static abstract void Split(T a, T b, out T even, out T odd);

    /// <summary>The inverse of <see cref="Split"/>.</summary>
    static abstract void Join(T even, T odd, out T a, out T b);

    /// <summary>In each lane what is so many lanes further on, the first ones again after the last.</summary>
    static abstract T Rotated(T a, int by);

    /// <summary>16 rows of 16 floats, at these distances.</summary>
    static abstract void Transpose(float* from, long fromStride, float* to, long toStride);

    /// <summary>
    /// Of 64 floats x in four rows of 16: the whole part of x inverse, at most <see cref="sbyte.MaxValue"/> in magnitude. Bytes of four of
    /// the first and of the third row stand beside those of the four below them.
    /// </summary>
    /// <remarks><c>levels</c>: receives 64 magnitudes. <c>kept</c> and <c>negative</c>: a bit for each that is not zero, and for each below zero.</remarks>
    static abstract void Levels(float* rows, T inverse, byte* levels, out ulong kept, out ulong negative);

    /// <summary>A bit for each of 64 bytes of at most 127 that is more than <paramref name="m"/>.</summary>
    static abstract ulong Above(byte* bytes, int m);

    /// <summary>64 bytes of one and what the planes add, a word of bits each, where they are present, else zero; the top bit set where they are below zero.</summary>
    static abstract void Compose(ulong present, ulong below, ulong* planes, int count, byte* bytes);

    /// <summary>Of 64 bytes the <paramref name="bit"/>-th bit of one less than each.</summary>
    static abstract ulong Plane(byte* bytes, int bit);

    /// <summary>Of 16 bytes, a level of at most <paramref name="highest"/> with its sign on top: what it stands for.</summary>
    static abstract void Values(Vector128<byte> levels, Magnitudes* magnitudes, int highest, float* to);

    /// <summary>What 64 levels of at most 2 stand for, in four rows of 16, in the order of <see cref="Levels"/>.</summary>
    /// <remarks><c>present</c>, <c>two</c> and <c>below</c>: a bit for each that is not zero, that is 2, and that is below zero.</remarks>
    static abstract void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* to);

    /// <summary>A bit for each of 64 floats, in four rows <paramref name="stride"/> apart, that is not zero.</summary>
    /// <remarks><c>most</c>: raised to them in the order of their bits without a sign: those with one are above all others.</remarks>
    static abstract ulong NotZero(float* rows, long stride, ref T most);

    /// <summary>Whether a lane has a sign.</summary>
    static abstract bool AnySigned(T x);

    /// <summary>Raises <paramref name="largest"/> to the magnitudes of 16 floats, in the order of their bits: NaN above infinity above all numbers; lowers <paramref name="least"/> to them.</summary>
    static abstract void Measure(float* row, ref T largest, ref T least);

    /// <summary>Whether a lane is below zero.</summary>
    static abstract bool AnyNegative(T x);

    /// <summary>Whether a lane without a sign is above <paramref name="limit"/> in the order of <see cref="Measure"/>.</summary>
    static abstract bool AnyAbove(T magnitudes, float limit);

    /// <summary>Copies two rows of 16 floats, each where its bit is set raised to at least <paramref name="smallest"/>, elsewhere zero, to rows <paramref name="stride"/> apart.</summary>
    static abstract void Restore(float* rows, uint positive, T smallest, float* to, long stride);
}

/// <summary>What lanes do by way of memory where there is no instruction for it.</summary>
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
