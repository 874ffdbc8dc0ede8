using System.Runtime.CompilerServices;
using Actipress.Grid.Wavelets;
using Actipress.Machine;

namespace Actipress.Grid;

// The arithmetic of wavelets, some lanes at a time.
unsafe partial struct GridLanes<T>
{
    public static void Transpose(float* from, long fromStride, float* to, long toStride) => T.Transpose(from, fromStride, to, toStride);

    public static void Filter(float** from, float* u, float* v, int taps, float* first, float* second, int count)
    {
        if (count < T.Count)
        {
            if (T.Count > 8) GridLanes<Lanes8>.Filter(from, u, v, taps, first, second, count);
            else if (T.Count > 4) GridLanes<Lanes4>.Filter(from, u, v, taps, first, second, count);
            else GridPlain.Filter(from, u, v, taps, first, second, count);
            return;
        }
        var i = 0;
        for (; i <= count - 4 * T.Count; i += 4 * T.Count) Four(from, u, v, taps, first, second, i);
        for (; i <= count - T.Count; i += T.Count) One(from, u, v, taps, first, second, i);
        // The last register overlaps the one before.
        if (i < count) One(from, u, v, taps, first, second, count - T.Count);
    }

    // Eight independent sums hide the latency of a fused multiply-add.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Four(float** from, float* u, float* v, int taps, float* first, float* second, int i)
    {
        var x = from[0] + i;
        T x0 = T.Load(x), x1 = T.Load(x + T.Count), x2 = T.Load(x + 2 * T.Count), x3 = T.Load(x + 3 * T.Count);
        T p = T.All(u[0]), q = T.All(v[0]);
        T a0 = x0 * p, a1 = x1 * p, a2 = x2 * p, a3 = x3 * p;
        T b0 = x0 * q, b1 = x1 * q, b2 = x2 * q, b3 = x3 * q;
        for (var j = 1; j < taps; j++)
        {
            x = from[j] + i;
            (p, q) = (T.All(u[j]), T.All(v[j]));
            x0 = T.Load(x); a0 = T.Fused(x0, p, a0); b0 = T.Fused(x0, q, b0);
            x1 = T.Load(x + T.Count); a1 = T.Fused(x1, p, a1); b1 = T.Fused(x1, q, b1);
            x2 = T.Load(x + 2 * T.Count); a2 = T.Fused(x2, p, a2); b2 = T.Fused(x2, q, b2);
            x3 = T.Load(x + 3 * T.Count); a3 = T.Fused(x3, p, a3); b3 = T.Fused(x3, q, b3);
        }
        a0.Store(first + i); a1.Store(first + i + T.Count); a2.Store(first + i + 2 * T.Count); a3.Store(first + i + 3 * T.Count);
        b0.Store(second + i); b1.Store(second + i + T.Count); b2.Store(second + i + 2 * T.Count); b3.Store(second + i + 3 * T.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void One(float** from, float* u, float* v, int taps, float* first, float* second, int i)
    {
        var x = T.Load(from[0] + i);
        T a = x * T.All(u[0]), b = x * T.All(v[0]);
        for (var j = 1; j < taps; j++)
        {
            x = T.Load(from[j] + i);
            (a, b) = (T.Fused(x, T.All(u[j]), a), T.Fused(x, T.All(v[j]), b));
        }
        a.Store(first + i);
        b.Store(second + i);
    }

    public static bool DivideRow(float* x, float* u, float* v, int taps, float* low, float* high, int half)
    {
        if (half < T.Count)
            return T.Count > 8
                ? GridLanes<Lanes8>.DivideRow(x, u, v, taps, low, high, half)
                : T.Count > 4 && GridLanes<Lanes4>.DivideRow(x, u, v, taps, low, high, half);
        if (half > T.Count) return false;
        T.Split(T.Load(x), T.Load(x + T.Count), out var even, out var odd);
        var met = Met(0);
        T a = met * T.All(u[0]), b = met * T.All(v[0]);
        for (var j = 1; j < taps; j++)
        {
            met = Met(j);
            (a, b) = (T.Fused(met, T.All(u[j]), a), T.Fused(met, T.All(v[j]), b));
        }
        a.Store(low);
        b.Store(high);
        return true;

        // The input of tap j for output o has the index taps / 2 + 2 o - j.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        T Met(int j) => T.Rotated((taps / 2 - j) % 2 == 0 ? even : odd, taps / 2 - j >> 1);
    }

    public static bool CombineRow(float* low, float* high, float* u, float* v, int taps, float* x, int half)
    {
        if (half < T.Count)
            return T.Count > 8
                ? GridLanes<Lanes8>.CombineRow(low, high, u, v, taps, x, half)
                : T.Count > 4 && GridLanes<Lanes4>.CombineRow(low, high, u, v, taps, x, half);
        if (half > T.Count) return false;
        T lows = T.Load(low), highs = T.Load(high);
        var (each, reach) = (taps / 2, taps / 4);
        var met = T.Rotated(lows, -reach);
        T a = met * T.All(u[0]), b = met * T.All(v[0]);
        for (var t = 1; t < taps; t++)
        {
            met = T.Rotated(t < each ? lows : highs, t % each - reach);
            (a, b) = (T.Fused(met, T.All(u[t]), a), T.Fused(met, T.All(v[t]), b));
        }
        // Where each band has an even number of taps, a pair begins one value earlier.
        if (each % 2 == 0) (a, b) = (b, T.Rotated(a, 1));
        T.Join(a, b, out var first, out var second);
        first.Store(x);
        second.Store(x + T.Count);
        return true;
    }

    public static void Quarter(float* upper, float* lower, long space, int pairs, float* u, float* v, in FourBands bands, int count)
    {
        T u0 = T.All(u[0]), u1 = T.All(u[1]), v0 = T.All(v[0]), v1 = T.All(v[1]);
        var (left, to) = (pairs, bands);
        if (count == 1 && lower == upper + 2 && space == 4)
            for (; left >= T.Count; left -= T.Count, upper += 4 * T.Count, lower += 4 * T.Count, to = to.After(T.Count))
                Squares(upper, u0, u1, v0, v1, to);
        // Where half a row fills half a register, two rows fill one register of each band.
        if (2 * count == T.Count)
            for (; left > 1; left -= 2, upper += 2 * space, lower += 2 * space, to = to.After(T.Count))
                Quarter(upper, lower, space, u0, u1, v0, v1, to);
        if (count >= T.Count)
            for (; left > 0; left--, upper += space, lower += space, to = to.After(count))
            {
                var i = 0;
                for (; i <= count - T.Count; i += T.Count) Quarter(upper + 2 * i, lower + 2 * i, T.Count, u0, u1, v0, v1, to.After(i));
                // The last register overlaps the one before.
                if (i < count)
                    Quarter(
                        upper + 2 * (count - T.Count), lower + 2 * (count - T.Count), T.Count, u0, u1, v0, v1, to.After(count - T.Count));
            }
        if (left == 0) return;
        if (T.Count > 8) GridLanes<Lanes8>.Quarter(upper, lower, space, left, u, v, to, count);
        else if (T.Count > 4) GridLanes<Lanes4>.Quarter(upper, lower, space, left, u, v, to, count);
        else GridPlain.Quarter(upper, lower, space, left, u, v, to, count);
    }

    // Divides two registers of each row.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Quarter(float* upper, float* lower, long next, T u0, T u1, T v0, T v1, FourBands to)
    {
        T a = T.Load(upper), b = T.Load(upper + next), c = T.Load(lower), d = T.Load(lower + next);
        T.Split(T.Fused(a, u1, c * u0), T.Fused(b, u1, d * u0), out var even, out var odd);
        T.Fused(even, u1, odd * u0).Store(to.LowLow);
        T.Fused(even, v1, odd * v0).Store(to.LowHigh);
        T.Split(T.Fused(a, v1, c * v0), T.Fused(b, v1, d * v0), out even, out odd);
        T.Fused(even, u1, odd * u0).Store(to.HighLow);
        T.Fused(even, v1, odd * v0).Store(to.HighHigh);
    }

    // Divides maps of 2 x 2 values, as many as a register has lanes.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Squares(float* x, T u0, T u1, T v0, T v1, FourBands to)
    {
        T.Split(T.Load(x), T.Load(x + T.Count), out var left, out var right);
        T.Split(T.Load(x + 2 * T.Count), T.Load(x + 3 * T.Count), out var nextLeft, out var nextRight);
        T.Split(left, nextLeft, out var a, out var c);
        T.Split(right, nextRight, out var b, out var d);
        T even = T.Fused(a, u1, c * u0), odd = T.Fused(b, u1, d * u0);
        T.Fused(even, u1, odd * u0).Store(to.LowLow);
        T.Fused(even, v1, odd * v0).Store(to.LowHigh);
        (even, odd) = (T.Fused(a, v1, c * v0), T.Fused(b, v1, d * v0));
        T.Fused(even, u1, odd * u0).Store(to.HighLow);
        T.Fused(even, v1, odd * v0).Store(to.HighHigh);
    }

    public static void Unite(in FourBands bands, float* u, float* v, float* upper, float* lower, long space, int pairs, int count)
    {
        T u0 = T.All(u[0]), u1 = T.All(u[1]), v0 = T.All(v[0]), v1 = T.All(v[1]);
        var (left, from) = (pairs, bands);
        if (count == 1 && lower == upper + 2 && space == 4)
            for (; left >= T.Count; left -= T.Count, upper += 4 * T.Count, lower += 4 * T.Count, from = from.After(T.Count))
                UniteSquares(from, u0, u1, v0, v1, upper);
        if (2 * count == T.Count)
            for (; left > 1; left -= 2, upper += 2 * space, lower += 2 * space, from = from.After(T.Count))
                Unite(from, u0, u1, v0, v1, upper, lower, space);
        if (count >= T.Count)
            for (; left > 0; left--, upper += space, lower += space, from = from.After(count))
            {
                var i = 0;
                for (; i <= count - T.Count; i += T.Count) Unite(from.After(i), u0, u1, v0, v1, upper + 2 * i, lower + 2 * i, T.Count);
                if (i < count)
                    Unite(
                        from.After(count - T.Count), u0, u1, v0, v1, upper + 2 * (count - T.Count), lower + 2 * (count - T.Count), T.Count);
            }
        if (left == 0) return;
        if (T.Count > 8) GridLanes<Lanes8>.Unite(from, u, v, upper, lower, space, left, count);
        else if (T.Count > 4) GridLanes<Lanes4>.Unite(from, u, v, upper, lower, space, left, count);
        else GridPlain.Unite(from, u, v, upper, lower, space, left, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Unite(FourBands from, T u0, T u1, T v0, T v1, float* upper, float* lower, long next)
    {
        T a = T.Load(from.LowLow), b = T.Load(from.LowHigh), c = T.Load(from.HighLow), d = T.Load(from.HighHigh);
        T.Join(T.Fused(b, u1, a * u0), T.Fused(b, v1, a * v0), out var low, out var lowNext);
        T.Join(T.Fused(d, u1, c * u0), T.Fused(d, v1, c * v0), out var high, out var highNext);
        T.Fused(high, u1, low * u0).Store(upper);
        T.Fused(highNext, u1, lowNext * u0).Store(upper + next);
        T.Fused(high, v1, low * v0).Store(lower);
        T.Fused(highNext, v1, lowNext * v0).Store(lower + next);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void UniteSquares(FourBands from, T u0, T u1, T v0, T v1, float* x)
    {
        T a = T.Load(from.LowLow), b = T.Load(from.LowHigh), c = T.Load(from.HighLow), d = T.Load(from.HighHigh);
        T low = T.Fused(b, u1, a * u0), lowNext = T.Fused(b, v1, a * v0), high = T.Fused(d, u1, c * u0), highNext = T.Fused(d, v1, c * v0);
        T.Join(T.Fused(high, u1, low * u0), T.Fused(high, v1, low * v0), out var left, out var nextLeft);
        T.Join(T.Fused(highNext, u1, lowNext * u0), T.Fused(highNext, v1, lowNext * v0), out var right, out var nextRight);
        T.Join(left, right, out var first, out var second);
        first.Store(x);
        second.Store(x + T.Count);
        T.Join(nextLeft, nextRight, out first, out second);
        first.Store(x + 2 * T.Count);
        second.Store(x + 3 * T.Count);
    }

    public static void Split(float* x, float* even, float* odd, int count)
    {
        var i = 0;
        for (; i <= count - T.Count; i += T.Count)
        {
            T.Split(T.Load(x + 2 * i), T.Load(x + 2 * i + T.Count), out var evens, out var odds);
            evens.Store(even + i);
            odds.Store(odd + i);
        }
        GridPlain.Split(x + 2 * i, even + i, odd + i, count - i);
    }

    public static void Join(float* even, float* odd, float* x, int count)
    {
        var i = 0;
        for (; i <= count - T.Count; i += T.Count)
        {
            T.Join(T.Load(even + i), T.Load(odd + i), out var a, out var b);
            a.Store(x + 2 * i);
            b.Store(x + 2 * i + T.Count);
        }
        GridPlain.Join(even + i, odd + i, x + 2 * i, count - i);
    }
}
