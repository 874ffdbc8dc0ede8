using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Actipress.Machine;

/// <summary>Eight floats in a register of AVX. Processors without AVX2 emulate it in halves.</summary>
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
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes8 Fused(Lanes8 a, Lanes8 b, Lanes8 c) => new(Vector256.FusedMultiplyAdd(a.value, b.value, c.value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes8 Times(Lanes8 a, Lanes8* b) => new(a.value * Vector256.Load((float*)b));
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes8 Fused(Lanes8 a, Lanes8* b, Lanes8 c) =>
        new(Vector256.FusedMultiplyAdd(a.value, Vector256.Load((float*)b), c.value));

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

    // This transposes 8 x 8 floats at a time with wide stores only: a wide load after narrow stores to the same address cannot be
    // forwarded.
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

        // A register holds four floats of row r, then four of row r + 4.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Four(float* rows, long fromStride, float* columns, long toStride)
        {
            Vector256<float> a = Halves(rows, fromStride), b = Halves(rows + fromStride, fromStride),
                c = Halves(rows + 2 * fromStride, fromStride), d = Halves(rows + 3 * fromStride, fromStride);
            Vector256<float> abLow = Avx.UnpackLow(a, b), abHigh = Avx.UnpackHigh(a, b), cdLow = Avx.UnpackLow(c, d),
                cdHigh = Avx.UnpackHigh(c, d);
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
        kept = ~(Vector256.Equals(upper, Vector256<sbyte>.Zero).ExtractMostSignificantBits()
            | (ulong)Vector256.Equals(lower, Vector256<sbyte>.Zero).ExtractMostSignificantBits() << 32);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector256<sbyte> TwoRows(float* rows, byte* levels)
        {
            // Packing goes within halves of a register, which gives the order of groups.
            Vector256<short> left = Avx2.PackSignedSaturate(Eight(rows), Eight(rows + 16)),
                right = Avx2.PackSignedSaturate(Eight(rows + 8), Eight(rows + 24));
            var whole = Avx2.Permute4x64(Avx2.PackSignedSaturate(left, right).AsInt64(), 0b11_01_10_00).AsSByte();
            Vector256.Abs(whole).AsByte().Store(levels);
            return whole;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector256<int> Eight(float* from) =>
            Vector256.ConvertToInt32Native(Vector256.MinNative(
                Vector256.MaxNative(Vector256.Load(from) * inverse.value, Vector256.Create((float)-sbyte.MaxValue)),
                Vector256.Create((float)sbyte.MaxValue)));
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

    // The bits that the shift moves in from the byte below do not reach the top bit.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Plane(byte* bytes, int bit) =>
        ((Vector256.Load(bytes) - Vector256<byte>.One).AsUInt16() << 7 - bit).AsByte().ExtractMostSignificantBits()
        | (ulong)((Vector256.Load(bytes + 32) - Vector256<byte>.One).AsUInt16() << 7 - bit).AsByte().ExtractMostSignificantBits() << 32;

    // Expands each bit to a byte of ones or zeros.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<byte> Spread(uint which)
    {
        var bits = Vector256.Create(
            (byte)1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        var places = Vector256.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
        var all = Vector256.Create((uint)which).AsByte();
        return Vector256.Equals(
            (Avx2.IsSupported
                ? Avx2.Shuffle(all, places) : Vector256.Create(Lanes4.Spread((ushort)which), Lanes4.Spread((ushort)(which >> 16)))) & bits,
            bits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(Vector128<byte> levels, Magnitudes* magnitudes, int highest, float* to)
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
            // The lookup uses the lower three bits of a byte; the sign is above them.
            var wide = Avx2.ConvertToVector256Int32(eight);
            var magnitude = Avx2.PermuteVar8x32(Vector256.Load(magnitudes->Lowest), wide);
            if (highest >= 8)
            {
                var (offset, step) = magnitudes->Others;
                var level = wide & Vector256.Create(0x7F);
                magnitude = Vector256.ConditionalSelect(
                    Vector256.GreaterThan(level, Vector256.Create(7)).AsSingle(),
                    (Vector256.ConvertToSingle(level) + Vector256.Create(offset)) * Vector256.Create(step), magnitude);
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

        // Packing goes within halves of a register, so that four bytes of each source follow one another.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static uint Zeros(float* row, float* next, ref Lanes8 most)
        {
            Vector256<float> a = Vector256.Load(row), b = Vector256.Load(row + 8), c = Vector256.Load(next), d = Vector256.Load(next + 8);
            most = new(Avx2.Max(Avx2.Max(most.value.AsUInt32(), Avx2.Max(a.AsUInt32(), b.AsUInt32())), Avx2.Max(c.AsUInt32(), d.AsUInt32()))
                .AsSingle());
            var packed =
                Avx2.PackSignedSaturate(Avx2.PackSignedSaturate(IsZero(a), IsZero(b)), Avx2.PackSignedSaturate(IsZero(c), IsZero(d)));
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
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyNegative(Lanes8 x) => Vector256.LessThanAny(x.value, Vector256<float>.Zero);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyAbove(Lanes8 magnitudes, float limit) =>
        Vector256.GreaterThanAny(magnitudes.value.AsInt32(), Vector256.Create(BitConverter.SingleToInt32Bits(limit)));

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
            Vector256.AndNot(
                Vector256.MaxNative(Vector256.Load(from), smallest.value),
                Vector256.Equals(all & bits, Vector256<uint>.Zero).AsSingle()).Store(to);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* to)
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
            var places =
                Spread(present) & Vector256<byte>.One | Spread(two) & Vector256.Create((byte)2) | Spread(below) & Vector256.Create((byte)4);
            // The bits are in the order of groups: four of the upper row, then the four below them.
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
