using System.Runtime.CompilerServices;
using Actipress.Grid.Tiles;
using Actipress.Machine;

namespace Actipress.Grid;

// Cosine transforms of a tile's columns.
unsafe partial struct GridLanes<T>
{
    // The sum x m[0] + y m[apart] + ..., in this order.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static T Sum(T x0, T x1, T* m, int apart)
    {
        var sum = T.Times(x0, m);
        return T.Fused(x1, m + apart, sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static T Sum(T x0, T x1, T x2, T x3, T* m, int apart)
    {
        var sum = T.Times(x0, m);
        sum = T.Fused(x1, m + apart, sum);
        sum = T.Fused(x2, m + 2 * apart, sum);
        return T.Fused(x3, m + 3 * apart, sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static T Sum(T x0, T x1, T x2, T x3, T x4, T* m, int apart)
    {
        var sum = Sum(x0, x1, x2, x3, m, apart);
        return T.Fused(x4, m + 4 * apart, sum);
    }

    // Transforms four points to coefficients 0 to 3, in place.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Cosines4(ref T a, ref T b, ref T c, ref T d, T* m)
    {
        T s0 = a + d, d0 = a - d, s1 = b + c, d1 = b - c;
        a = T.Times(s0 + s1, m + 5);
        b = Sum(d0, d1, m, 1);
        c = T.Times(s0 - s1, m + 4);
        d = Sum(d0, d1, m + 2, 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Sums4(ref T a, ref T b, ref T c, ref T d, T* m)
    {
        T mean = T.Times(a, m + 5), half = T.Times(c, m + 4);
        T e0 = mean + half, e1 = mean - half;
        T o0 = Sum(b, d, m, 2), o1 = Sum(b, d, m + 1, 2);
        (a, b, c, d) = (e0 + o0, e1 + o1, e1 - o1, e0 - o0);
    }

    // Transforms four blocks of 4 points; coefficient k of block j goes to row 4 k + j.
    [SkipLocalsInit]
    static void Cosines4(float* x, float* y)
    {
        var m = GridCosines.Of<T>(4);
        for (var i = 0; i < 16; i += T.Count)
            for (var j = 0; j < 4; j++)
            {
                float* from = x + 64 * j + i, to = y + 16 * j + i;
                T a = T.Load(from), b = T.Load(from + 16), c = T.Load(from + 32), d = T.Load(from + 48);
                Cosines4(ref a, ref b, ref c, ref d, m);
                a.Store(to); b.Store(to + 64); c.Store(to + 128); d.Store(to + 192);
            }
    }

    [SkipLocalsInit]
    static void Sums4(float* y, float* x)
    {
        var m = GridCosines.Of<T>(4);
        for (var i = 0; i < 16; i += T.Count)
            for (var j = 0; j < 4; j++)
            {
                float* from = y + 16 * j + i, to = x + 64 * j + i;
                T a = T.Load(from), b = T.Load(from + 64), c = T.Load(from + 128), d = T.Load(from + 192);
                Sums4(ref a, ref b, ref c, ref d, m);
                a.Store(to); b.Store(to + 16); c.Store(to + 32); d.Store(to + 48);
            }
    }

    // Transforms two blocks of 8 points; coefficient k of block j goes to row 2 k + j.
    [SkipLocalsInit]
    static void Cosines8(float* x, float* y)
    {
        var m = GridCosines.Of<T>(8);
        for (var c = 0; c < 16; c += T.Count)
            for (var j = 0; j < 2; j++)
            {
                float* from = x + 128 * j + c, to = y + 16 * j + c;
                T a, b;
                a = T.Load(from); b = T.Load(from + 7 * 16); T s0 = a + b, d0 = a - b;
                a = T.Load(from + 16); b = T.Load(from + 6 * 16); T s1 = a + b, d1 = a - b;
                a = T.Load(from + 2 * 16); b = T.Load(from + 5 * 16); T s2 = a + b, d2 = a - b;
                a = T.Load(from + 3 * 16); b = T.Load(from + 4 * 16); T s3 = a + b, d3 = a - b;
                for (var k = 0; k < 4; k++)
                    Sum(d0, d1, d2, d3, m + 4 * k, 1).Store(to + 32 * (2 * k + 1));
                d0 = s0 - s3; d1 = s1 - s2;
                s0 = s0 + s3; s1 = s1 + s2;
                Sum(d0, d1, m + 16, 1).Store(to + 32 * 2);
                Sum(d0, d1, m + 18, 1).Store(to + 32 * 6);
                T.Times(s0 - s1, m + 20).Store(to + 32 * 4);
                T.Times(s0 + s1, m + 21).Store(to);
            }
    }

    [SkipLocalsInit]
    static void Sums8(float* y, float* x)
    {
        var m = GridCosines.Of<T>(8);
        for (var c = 0; c < 16; c += T.Count)
            for (var j = 0; j < 2; j++)
            {
                float* from = y + 16 * j + c, to = x + 128 * j + c;
                T mean = T.Times(T.Load(from), m + 21), half = T.Times(T.Load(from + 32 * 4), m + 20);
                T e0 = mean + half, e1 = mean - half;
                T p = T.Load(from + 32 * 2), q = T.Load(from + 32 * 6);
                T o0 = Sum(p, q, m + 16, 2), o1 = Sum(p, q, m + 17, 2);
                T y0 = T.Load(from + 32), y1 = T.Load(from + 32 * 3), y2 = T.Load(from + 32 * 5), y3 = T.Load(from + 32 * 7);
                Mirror8(e0 + o0, Sum(y0, y1, y2, y3, m, 4), to, 0);
                Mirror8(e1 + o1, Sum(y0, y1, y2, y3, m + 1, 4), to, 1);
                Mirror8(e1 - o1, Sum(y0, y1, y2, y3, m + 2, 4), to, 2);
                Mirror8(e0 - o0, Sum(y0, y1, y2, y3, m + 3, 4), to, 3);
            }
    }

    // The inverse of 8 points where the upper four coefficients of both blocks are zero.
    [SkipLocalsInit]
    static void Sums8OfLower(float* y, float* x)
    {
        var m = GridCosines.Of<T>(8);
        for (var c = 0; c < 16; c += T.Count)
            for (var j = 0; j < 2; j++)
            {
                float* from = y + 16 * j + c, to = x + 128 * j + c;
                T mean = T.Times(T.Load(from), m + 21), p = T.Load(from + 32 * 2);
                T o0 = T.Times(p, m + 16), o1 = T.Times(p, m + 17);
                T y0 = T.Load(from + 32), y1 = T.Load(from + 32 * 3);
                Mirror8(mean + o0, Sum(y0, y1, m, 4), to, 0);
                Mirror8(mean + o1, Sum(y0, y1, m + 1, 4), to, 1);
                Mirror8(mean - o1, Sum(y0, y1, m + 2, 4), to, 2);
                Mirror8(mean - o0, Sum(y0, y1, m + 3, 4), to, 3);
            }
    }

    // Stores point i of 8 and its mirror image, point 7 - i.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Mirror8(T even, T odd, float* to, int i)
    {
        (even + odd).Store(to + 16 * i);
        (even - odd).Store(to + 16 * (7 - i));
    }

    // Transforms one block of 10 points: LeNet's 26 divide into 16 and 10.
    [SkipLocalsInit]
    static void Cosines10(float* x, float* y)
    {
        var m = GridCosines.Of<T>(10);
        for (var c = 0; c < 16; c += T.Count)
        {
            float* from = x + c, to = y + c;
            T a, b;
            a = T.Load(from); b = T.Load(from + 16 * 9); T s0 = a + b, d0 = a - b;
            a = T.Load(from + 16); b = T.Load(from + 16 * 8); T s1 = a + b, d1 = a - b;
            a = T.Load(from + 16 * 2); b = T.Load(from + 16 * 7); T s2 = a + b, d2 = a - b;
            a = T.Load(from + 16 * 3); b = T.Load(from + 16 * 6); T s3 = a + b, d3 = a - b;
            a = T.Load(from + 16 * 4); b = T.Load(from + 16 * 5); T s4 = a + b, d4 = a - b;
            for (var k = 0; k < 5; k++)
            {
                Sum(d0, d1, d2, d3, d4, m + 5 * k, 1).Store(to + 32 * k + 16);
                Sum(s0, s1, s2, s3, s4, m + 25 + 5 * k, 1).Store(to + 32 * k);
            }
            for (var row = 10; row < 16; row++) T.All(0).Store(to + 16 * row);
        }
    }

    [SkipLocalsInit]
    static void Sums10(float* y, float* x)
    {
        var m = GridCosines.Of<T>(10);
        for (var c = 0; c < 16; c += T.Count)
        {
            float* from = y + c, to = x + c;
            T e0 = T.Load(from), e1 = T.Load(from + 32), e2 = T.Load(from + 32 * 2), e3 = T.Load(from + 32 * 3), e4 = T.Load(from + 32 * 4);
            T o0 = T.Load(from + 16), o1 = T.Load(from + 16 * 3), o2 = T.Load(from + 16 * 5), o3 = T.Load(from + 16 * 7);
            var o4 = T.Load(from + 16 * 9);
            for (var i = 0; i < 5; i++)
            {
                T even = Sum(e0, e1, e2, e3, e4, m + 25 + i, 5), odd = Sum(o0, o1, o2, o3, o4, m + i, 5);
                (even + odd).Store(to + 16 * i);
                (even - odd).Store(to + 16 * (9 - i));
            }
            for (var row = 10; row < 16; row++) T.All(0).Store(to + 16 * row);
        }
    }

    // This is one long function, so that the 16 rows stay in registers.
    [SkipLocalsInit]
    static void Cosines16(float* x, long stride, int valuesAhead, float* y)
    {
        var table = GridCosines.Of<T>(16);
        for (var c = 0; c < 16; c += T.Count)
        {
            float* upper = x + c, lower = x + 15 * stride + c, ahead = x + c * stride + valuesAhead, to = y + c;
            T a, b;
            a = T.Load(upper); b = T.Load(lower); T s0 = a + b, d0 = a - b;
            a = T.Load(upper += stride); b = T.Load(lower -= stride); T s1 = a + b, d1 = a - b;
            a = T.Load(upper += stride); b = T.Load(lower -= stride); T s2 = a + b, d2 = a - b;
            a = T.Load(upper += stride); b = T.Load(lower -= stride); T s3 = a + b, d3 = a - b;
            a = T.Load(upper += stride); b = T.Load(lower -= stride); T s4 = a + b, d4 = a - b;
            a = T.Load(upper += stride); b = T.Load(lower -= stride); T s5 = a + b, d5 = a - b;
            a = T.Load(upper += stride); b = T.Load(lower -= stride); T s6 = a + b, d6 = a - b;
            a = T.Load(upper + stride); b = T.Load(lower - stride); T s7 = a + b, d7 = a - b;
            var m = table;
            T u0 = Sum(d0, d7, m, 1), u1 = Sum(d1, d6, m + 4, 1), u2 = Sum(d2, d5, m + 8, 1), u3 = Sum(d3, d4, m + 12, 1);
            AskForSome(ref ahead, stride);
            T v0 = Sum(d0, d7, m + 2, 1), v1 = Sum(d1, d6, m + 6, 1), v2 = Sum(d2, d5, m + 10, 1), v3 = Sum(d3, d4, m + 14, 1);
            AskForSome(ref ahead, stride);
            m += GridCosines.AfterTurns;
            Cosines4(ref u0, ref u1, ref u2, ref u3, m);
            AskForSome(ref ahead, stride);
            Cosines4(ref v0, ref v1, ref v2, ref v3, m);
            AskForSome(ref ahead, stride);
            u0.Store(to + 16);
            (u1 + v3).Store(to + 16 * 3); (u1 - v3).Store(to + 16 * 5);
            (u2 + v2).Store(to + 16 * 7); (u2 - v2).Store(to + 16 * 9);
            (u3 + v1).Store(to + 16 * 11); (u3 - v1).Store(to + 16 * 13);
            v0.Store(to + 16 * 15);
            m = table + GridCosines.EntriesOf(16);
            d0 = s0 - s7; d1 = s1 - s6; d2 = s2 - s5; d3 = s3 - s4;
            s0 = s0 + s7; s1 = s1 + s6; s2 = s2 + s5; s3 = s3 + s4;
            for (var k = 2; k < 16; k += 4, m += 4)
                Sum(d0, d1, d2, d3, m, 1).Store(to + 16 * k);
            d0 = s0 - s3; d1 = s1 - s2;
            s0 = s0 + s3; s1 = s1 + s2;
            Sum(d0, d1, m, 1).Store(to + 16 * 4);
            Sum(d0, d1, m + 2, 1).Store(to + 16 * 12);
            T.Times(s0 - s1, m + 4).Store(to + 16 * 8);
            T.Times(s0 + s1, m + 5).Store(to);
        }
    }

    // Prefetches a fourth of the rows: prefetches of all rows at once would delay other loads.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void AskForSome(ref float* ahead, long stride)
    {
        CacheLine.Ask(ahead);
        CacheLine.Ask(ahead += stride);
        ahead += stride;
        if (T.Count <= 8) return;
        CacheLine.Ask(ahead);
        CacheLine.Ask(ahead += stride);
        ahead += stride;
    }

    [SkipLocalsInit]
    static void Sums16(float* y, float* x)
    {
        var table = GridCosines.Of<T>(16);
        for (var c = 0; c < 16; c += T.Count)
        {
            float* from = y + c, to = x + c;
            var m = table + GridCosines.EntriesOf(16) + 16;
            // The even half is computed first, from its own even half.
            T f0 = T.Load(from), f1 = T.Load(from + 16 * 4), f2 = T.Load(from + 16 * 8), f3 = T.Load(from + 16 * 12);
            Sums4(ref f0, ref f1, ref f2, ref f3, m);
            m -= 16;
            T y0 = T.Load(from + 16 * 2), y1 = T.Load(from + 16 * 6), y2 = T.Load(from + 16 * 10), y3 = T.Load(from + 16 * 14);
            T g;
            g = Sum(y0, y1, y2, y3, m, 4); T h0 = f0 + g, h7 = f0 - g;
            g = Sum(y0, y1, y2, y3, m + 1, 4); T h1 = f1 + g, h6 = f1 - g;
            g = Sum(y0, y1, y2, y3, m + 2, 4); T h2 = f2 + g, h5 = f2 - g;
            g = Sum(y0, y1, y2, y3, m + 3, 4); T h3 = f3 + g, h4 = f3 - g;
            m = table + GridCosines.AfterTurns;
            T u0 = T.Load(from + 16), v0 = T.Load(from + 16 * 15);
            T a = T.Load(from + 16 * 3), b = T.Load(from + 16 * 5); T u1 = a + b, v3 = a - b;
            a = T.Load(from + 16 * 7); b = T.Load(from + 16 * 9); T u2 = a + b, v2 = a - b;
            a = T.Load(from + 16 * 11); b = T.Load(from + 16 * 13); T u3 = a + b, v1 = a - b;
            Sums4(ref u0, ref u1, ref u2, ref u3, m);
            Sums4(ref v0, ref v1, ref v2, ref v3, m);
            TurnBack(u0, v0, table, h0, h7, to, 0);
            TurnBack(u1, v1, table + 4, h1, h6, to, 1);
            TurnBack(u2, v2, table + 8, h2, h5, to, 2);
            TurnBack(u3, v3, table + 12, h3, h4, to, 3);
        }
    }

    // Stores points i and 7 - i of 16 and their mirror images.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void TurnBack(T u, T v, T* m, T even, T other, float* to, int i)
    {
        T odd = Sum(u, v, m, 2);
        (even + odd).Store(to + 16 * i);
        (even - odd).Store(to + 16 * (15 - i));
        odd = Sum(u, v, m + 1, 2);
        (other + odd).Store(to + 16 * (7 - i));
        (other - odd).Store(to + 16 * (8 + i));
    }

    // The inverse of 16 points where the upper eight coefficients are zero.
    [SkipLocalsInit]
    static void Sums16OfLower(float* y, float* x)
    {
        var table = GridCosines.Of<T>(16);
        for (var c = 0; c < 16; c += T.Count)
        {
            float* from = y + c, to = x + c;
            var m = table + GridCosines.EntriesOf(16) + 16;
            T low = T.Times(T.Load(from), m + 5), p = T.Load(from + 16 * 4);
            T o0 = T.Times(p, m), o1 = T.Times(p, m + 1);
            T f0 = low + o0, f3 = low - o0, f1 = low + o1, f2 = low - o1;
            m -= 16;
            T y0 = T.Load(from + 16 * 2), y1 = T.Load(from + 16 * 6);
            T g;
            g = Sum(y0, y1, m, 4); T h0 = f0 + g, h7 = f0 - g;
            g = Sum(y0, y1, m + 1, 4); T h1 = f1 + g, h6 = f1 - g;
            g = Sum(y0, y1, m + 2, 4); T h2 = f2 + g, h5 = f2 - g;
            g = Sum(y0, y1, m + 3, 4); T h3 = f3 + g, h4 = f3 - g;
            m = table + GridCosines.AfterTurns;
            T a = T.Load(from + 16 * 3), b = T.Load(from + 16 * 5), u1 = a + b, v3 = a - b;
            T u0 = T.Load(from + 16), half = T.Times(T.Load(from + 16 * 7), m + 4);
            T e0 = u0 + half, e1 = u0 - half;
            o0 = T.Times(u1, m); o1 = T.Times(u1, m + 1);
            T q0 = T.Times(v3, m + 2), q1 = T.Times(v3, m + 3), less = T.All(0) - half;
            TurnBack(e0 + o0, half + q0, table, h0, h7, to, 0);
            TurnBack(e1 + o1, less + q1, table + 4, h1, h6, to, 1);
            TurnBack(e1 - o1, less - q1, table + 8, h2, h5, to, 2);
            TurnBack(e0 - o0, half - q0, table + 12, h3, h4, to, 3);
        }
    }

    // Transforms blocks of any number of points in the 16 rows; coefficient k of block j goes to row k * blocks + j.
    [SkipLocalsInit]
    static void CosinesOfAny(float* x, float* y, int points, int blocks)
    {
        var rest = stackalloc T[16];
        for (var c = 0; c < 16; c += T.Count)
        {
            for (var j = 0; j < blocks; j++)
            {
                for (var i = 0; i < points; i++) rest[i] = T.Load(x + 16 * (j * points + i) + c);
                var m = GridCosines.Of<T>(points);
                int n = points, stride = 1;
                for (; n % 2 == 0; n /= 2, stride *= 2)
                {
                    var half = n / 2;
                    for (var i = 0; i < half; i++) (rest[i], rest[n - 1 - i]) = (rest[i] + rest[n - 1 - i], rest[i] - rest[n - 1 - i]);
                    for (var k = 0; k < half; k++, m += half)
                    {
                        var sum = T.Times(rest[n - 1], m);
                        for (var i = 1; i < half; i++) sum = T.Fused(rest[n - 1 - i], m + i, sum);
                        sum.Store(y + 16 * ((2 * k + 1) * stride * blocks + j) + c);
                    }
                }
                for (var k = 0; k < n; k++, m += n)
                {
                    var sum = T.Times(rest[0], m);
                    for (var i = 1; i < n; i++) sum = T.Fused(rest[i], m + i, sum);
                    sum.Store(y + 16 * (k * stride * blocks + j) + c);
                }
            }
            for (var row = points * blocks; row < 16; row++) T.All(0).Store(y + 16 * row + c);
        }
    }

    [SkipLocalsInit]
    static void SumsOfAny(float* y, float* x, int points, int blocks)
    {
        var rest = stackalloc T[16];
        for (var c = 0; c < 16; c += T.Count)
        {
            for (var j = 0; j < blocks; j++)
            {
                var m = GridCosines.Of<T>(points);
                int n = points, stride = 1;
                for (; n % 2 == 0; n /= 2, stride *= 2) m += n / 2 * (n / 2);
                for (var i = 0; i < n; i++)
                {
                    var sum = T.Times(T.Load(y + 16 * j + c), m + i);
                    for (var k = 1; k < n; k++) sum = T.Fused(T.Load(y + 16 * (k * stride * blocks + j) + c), m + k * n + i, sum);
                    rest[i] = sum;
                }
                while (n < points)
                {
                    var half = n;
                    (n, stride) = (2 * n, stride / 2);
                    m -= half * half;
                    for (var i = 0; i < half; i++)
                    {
                        var odd = T.Times(T.Load(y + 16 * (stride * blocks + j) + c), m + i);
                        for (var k = 1; k < half; k++)
                            odd = T.Fused(T.Load(y + 16 * ((2 * k + 1) * stride * blocks + j) + c), m + k * half + i, odd);
                        (rest[i], rest[n - 1 - i]) = (rest[i] + odd, rest[i] - odd);
                    }
                }
                for (var i = 0; i < points; i++) rest[i].Store(x + 16 * (j * points + i) + c);
            }
            for (var row = points * blocks; row < 16; row++) T.All(0).Store(x + 16 * row + c);
        }
    }
}
