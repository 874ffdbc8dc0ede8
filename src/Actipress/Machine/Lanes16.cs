using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Actipress.Machine;

/// <summary>Sixteen floats in a register of AVX-512. Processors without AVX-512 emulate it in halves.</summary>
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
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes16 Fused(Lanes16 a, Lanes16 b, Lanes16 c) => new(Vector512.FusedMultiplyAdd(a.value, b.value, c.value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes16 Times(Lanes16 a, Lanes16* b) => new(a.value * Vector512.Load((float*)b));
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes16 Fused(Lanes16 a, Lanes16* b, Lanes16 c) =>
        new(Vector512.FusedMultiplyAdd(a.value, Vector512.Load((float*)b), c.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Split(Lanes16 a, Lanes16 b, out Lanes16 even, out Lanes16 odd)
    {
        if (Avx512F.IsSupported)
        {
            even = new(Avx512F.PermuteVar16x32x2(
                a.value, Vector512.Create(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), b.value));
            odd = new(Avx512F.PermuteVar16x32x2(
                a.value, Vector512.Create(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), b.value));
            return;
        }
        Lanes8.Split(new(a.value.GetLower()), new(a.value.GetUpper()), out var evenLow, out var oddLow);
        Lanes8.Split(new(b.value.GetLower()), new(b.value.GetUpper()), out var evenHigh, out var oddHigh);
        (even, odd) = (new(Vector512.Create(evenLow.Value, evenHigh.Value)), new(Vector512.Create(oddLow.Value, oddHigh.Value)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes16 Rotated(Lanes16 a, int by)
    {
        if (Avx512F.IsSupported)
            return new(Avx512F.PermuteVar16x32(
                a.value, Vector512.Create(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + Vector512.Create(by)));
        return LanesInMemory.Rotated(a, by);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Join(Lanes16 even, Lanes16 odd, out Lanes16 a, out Lanes16 b)
    {
        if (Avx512F.IsSupported)
        {
            a = new(Avx512F.PermuteVar16x32x2(
                even.value, Vector512.Create(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), odd.value));
            b = new(Avx512F.PermuteVar16x32x2(
                even.value, Vector512.Create(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), odd.value));
            return;
        }
        Lanes8.Join(new(even.value.GetLower()), new(odd.value.GetLower()), out var aLow, out var aHigh);
        Lanes8.Join(new(even.value.GetUpper()), new(odd.value.GetUpper()), out var bLow, out var bHigh);
        (a, b) = (new(Vector512.Create(aLow.Value, aHigh.Value)), new(Vector512.Create(bLow.Value, bHigh.Value)));
    }

    // The loads put four floats of every fourth row next to each other, without a shuffle. Within each quarter of a register 4 x 4 floats
    // remain to be transposed.
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
            Vector512<float> a = Fours(from, fromStride), b = Fours(from + fromStride, fromStride),
                c2 = Fours(from + 2 * fromStride, fromStride), d = Fours(from + 3 * fromStride, fromStride);
            Vector512<float> abLow = Avx512F.UnpackLow(a, b), abHigh = Avx512F.UnpackHigh(a, b), cdLow = Avx512F.UnpackLow(c2, d),
                cdHigh = Avx512F.UnpackHigh(c2, d);
            Avx512F.Shuffle(abLow, cdLow, 0x44).Store(to);
            Avx512F.Shuffle(abLow, cdLow, 0xEE).Store(to + toStride);
            Avx512F.Shuffle(abHigh, cdHigh, 0x44).Store(to + 2 * toStride);
            Avx512F.Shuffle(abHigh, cdHigh, 0xEE).Store(to + 3 * toStride);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<float> Fours(float* at, long stride)
        {
            var fours =
                Avx512F.InsertVector128(Vector128.Load(at).ToVector256Unsafe().ToVector512Unsafe(), Vector128.Load(at + 4 * stride), 1);
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
        // Packing the rows in pairs gives the order of groups. The packing saturates at -128, one below the lowest level.
        var packed = Avx512BW.PackSignedSaturate(
            Avx512BW.PackSignedSaturate(Row(rows), Row(rows + 16)), Avx512BW.PackSignedSaturate(Row(rows + 32), Row(rows + 48)));
        var whole = Vector512.Max(
            Avx512F.PermuteVar8x64(packed.AsInt64(), Vector512.Create(0L, 2, 4, 6, 1, 3, 5, 7)).AsSByte(),
            Vector512.Create((sbyte)-sbyte.MaxValue));
        Vector512.Abs(whole).AsByte().Store(levels);
        negative = whole.ExtractMostSignificantBits();
        kept = ~Vector512.Equals(whole, Vector512<sbyte>.Zero).ExtractMostSignificantBits();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector512<int> Row(float* row) => Vector512.ConvertToInt32Native(Vector512.MinNative(
            Vector512.Load(row) * inverse.value, Vector512.Create((float)sbyte.MaxValue)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Above(byte* bytes, int m) =>
        Vector512.GreaterThan(Vector512.Load(bytes).AsSByte(), Vector512.Create((sbyte)m)).ExtractMostSignificantBits();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Compose(ulong present, ulong below, ulong* planes, int count, byte* bytes)
    {
        var sum = Spread(below) & Vector512.Create((byte)0x80) | Spread(present) & Vector512<byte>.One;
        for (var bit = 0; bit < count; bit++) sum += Spread(planes[bit]) & Vector512.Create((byte)(1 << bit));
        sum.Store(bytes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Plane(byte* bytes, int bit) =>
        ((Vector512.Load(bytes) - Vector512<byte>.One).AsUInt16() << 7 - bit).AsByte().ExtractMostSignificantBits();

    // Expands each bit to a byte of ones or zeros.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<byte> Spread(ulong which)
    {
        var bits = Vector512.Create(
            (byte)1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2,
            4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        var places = Vector512.Create(
            (byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5,
            5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7);
        var all = Vector512.Create(which).AsByte();
        return Vector512.Equals(
            (Avx512BW.IsSupported
                ? Avx512BW.Shuffle(all, places) : Vector512.Create(Lanes8.Spread((uint)which), Lanes8.Spread((uint)(which >> 32)))) & bits,
            bits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(Vector128<byte> levels, Magnitudes* magnitudes, int highest, float* to)
    {
        if (!Avx512F.IsSupported)
        {
            Lanes4.Values(levels, magnitudes, highest, to);
            return;
        }
        // The lookup uses the lower four bits of a byte; the sign is above them.
        var wide = Avx512F.ConvertToVector512Int32(levels);
        var magnitude = Avx512F.PermuteVar16x32(Vector512.Load(magnitudes->Lowest), wide);
        if (highest >= 16)
        {
            var (offset, step) = magnitudes->Others;
            var level = wide & Vector512.Create(0x7F);
            magnitude = Vector512.ConditionalSelect(
                Vector512.GreaterThan(level, Vector512.Create(15)).AsSingle(),
                (Vector512.ConvertToSingle(level) + Vector512.Create(offset)) * Vector512.Create(step), magnitude);
        }
        (magnitude.AsInt32() | wide << 24 & Vector512.Create(int.MinValue)).AsSingle().Store(to);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* to)
    {
        Vector512<float> ones = Vector512.Create(magnitudes->Few[1]), twos = Vector512.Create(magnitudes->Few[3]);
        // The bits are in the order of groups: four of the upper row, then the four below them.
        var upper = Vector512.Create(
            1u, 2, 4, 8, 0x100, 0x200, 0x400, 0x800, 0x10000, 0x20000, 0x40000, 0x80000, 0x1000000, 0x2000000, 0x4000000, 0x8000000);
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
        Vector512<int> a = Vector512.Load(rows).AsInt32(), b = Vector512.Load(rows + stride).AsInt32(),
            c = Vector512.Load(rows + 2 * stride).AsInt32(), d = Vector512.Load(rows + 3 * stride).AsInt32();
        most = new(Vector512.Max(
            Vector512.Max(Vector512.Max(most.value.AsUInt32(), a.AsUInt32()), Vector512.Max(b.AsUInt32(), c.AsUInt32())),
            d.AsUInt32()).AsSingle());
        if (!Avx512BW.IsSupported)
            return ~(Zeros(a) | Zeros(b) << 16 | Zeros(c) << 32 | Zeros(d) << 48);
        // A magnitude that is not zero stays different from zero when it is packed. The packed bytes are in the order of groups.
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
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyNegative(Lanes16 x) => Vector512.LessThanAny(x.value, Vector512<float>.Zero);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyAbove(Lanes16 magnitudes, float limit) =>
        Vector512.GreaterThanAny(magnitudes.value.AsInt32(), Vector512.Create(BitConverter.SingleToInt32Bits(limit)));

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
            Vector512.ConditionalSelect(zero.AsSingle(), Vector512<float>.Zero, Vector512.MaxNative(Vector512.Load(row), smallest.value))
                .Store(to);
        }
    }
}
