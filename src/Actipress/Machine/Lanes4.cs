using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Actipress.Machine;

/// <summary>Four floats in a register of 128 bits, which every processor that .NET runs on has or emulates.</summary>
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
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes4 Fused(Lanes4 a, Lanes4 b, Lanes4 c) => new(Vector128.FusedMultiplyAdd(a.value, b.value, c.value));
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes4 Times(Lanes4 a, Lanes4* b) => new(a.value * Vector128.Load((float*)b));
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes4 Fused(Lanes4 a, Lanes4* b, Lanes4 c) =>
        new(Vector128.FusedMultiplyAdd(a.value, Vector128.Load((float*)b), c.value));

    public Vector128<float> Value => value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Split(Lanes4 a, Lanes4 b, out Lanes4 even, out Lanes4 odd)
    {
        if (Sse.IsSupported) (even, odd) = (new(Sse.Shuffle(a.value, b.value, 0x88)), new(Sse.Shuffle(a.value, b.value, 0xDD)));
        else
            (even, odd) = (
                new(Vector128.Create(a.value[0], a.value[2], b.value[0], b.value[2])),
                new(Vector128.Create(a.value[1], a.value[3], b.value[1], b.value[3])));
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
        else
            (a, b) = (
                new(Vector128.Create(even.value[0], odd.value[0], even.value[1], odd.value[1])),
                new(Vector128.Create(even.value[2], odd.value[2], even.value[3], odd.value[3])));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(float* from, long fromStride, float* to, long toStride)
    {
        for (var i = 0; i < 16; i += 4)
            for (var j = 0; j < 16; j += 4)
            {
                float* rows = from + fromStride * i + j, columns = to + toStride * j + i;
                Vector128<float> a = Vector128.Load(rows), b = Vector128.Load(rows + fromStride), c = Vector128.Load(rows + 2 * fromStride),
                    d = Vector128.Load(rows + 3 * fromStride);
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
            var whole = Vector128.NarrowWithSaturation(
                Vector128.NarrowWithSaturation(Four(from), Four(from + 16)),
                Vector128.NarrowWithSaturation(Four(from + 4), Four(from + 20)));
            Vector128.Abs(whole).AsByte().Store(levels + 16 * eights);
            negative |= (ulong)whole.ExtractMostSignificantBits() << 16 * eights;
            kept |= (~Vector128.Equals(whole, Vector128<sbyte>.Zero).ExtractMostSignificantBits() & 0xFFFFUL) << 16 * eights;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector128<int> Four(float* from) =>
            Vector128.ConvertToInt32Native(Vector128.MinNative(
                Vector128.MaxNative(Vector128.Load(from) * inverse.value, Vector128.Create((float)-sbyte.MaxValue)),
                Vector128.Create((float)sbyte.MaxValue)));
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
        for (var i = 0; i < 64; i += 16)
            plane |=
                (ulong)((Vector128.Load(bytes + i) - Vector128<byte>.One).AsUInt16() << 7 - bit).AsByte().ExtractMostSignificantBits() << i;
        return plane;
    }

    // Expands each bit to a byte of ones or zeros.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<byte> Spread(ushort which)
    {
        var bits = Vector128.Create((byte)1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        var places = Vector128.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
        var all = Vector128.Create((ushort)which).AsByte();
        return Vector128.Equals((Vector128.Shuffle(all, places)) & bits, bits);
    }

    public static void Values(Vector128<byte> levels, Magnitudes* magnitudes, int highest, float* to)
    {
        for (var i = 0; i < 16; i++)
        {
            var magnitude = (*magnitudes)[levels[i] & 0x7F];
            to[i] = levels[i] >= 0x80 ? -magnitude : magnitude;
        }
    }

    public static void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* to)
    {
        for (var eights = 0; eights < 8; eights++)
            for (var i = 0; i < 8; i++)
            {
                var bit = 8 * eights + i;
                var place = (present >> bit & 1) + 2 * (two >> bit & 1) + 4 * (below >> bit & 1);
                to[32 * (eights / 4) + 4 * (eights % 4) + 16 * (i / 4) + i % 4] = magnitudes->Few[place];
            }
    }

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
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyNegative(Lanes4 x) => Vector128.LessThanAny(x.value, Vector128<float>.Zero);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyAbove(Lanes4 magnitudes, float limit) =>
        Vector128.GreaterThanAny(magnitudes.value.AsInt32(), Vector128.Create(BitConverter.SingleToInt32Bits(limit)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Restore(float* rows, uint positive, Lanes4 smallest, float* to, long stride)
    {
        var bits = Vector128.Create(1u, 2, 4, 8);
        for (var i = 0; i < 32; i += 4)
        {
            var zero = Vector128.Equals(Vector128.Create(positive >> i) & bits, Vector128<uint>.Zero);
            Vector128.AndNot(Vector128.MaxNative(Vector128.Load(rows + i), smallest.value), zero.AsSingle())
                .Store(to + i / 16 * stride + i % 16);
        }
    }
}
