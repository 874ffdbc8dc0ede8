using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Actipress.Grid;
using Actipress.Saving;

namespace Actipress;

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
    /// Of 64 floats x in four rows of 16: the whole part of x inverse, at most <see cref="GridFormat.Escape"/> in magnitude. Bytes of four of
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
    static abstract void Values(Vector128<byte> levels, GridMagnitudes* magnitudes, int highest, float* to);

    /// <summary>What 64 levels of at most 2 stand for, in four rows of 16, in the order of <see cref="Levels"/>.</summary>
    /// <remarks><c>present</c>, <c>two</c> and <c>below</c>: a bit for each that is not zero, that is 2, and that is below zero.</remarks>
    static abstract void Values(ulong present, ulong two, ulong below, GridMagnitudes* magnitudes, float* to);

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

readonly unsafe struct Lanes16(Vector512<float> value) : ILanes<Lanes16>
{
    readonly Vector512<float> value = value;

    public static int Count => 16;
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes16 Load(float* from) => new(Vector512.Load(from));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes16 All(float value) => new(Vector512.Create(value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public void Store(float* to) => value.Store(to);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes16 operator +(Lanes16 a, Lanes16 b) => new(a.value + b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes16 operator -(Lanes16 a, Lanes16 b) => new(a.value - b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes16 operator *(Lanes16 a, Lanes16 b) => new(a.value * b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes16 Fused(Lanes16 a, Lanes16 b, Lanes16 c) => new(Vector512.FusedMultiplyAdd(a.value, b.value, c.value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes16 Times(Lanes16 a, Lanes16* b) => new(a.value * Vector512.Load((float*)b));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes16 Fused(Lanes16 a, Lanes16* b, Lanes16 c) => new(Vector512.FusedMultiplyAdd(a.value, Vector512.Load((float*)b), c.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Split(Lanes16 a, Lanes16 b, out Lanes16 even, out Lanes16 odd)
    {
        if (Avx512F.IsSupported)
        {
            even = new(Avx512F.PermuteVar16x32x2(a.value, Vector512.Create(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), b.value));
            odd = new(Avx512F.PermuteVar16x32x2(a.value, Vector512.Create(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), b.value));
            return;
        }
        Lanes8.Split(new(a.value.GetLower()), new(a.value.GetUpper()), out var evenLow, out var oddLow);
        Lanes8.Split(new(b.value.GetLower()), new(b.value.GetUpper()), out var evenHigh, out var oddHigh);
        (even, odd) = (new(Vector512.Create(evenLow.Value, evenHigh.Value)), new(Vector512.Create(oddLow.Value, oddHigh.Value)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes16 Rotated(Lanes16 a, int by)
    {
        if (Avx512F.IsSupported) return new(Avx512F.PermuteVar16x32(a.value, Vector512.Create(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + Vector512.Create(by)));
        return LanesInMemory.Rotated(a, by);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Join(Lanes16 even, Lanes16 odd, out Lanes16 a, out Lanes16 b)
    {
        if (Avx512F.IsSupported)
        {
            a = new(Avx512F.PermuteVar16x32x2(even.value, Vector512.Create(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), odd.value));
            b = new(Avx512F.PermuteVar16x32x2(even.value, Vector512.Create(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), odd.value));
            return;
        }
        Lanes8.Join(new(even.value.GetLower()), new(odd.value.GetLower()), out var aLow, out var aHigh);
        Lanes8.Join(new(even.value.GetUpper()), new(odd.value.GetUpper()), out var bLow, out var bHigh);
        (a, b) = (new(Vector512.Create(aLow.Value, aHigh.Value)), new(Vector512.Create(bLow.Value, bHigh.Value)));
    }

    // Fours of every fourth row come beside each other as they are read, which takes no shuffle; what is left are 4 x 4 floats within each quarter.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(float* from, long fromStride, float* to, long toStride)
    {
        if (!Avx512F.IsSupported)
        {
            Lanes4.Transpose(from, fromStride, to, toStride);
            return;
        }
        for (var c = 0; c < 16; c += 4, from += 4, to += 4 * toStride)
        {
            Vector512<float> a = Fours(from, fromStride), b = Fours(from + fromStride, fromStride), c2 = Fours(from + 2 * fromStride, fromStride), d = Fours(from + 3 * fromStride, fromStride);
            Vector512<float> abLow = Avx512F.UnpackLow(a, b), abHigh = Avx512F.UnpackHigh(a, b), cdLow = Avx512F.UnpackLow(c2, d), cdHigh = Avx512F.UnpackHigh(c2, d);
            Avx512F.Shuffle(abLow, cdLow, 0x44).Store(to);
            Avx512F.Shuffle(abLow, cdLow, 0xEE).Store(to + toStride);
            Avx512F.Shuffle(abHigh, cdHigh, 0x44).Store(to + 2 * toStride);
            Avx512F.Shuffle(abHigh, cdHigh, 0xEE).Store(to + 3 * toStride);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<float> Fours(float* at, long stride)
        {
            var fours = Avx512F.InsertVector128(Vector128.Load(at).ToVector256Unsafe().ToVector512Unsafe(), Vector128.Load(at + 4 * stride), 1);
            fours = Avx512F.InsertVector128(fours, Vector128.Load(at + 8 * stride), 2);
            return Avx512F.InsertVector128(fours, Vector128.Load(at + 12 * stride), 3);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Levels(float* rows, Lanes16 inverse, byte* levels, out ulong kept, out ulong negative)
    {
        if (!Avx512BW.IsSupported)
        {
            Lanes4.Levels(rows, Lanes4.All(inverse.value[0]), levels, out kept, out negative);
            return;
        }
        // Packing rows in pairs is just the order of groups. It bounds from below too, though by one too many.
        var packed = Avx512BW.PackSignedSaturate(Avx512BW.PackSignedSaturate(Row(rows), Row(rows + 16)), Avx512BW.PackSignedSaturate(Row(rows + 32), Row(rows + 48)));
        var whole = Vector512.Max(Avx512F.PermuteVar8x64(packed.AsInt64(), Vector512.Create(0L, 2, 4, 6, 1, 3, 5, 7)).AsSByte(), Vector512.Create((sbyte)-GridFormat.Escape));
        Vector512.Abs(whole).AsByte().Store(levels);
        negative = whole.ExtractMostSignificantBits();
        kept = ~Vector512.Equals(whole, Vector512<sbyte>.Zero).ExtractMostSignificantBits();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector512<int> Row(float* row) => Vector512.ConvertToInt32Native(Vector512.MinNative(Vector512.Load(row) * inverse.value, Vector512.Create((float)GridFormat.Escape)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Above(byte* bytes, int m) => Vector512.GreaterThan(Vector512.Load(bytes).AsSByte(), Vector512.Create((sbyte)m)).ExtractMostSignificantBits();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Compose(ulong present, ulong below, ulong* planes, int count, byte* bytes)
    {
        var sum = Spread(below) & Vector512.Create((byte)0x80) | Spread(present) & Vector512<byte>.One;
        for (var bit = 0; bit < count; bit++) sum += Spread(planes[bit]) & Vector512.Create((byte)(1 << bit));
        sum.Store(bytes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Plane(byte* bytes, int bit) => ((Vector512.Load(bytes) - Vector512<byte>.One).AsUInt16() << 7 - bit).AsByte().ExtractMostSignificantBits();

    // Each bit as a byte of ones or zeros.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<byte> Spread(ulong which)
    {
        var bits = Vector512.Create((byte)1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        var places = Vector512.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7);
        var all = Vector512.Create(which).AsByte();
        return Vector512.Equals((Avx512BW.IsSupported ? Avx512BW.Shuffle(all, places) : Vector512.Create(Lanes8.Spread((uint)which), Lanes8.Spread((uint)(which >> 32)))) & bits, bits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(Vector128<byte> levels, GridMagnitudes* magnitudes, int highest, float* to)
    {
        if (!Avx512F.IsSupported)
        {
            Lanes4.Values(levels, magnitudes, highest, to);
            return;
        }
        // The sign is above the four bits that choose.
        var wide = Avx512F.ConvertToVector512Int32(levels);
        var magnitude = Avx512F.PermuteVar16x32(Vector512.Load(magnitudes->Lowest), wide);
        if (highest >= 16)
        {
            var (offset, step) = magnitudes->Others;
            var level = wide & Vector512.Create(0x7F);
            magnitude = Vector512.ConditionalSelect(Vector512.GreaterThan(level, Vector512.Create(15)).AsSingle(), (Vector512.ConvertToSingle(level) + Vector512.Create(offset)) * Vector512.Create(step), magnitude);
        }
        (magnitude.AsInt32() | wide << 24 & Vector512.Create(int.MinValue)).AsSingle().Store(to);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(ulong present, ulong two, ulong below, GridMagnitudes* magnitudes, float* to)
    {
        Vector512<float> ones = Vector512.Create(magnitudes->Few[1]), twos = Vector512.Create(magnitudes->Few[3]);
        // Fours of the upper row stand beside those of the lower.
        var upper = Vector512.Create(1u, 2, 4, 8, 0x100, 0x200, 0x400, 0x800, 0x10000, 0x20000, 0x40000, 0x80000, 0x1000000, 0x2000000, 0x4000000, 0x8000000);
        TwoRows((uint)present, (uint)two, (uint)below, to);
        TwoRows((uint)(present >> 32), (uint)(two >> 32), (uint)(below >> 32), to + 32);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        void TwoRows(uint present, uint two, uint below, float* to)
        {
            Vector512<uint> p = Vector512.Create(present), t = Vector512.Create(two), b = Vector512.Create(below);
            Row(p, t, b, upper, to);
            Row(p, t, b, upper << 4, to + 16);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        void Row(Vector512<uint> present, Vector512<uint> two, Vector512<uint> below, Vector512<uint> places, float* to)
        {
            var magnitude = Vector512.ConditionalSelect(IsZero(two & places), ones, twos);
            magnitude = Vector512.ConditionalSelect(IsZero(present & places), Vector512<float>.Zero, magnitude);
            Vector512.ConditionalSelect(IsZero(below & places), magnitude, -magnitude).Store(to);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<float> IsZero(Vector512<uint> x) => Vector512.Equals(x, Vector512<uint>.Zero).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong NotZero(float* rows, long stride, ref Lanes16 most)
    {
        Vector512<int> a = Vector512.Load(rows).AsInt32(), b = Vector512.Load(rows + stride).AsInt32(), c = Vector512.Load(rows + 2 * stride).AsInt32(), d = Vector512.Load(rows + 3 * stride).AsInt32();
        most = new(Vector512.Max(Vector512.Max(Vector512.Max(most.value.AsUInt32(), a.AsUInt32()), Vector512.Max(b.AsUInt32(), c.AsUInt32())), d.AsUInt32()).AsSingle());
        if (!Avx512BW.IsSupported)
            return ~(Zeros(a) | Zeros(b) << 16 | Zeros(c) << 32 | Zeros(d) << 48);
        // Without their signs, what is not zero stays so when it is packed; fours of the rows then come one below the other.
        var packed = Avx512BW.PackSignedSaturate(Avx512BW.PackSignedSaturate(a + a, b + b), Avx512BW.PackSignedSaturate(c + c, d + d));
        var inOrder = Avx512F.PermuteVar16x32(packed.AsInt32(), Vector512.Create(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        return ~Vector512.Equals(inOrder.AsByte(), Vector512<byte>.Zero).ExtractMostSignificantBits();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static ulong Zeros(Vector512<int> row) => Vector512.Equals(row.AsSingle(), Vector512<float>.Zero).ExtractMostSignificantBits();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Measure(float* row, ref Lanes16 largest, ref Lanes16 least)
    {
        var x = Vector512.Load(row);
        largest = new(Vector512.Max(largest.value.AsInt32(), Vector512.Abs(x).AsInt32()).AsSingle());
        least = new(Vector512.MinNative(least.value, x));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnySigned(Lanes16 x) => x.value.ExtractMostSignificantBits() != 0;
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnyNegative(Lanes16 x) => Vector512.LessThanAny(x.value, Vector512<float>.Zero);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnyAbove(Lanes16 magnitudes, float limit) => Vector512.GreaterThanAny(magnitudes.value.AsInt32(), Vector512.Create(BitConverter.SingleToInt32Bits(limit)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Restore(float* rows, uint positive, Lanes16 smallest, float* to, long stride)
    {
        var bits = Vector512.Create(1u, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768);
        Row(rows, bits, to);
        Row(rows + 16, bits << 16, to + stride);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        void Row(float* row, Vector512<uint> bits, float* to)
        {
            var zero = Vector512.Equals(Vector512.Create(positive) & bits, Vector512<uint>.Zero);
            Vector512.ConditionalSelect(zero.AsSingle(), Vector512<float>.Zero, Vector512.MaxNative(Vector512.Load(row), smallest.value)).Store(to);
        }
    }
}

readonly unsafe struct Lanes8(Vector256<float> value) : ILanes<Lanes8>
{
    readonly Vector256<float> value = value;

    public static int Count => 8;
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes8 Load(float* from) => new(Vector256.Load(from));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes8 All(float value) => new(Vector256.Create(value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public void Store(float* to) => value.Store(to);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes8 operator +(Lanes8 a, Lanes8 b) => new(a.value + b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes8 operator -(Lanes8 a, Lanes8 b) => new(a.value - b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes8 operator *(Lanes8 a, Lanes8 b) => new(a.value * b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes8 Fused(Lanes8 a, Lanes8 b, Lanes8 c) => new(Vector256.FusedMultiplyAdd(a.value, b.value, c.value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes8 Times(Lanes8 a, Lanes8* b) => new(a.value * Vector256.Load((float*)b));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes8 Fused(Lanes8 a, Lanes8* b, Lanes8 c) => new(Vector256.FusedMultiplyAdd(a.value, Vector256.Load((float*)b), c.value));

    public Vector256<float> Value => value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Split(Lanes8 a, Lanes8 b, out Lanes8 even, out Lanes8 odd)
    {
        if (Avx2.IsSupported)
        {
            even = new(Avx2.Permute4x64(Avx.Shuffle(a.value, b.value, 0x88).AsDouble(), 0xD8).AsSingle());
            odd = new(Avx2.Permute4x64(Avx.Shuffle(a.value, b.value, 0xDD).AsDouble(), 0xD8).AsSingle());
            return;
        }
        Lanes4.Split(new(a.value.GetLower()), new(a.value.GetUpper()), out var evenLow, out var oddLow);
        Lanes4.Split(new(b.value.GetLower()), new(b.value.GetUpper()), out var evenHigh, out var oddHigh);
        (even, odd) = (new(Vector256.Create(evenLow.Value, evenHigh.Value)), new(Vector256.Create(oddLow.Value, oddHigh.Value)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes8 Rotated(Lanes8 a, int by)
    {
        if (Avx2.IsSupported) return new(Avx2.PermuteVar8x32(a.value, Vector256.Create(0, 1, 2, 3, 4, 5, 6, 7) + Vector256.Create(by)));
        return LanesInMemory.Rotated(a, by);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Join(Lanes8 even, Lanes8 odd, out Lanes8 a, out Lanes8 b)
    {
        if (Avx.IsSupported)
        {
            Vector256<float> low = Avx.UnpackLow(even.value, odd.value), high = Avx.UnpackHigh(even.value, odd.value);
            (a, b) = (new(Avx.Permute2x128(low, high, 0x20)), new(Avx.Permute2x128(low, high, 0x31)));
            return;
        }
        Lanes4.Join(new(even.value.GetLower()), new(odd.value.GetLower()), out var aLow, out var aHigh);
        Lanes4.Join(new(even.value.GetUpper()), new(odd.value.GetUpper()), out var bLow, out var bHigh);
        (a, b) = (new(Vector256.Create(aLow.Value, aHigh.Value)), new(Vector256.Create(bLow.Value, bHigh.Value)));
    }

    // 8 x 8 floats at a time, as wide stores only: a wide load that follows narrow stores to the same place waits for all of them.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(float* from, long fromStride, float* to, long toStride)
    {
        if (!Avx.IsSupported)
        {
            Lanes4.Transpose(from, fromStride, to, toStride);
            return;
        }
        for (var i = 0; i < 16; i += 8)
            for (var j = 0; j < 16; j += 8)
            {
                float* rows = from + fromStride * i + j, columns = to + toStride * j + i;
                Four(rows, fromStride, columns, toStride);
                Four(rows + 4, fromStride, columns + 4 * toStride, toStride);
            }

        // Row r beside row r + 4, in halves of four.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Four(float* rows, long fromStride, float* columns, long toStride)
        {
            Vector256<float> a = Halves(rows, fromStride), b = Halves(rows + fromStride, fromStride), c = Halves(rows + 2 * fromStride, fromStride), d = Halves(rows + 3 * fromStride, fromStride);
            Vector256<float> abLow = Avx.UnpackLow(a, b), abHigh = Avx.UnpackHigh(a, b), cdLow = Avx.UnpackLow(c, d), cdHigh = Avx.UnpackHigh(c, d);
            Avx.Shuffle(abLow, cdLow, 0x44).Store(columns);
            Avx.Shuffle(abLow, cdLow, 0xEE).Store(columns + toStride);
            Avx.Shuffle(abHigh, cdHigh, 0x44).Store(columns + 2 * toStride);
            Avx.Shuffle(abHigh, cdHigh, 0xEE).Store(columns + 3 * toStride);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector256<float> Halves(float* row, long stride) => Vector256.Create(Vector128.Load(row), Vector128.Load(row + 4 * stride));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Levels(float* rows, Lanes8 inverse, byte* levels, out ulong kept, out ulong negative)
    {
        if (!Avx2.IsSupported)
        {
            Lanes4.Levels(rows, Lanes4.All(inverse.value[0]), levels, out kept, out negative);
            return;
        }
        Vector256<sbyte> upper = TwoRows(rows, levels), lower = TwoRows(rows + 32, levels + 32);
        negative = upper.ExtractMostSignificantBits() | (ulong)lower.ExtractMostSignificantBits() << 32;
        kept = ~(Vector256.Equals(upper, Vector256<sbyte>.Zero).ExtractMostSignificantBits() | (ulong)Vector256.Equals(lower, Vector256<sbyte>.Zero).ExtractMostSignificantBits() << 32);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector256<sbyte> TwoRows(float* rows, byte* levels)
        {
            // Packing halves side by side is just the order of groups.
            Vector256<short> left = Avx2.PackSignedSaturate(Eight(rows), Eight(rows + 16)), right = Avx2.PackSignedSaturate(Eight(rows + 8), Eight(rows + 24));
            var whole = Avx2.Permute4x64(Avx2.PackSignedSaturate(left, right).AsInt64(), 0b11_01_10_00).AsSByte();
            Vector256.Abs(whole).AsByte().Store(levels);
            return whole;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector256<int> Eight(float* from) =>
            Vector256.ConvertToInt32Native(Vector256.MinNative(Vector256.MaxNative(Vector256.Load(from) * inverse.value, Vector256.Create((float)-GridFormat.Escape)), Vector256.Create((float)GridFormat.Escape)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Above(byte* bytes, int m) =>
        (ulong)Vector256.GreaterThan(Vector256.Load(bytes).AsSByte(), Vector256.Create((sbyte)m)).ExtractMostSignificantBits()
        | (ulong)Vector256.GreaterThan(Vector256.Load(bytes + 32).AsSByte(), Vector256.Create((sbyte)m)).ExtractMostSignificantBits() << 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Compose(ulong present, ulong below, ulong* planes, int count, byte* bytes)
    {
        for (var i = 0; i < 64; i += 32)
        {
            var sum = Spread((uint)(below >> i)) & Vector256.Create((byte)0x80) | Spread((uint)(present >> i)) & Vector256<byte>.One;
            for (var bit = 0; bit < count; bit++) sum += Spread((uint)(planes[bit] >> i)) & Vector256.Create((byte)(1 << bit));
            sum.Store(bytes + i);
        }
    }

    // What a shift moves in from the byte below does not reach the top.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Plane(byte* bytes, int bit) =>
        ((Vector256.Load(bytes) - Vector256<byte>.One).AsUInt16() << 7 - bit).AsByte().ExtractMostSignificantBits()
        | (ulong)((Vector256.Load(bytes + 32) - Vector256<byte>.One).AsUInt16() << 7 - bit).AsByte().ExtractMostSignificantBits() << 32;

    // Each bit as a byte of ones or zeros.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<byte> Spread(uint which)
    {
        var bits = Vector256.Create((byte)1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        var places = Vector256.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
        var all = Vector256.Create((uint)which).AsByte();
        return Vector256.Equals((Avx2.IsSupported ? Avx2.Shuffle(all, places) : Vector256.Create(Lanes4.Spread((ushort)which), Lanes4.Spread((ushort)(which >> 16)))) & bits, bits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(Vector128<byte> levels, GridMagnitudes* magnitudes, int highest, float* to)
    {
        if (!Avx2.IsSupported)
        {
            Lanes4.Values(levels, magnitudes, highest, to);
            return;
        }
        Eight(levels, to);
        Eight(Sse2.ShiftRightLogical128BitLane(levels, 8), to + 8);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        void Eight(Vector128<byte> eight, float* to)
        {
            // The sign is above the three bits that choose.
            var wide = Avx2.ConvertToVector256Int32(eight);
            var magnitude = Avx2.PermuteVar8x32(Vector256.Load(magnitudes->Lowest), wide);
            if (highest >= 8)
            {
                var (offset, step) = magnitudes->Others;
                var level = wide & Vector256.Create(0x7F);
                magnitude = Vector256.ConditionalSelect(Vector256.GreaterThan(level, Vector256.Create(7)).AsSingle(), (Vector256.ConvertToSingle(level) + Vector256.Create(offset)) * Vector256.Create(step), magnitude);
            }
            (magnitude.AsInt32() | wide << 24 & Vector256.Create(int.MinValue)).AsSingle().Store(to);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong NotZero(float* rows, long stride, ref Lanes8 most)
    {
        if (!Avx2.IsSupported)
        {
            Lanes4 raised = new(Vector128.Max(most.value.GetLower().AsUInt32(), most.value.GetUpper().AsUInt32()).AsSingle());
            var notZero = Lanes4.NotZero(rows, stride, ref raised);
            most = new(Vector256.Create(raised.Value, raised.Value));
            return notZero;
        }
        var upper = Zeros(rows, rows + stride, ref most);
        rows += 2 * stride;
        return ~(upper | (ulong)Zeros(rows, rows + stride, ref most) << 32);

        // Packing goes within halves, which leaves fours of the four registers in turn.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static uint Zeros(float* row, float* next, ref Lanes8 most)
        {
            Vector256<float> a = Vector256.Load(row), b = Vector256.Load(row + 8), c = Vector256.Load(next), d = Vector256.Load(next + 8);
            most = new(Avx2.Max(Avx2.Max(most.value.AsUInt32(), Avx2.Max(a.AsUInt32(), b.AsUInt32())), Avx2.Max(c.AsUInt32(), d.AsUInt32())).AsSingle());
            var packed = Avx2.PackSignedSaturate(Avx2.PackSignedSaturate(IsZero(a), IsZero(b)), Avx2.PackSignedSaturate(IsZero(c), IsZero(d)));
            return Avx2.PermuteVar8x32(packed.AsInt32(), Vector256.Create(0, 4, 1, 5, 2, 6, 3, 7)).AsByte().ExtractMostSignificantBits();
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector256<int> IsZero(Vector256<float> x) => Vector256.Equals(x, Vector256<float>.Zero).AsInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Measure(float* row, ref Lanes8 largest, ref Lanes8 least)
    {
        for (var i = 0; i < 16; i += 8)
        {
            var x = Vector256.Load(row + i);
            largest = new(Vector256.Max(largest.value.AsInt32(), Vector256.Abs(x).AsInt32()).AsSingle());
            least = new(Vector256.MinNative(least.value, x));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnySigned(Lanes8 x) => x.value.ExtractMostSignificantBits() != 0;
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnyNegative(Lanes8 x) => Vector256.LessThanAny(x.value, Vector256<float>.Zero);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnyAbove(Lanes8 magnitudes, float limit) => Vector256.GreaterThanAny(magnitudes.value.AsInt32(), Vector256.Create(BitConverter.SingleToInt32Bits(limit)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Restore(float* rows, uint positive, Lanes8 smallest, float* to, long stride)
    {
        var all = Vector256.Create(positive);
        Eight(rows, Vector256.Create(1u, 2, 4, 8, 16, 32, 64, 128), to);
        Eight(rows + 8, Vector256.Create(1u << 8, 1u << 9, 1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15), to + 8);
        Eight(rows + 16, Vector256.Create(1u << 16, 1u << 17, 1u << 18, 1u << 19, 1u << 20, 1u << 21, 1u << 22, 1u << 23), to + stride);
        Eight(rows + 24, Vector256.Create(1u << 24, 1u << 25, 1u << 26, 1u << 27, 1u << 28, 1u << 29, 1u << 30, 1u << 31), to + stride + 8);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        void Eight(float* from, Vector256<uint> bits, float* to) =>
            Vector256.AndNot(Vector256.MaxNative(Vector256.Load(from), smallest.value), Vector256.Equals(all & bits, Vector256<uint>.Zero).AsSingle()).Store(to);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(ulong present, ulong two, ulong below, GridMagnitudes* magnitudes, float* to)
    {
        if (!Avx2.IsSupported)
        {
            Lanes4.Values(present, two, below, magnitudes, to);
            return;
        }
        var table = Vector256.Load(magnitudes->Few);
        TwoRows((uint)present, (uint)two, (uint)below, to);
        TwoRows((uint)(present >> 32), (uint)(two >> 32), (uint)(below >> 32), to + 32);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        void TwoRows(uint present, uint two, uint below, float* to)
        {
            var places = Spread(present) & Vector256<byte>.One | Spread(two) & Vector256.Create((byte)2) | Spread(below) & Vector256.Create((byte)4);
            // Fours of the upper row stand beside those of the lower.
            var rows = Avx2.PermuteVar8x32(places.AsInt32(), Vector256.Create(0, 2, 4, 6, 1, 3, 5, 7)).AsByte();
            Row(rows.GetLower(), to);
            Row(rows.GetUpper(), to + 16);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        void Row(Vector128<byte> places, float* to)
        {
            Avx2.PermuteVar8x32(table, Avx2.ConvertToVector256Int32(places)).Store(to);
            Avx2.PermuteVar8x32(table, Avx2.ConvertToVector256Int32(Sse2.ShiftRightLogical128BitLane(places, 8))).Store(to + 8);
        }
    }
}

readonly unsafe struct Lanes4(Vector128<float> value) : ILanes<Lanes4>
{
    readonly Vector128<float> value = value;

    public static int Count => 4;
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes4 Load(float* from) => new(Vector128.Load(from));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes4 All(float value) => new(Vector128.Create(value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public void Store(float* to) => value.Store(to);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes4 operator +(Lanes4 a, Lanes4 b) => new(a.value + b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes4 operator -(Lanes4 a, Lanes4 b) => new(a.value - b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes4 operator *(Lanes4 a, Lanes4 b) => new(a.value * b.value);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes4 Fused(Lanes4 a, Lanes4 b, Lanes4 c) => new(Vector128.FusedMultiplyAdd(a.value, b.value, c.value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes4 Times(Lanes4 a, Lanes4* b) => new(a.value * Vector128.Load((float*)b));
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static Lanes4 Fused(Lanes4 a, Lanes4* b, Lanes4 c) => new(Vector128.FusedMultiplyAdd(a.value, Vector128.Load((float*)b), c.value));

    public Vector128<float> Value => value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Split(Lanes4 a, Lanes4 b, out Lanes4 even, out Lanes4 odd)
    {
        if (Sse.IsSupported) (even, odd) = (new(Sse.Shuffle(a.value, b.value, 0x88)), new(Sse.Shuffle(a.value, b.value, 0xDD)));
        else (even, odd) = (new(Vector128.Create(a.value[0], a.value[2], b.value[0], b.value[2])), new(Vector128.Create(a.value[1], a.value[3], b.value[1], b.value[3])));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes4 Rotated(Lanes4 a, int by)
    {
        if (Avx.IsSupported) return new(Avx.PermuteVar(a.value, Vector128.Create(0, 1, 2, 3) + Vector128.Create(by)));
        return LanesInMemory.Rotated(a, by);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Join(Lanes4 even, Lanes4 odd, out Lanes4 a, out Lanes4 b)
    {
        if (Sse.IsSupported) (a, b) = (new(Sse.UnpackLow(even.value, odd.value)), new(Sse.UnpackHigh(even.value, odd.value)));
        else (a, b) = (new(Vector128.Create(even.value[0], odd.value[0], even.value[1], odd.value[1])), new(Vector128.Create(even.value[2], odd.value[2], even.value[3], odd.value[3])));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(float* from, long fromStride, float* to, long toStride)
    {
        for (var i = 0; i < 16; i += 4)
            for (var j = 0; j < 16; j += 4)
            {
                float* rows = from + fromStride * i + j, columns = to + toStride * j + i;
                Vector128<float> a = Vector128.Load(rows), b = Vector128.Load(rows + fromStride), c = Vector128.Load(rows + 2 * fromStride), d = Vector128.Load(rows + 3 * fromStride);
                Vector128<float> abLow = Vector128.Create(a[0], b[0], a[1], b[1]), abHigh = Vector128.Create(a[2], b[2], a[3], b[3]);
                Vector128<float> cdLow = Vector128.Create(c[0], d[0], c[1], d[1]), cdHigh = Vector128.Create(c[2], d[2], c[3], d[3]);
                if (Sse.IsSupported)
                {
                    (abLow, abHigh, cdLow, cdHigh) = (Sse.UnpackLow(a, b), Sse.UnpackHigh(a, b), Sse.UnpackLow(c, d), Sse.UnpackHigh(c, d));
                }
                Vector128.Create(abLow.GetLower(), cdLow.GetLower()).Store(columns);
                Vector128.Create(abLow.GetUpper(), cdLow.GetUpper()).Store(columns + toStride);
                Vector128.Create(abHigh.GetLower(), cdHigh.GetLower()).Store(columns + 2 * toStride);
                Vector128.Create(abHigh.GetUpper(), cdHigh.GetUpper()).Store(columns + 3 * toStride);
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Levels(float* rows, Lanes4 inverse, byte* levels, out ulong kept, out ulong negative)
    {
        (kept, negative) = (0, 0);
        for (var eights = 0; eights < 4; eights++)
        {
            var from = rows + eights / 2 * 32 + eights % 2 * 8;
            var whole = Vector128.NarrowWithSaturation(Vector128.NarrowWithSaturation(Four(from), Four(from + 16)), Vector128.NarrowWithSaturation(Four(from + 4), Four(from + 20)));
            Vector128.Abs(whole).AsByte().Store(levels + 16 * eights);
            negative |= (ulong)whole.ExtractMostSignificantBits() << 16 * eights;
            kept |= (~Vector128.Equals(whole, Vector128<sbyte>.Zero).ExtractMostSignificantBits() & 0xFFFFUL) << 16 * eights;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector128<int> Four(float* from) =>
            Vector128.ConvertToInt32Native(Vector128.MinNative(Vector128.MaxNative(Vector128.Load(from) * inverse.value, Vector128.Create((float)-GridFormat.Escape)), Vector128.Create((float)GridFormat.Escape)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Above(byte* bytes, int m) =>
        (ulong)Vector128.GreaterThan(Vector128.Load(bytes).AsSByte(), Vector128.Create((sbyte)m)).ExtractMostSignificantBits()
        | (ulong)Vector128.GreaterThan(Vector128.Load(bytes + 16).AsSByte(), Vector128.Create((sbyte)m)).ExtractMostSignificantBits() << 16
        | (ulong)Vector128.GreaterThan(Vector128.Load(bytes + 32).AsSByte(), Vector128.Create((sbyte)m)).ExtractMostSignificantBits() << 32
        | (ulong)Vector128.GreaterThan(Vector128.Load(bytes + 48).AsSByte(), Vector128.Create((sbyte)m)).ExtractMostSignificantBits() << 48;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Compose(ulong present, ulong below, ulong* planes, int count, byte* bytes)
    {
        for (var i = 0; i < 64; i += 16)
        {
            var sum = Spread((ushort)(below >> i)) & Vector128.Create((byte)0x80) | Spread((ushort)(present >> i)) & Vector128<byte>.One;
            for (var bit = 0; bit < count; bit++) sum += Spread((ushort)(planes[bit] >> i)) & Vector128.Create((byte)(1 << bit));
            sum.Store(bytes + i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Plane(byte* bytes, int bit)
    {
        ulong plane = 0;
        for (var i = 0; i < 64; i += 16) plane |= (ulong)((Vector128.Load(bytes + i) - Vector128<byte>.One).AsUInt16() << 7 - bit).AsByte().ExtractMostSignificantBits() << i;
        return plane;
    }

    // Each bit as a byte of ones or zeros.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<byte> Spread(ushort which)
    {
        var bits = Vector128.Create((byte)1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        var places = Vector128.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
        var all = Vector128.Create((ushort)which).AsByte();
        return Vector128.Equals((Vector128.Shuffle(all, places)) & bits, bits);
    }

    public static void Values(Vector128<byte> levels, GridMagnitudes* magnitudes, int highest, float* to)
    {
        for (var i = 0; i < 16; i++)
        {
            var magnitude = (*magnitudes)[levels[i] & 0x7F];
            to[i] = levels[i] >= 0x80 ? -magnitude : magnitude;
        }
    }

    public static void Values(ulong present, ulong two, ulong below, GridMagnitudes* magnitudes, float* to) => GridDefinition.Values(present, two, below, magnitudes, to);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong NotZero(float* rows, long stride, ref Lanes4 most)
    {
        ulong zero = 0;
        for (var i = 0; i < 64; i += 4)
        {
            var x = Vector128.Load(rows + i / 16 * stride + i % 16);
            most = new(Vector128.Max(most.value.AsUInt32(), x.AsUInt32()).AsSingle());
            zero |= (ulong)Vector128.Equals(x, Vector128<float>.Zero).ExtractMostSignificantBits() << i;
        }
        return ~zero;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Measure(float* row, ref Lanes4 largest, ref Lanes4 least)
    {
        for (var i = 0; i < 16; i += 4)
        {
            var x = Vector128.Load(row + i);
            largest = new(Vector128.Max(largest.value.AsInt32(), Vector128.Abs(x).AsInt32()).AsSingle());
            least = new(Vector128.MinNative(least.value, x));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnySigned(Lanes4 x) => x.value.ExtractMostSignificantBits() != 0;
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnyNegative(Lanes4 x) => Vector128.LessThanAny(x.value, Vector128<float>.Zero);
    [MethodImpl(MethodImplOptions.AggressiveInlining)] public static bool AnyAbove(Lanes4 magnitudes, float limit) => Vector128.GreaterThanAny(magnitudes.value.AsInt32(), Vector128.Create(BitConverter.SingleToInt32Bits(limit)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Restore(float* rows, uint positive, Lanes4 smallest, float* to, long stride)
    {
        var bits = Vector128.Create(1u, 2, 4, 8);
        for (var i = 0; i < 32; i += 4)
        {
            var zero = Vector128.Equals(Vector128.Create(positive >> i) & bits, Vector128<uint>.Zero);
            Vector128.AndNot(Vector128.MaxNative(Vector128.Load(rows + i), smallest.value), zero.AsSingle()).Store(to + i / 16 * stride + i % 16);
        }
    }
}
