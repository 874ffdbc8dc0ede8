using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Actipress.Grid;

namespace Actipress;

/// <summary>The arithmetic of a tile, some lanes at a time: <see cref="GridDefinition"/>'s operations in the same order.</summary>
unsafe partial struct GridLanes<T> : IGridFace where T : unmanaged, ILanes<T>
{
    // The groups in the lower half of a tile, and in its right half.
    const uint UpperRows = 0xFFFF0000, UpperColumns = 0xCCCCCCCC;

    [SkipLocalsInit]
    public static void Forward(float* from, long stride, float* x, float* y, TileTransform transform, GridTiles.Region? region)
    {
        if (transform == TileTransform.Identity)
        {
            for (var row = 0; row < 16; row++, from += stride, y += 16)
                for (var c = 0; c < 16; c += T.Count) T.Load(from + c).Store(y + c);
            return;
        }
        if (region!.Depth.Points > 1) Slices(from, region, inverse: false);
        Cosines(from, stride, region.Ahead, y, region.Height.Points, region.Down);
        T.Transpose(y, 16, x, 16);
        Cosines(x, 16, 0, y, region.Width.Points, region.Across);
    }

    [SkipLocalsInit]
    public static void Inverse(float* y, float* x, TileTransform transform, GridTiles.Region? region, uint groups)
    {
        if (transform == TileTransform.Identity)
        {
            Buffer.MemoryCopy(y, x, 1024, 1024);
            return;
        }
        Sums(y, x, region!.Width.Points, region.Across, (groups & UpperRows) == 0);
        T.Transpose(x, 16, y, 16);
        Sums(y, x, region.Height.Points, region.Down, (groups & UpperColumns) == 0);
        if (region.Depth.Points > 1) Slices(x, region, inverse: true);
    }

    // Only of 16 points may rows lie further apart than 16.
    static void Cosines(float* x, long stride, int ahead, float* y, int points, int blocks)
    {
        if (points == 16) Cosines16(x, stride, ahead, y);
        else if (points == 10) Cosines10(x, y);
        else if (points == 8) Cosines8(x, y);
        else if (points == 4) Cosines4(x, y);
        else CosinesOfAny(x, y, points, blocks);
    }

    static void Sums(float* y, float* x, int points, int blocks, bool lowerOnly)
    {
        if (points == 16 && lowerOnly) Sums16OfLower(y, x);
        else if (points == 16) Sums16(y, x);
        else if (points == 10) Sums10(y, x);
        else if (points == 8 && lowerOnly) Sums8OfLower(y, x);
        else if (points == 8) Sums8(y, x);
        else if (points == 4) Sums4(y, x);
        else SumsOfAny(y, x, points, blocks);
    }

    static void Slices(float* x, GridTiles.Region region, bool inverse)
    {
        var (depth, width) = (region.Depth.Points, region.Width.Points);
        if (region.IsVolume && T.Count <= 8) SlicesOfVolume(x, inverse);
        else if (region.IsVolume) GridLanes<Lanes8>.SlicesOfVolume(x, inverse);
        else if (depth == 3 || width % 4 != 0) GridDefinition.Slices(x, region, inverse);
        else if (width % T.Count == 0) SlicesOfEven(x, region, inverse);
        else if (width % 8 == 0) GridLanes<Lanes8>.SlicesOfEven(x, region, inverse);
        else GridLanes<Lanes4>.SlicesOfEven(x, region, inverse);
    }

    // One block of 4 x 8 x 8: slices 0 and 1 side by side above 2 and 3.
    static void SlicesOfVolume(float* x, bool inverse)
    {
        var m = GridCosines.Of<T>(4);
        for (var row = 0; row < 8; row++)
            for (var i = 16 * row; i < 16 * row + 8; i += T.Count)
            {
                var at = x + i;
                T a = T.Load(at), b = T.Load(at + 8), c = T.Load(at + 128), d = T.Load(at + 136);
                if (inverse) Sums4(ref a, ref b, ref c, ref d, m);
                else Cosines4(ref a, ref b, ref c, ref d, m);
                a.Store(at); b.Store(at + 8); c.Store(at + 128); d.Store(at + 136);
            }
    }

    // Two or four slices.
    [SkipLocalsInit]
    static void SlicesOfEven(float* x, GridTiles.Region region, bool inverse)
    {
        var (depth, height, width, across) = (region.Depth.Points, region.Height.Points, region.Width.Points, region.Across);
        var m = GridCosines.Of<T>(depth);
        for (var slot = 0; slot < region.BlocksPerTile * depth; slot += depth)
        {
            float* first = Slice(0), second = Slice(1), third = Slice(2 % depth), fourth = Slice(3 % depth);
            for (var row = 0; row < height; row++)
                for (var i = 16 * row; i < 16 * row + width; i += T.Count)
                {
                    T a = T.Load(first + i), b = T.Load(second + i);
                    if (depth == 2)
                    {
                        // The even coefficient's cosine follows the odd one's.
                        if (inverse) (a, b) = (T.Times(a, m + 1), T.Times(b, m));
                        (a, b) = (a + b, a - b);
                        if (!inverse) (a, b) = (T.Times(a, m + 1), T.Times(b, m));
                    }
                    else
                    {
                        T c = T.Load(third + i), d = T.Load(fourth + i);
                        if (inverse) Sums4(ref a, ref b, ref c, ref d, m);
                        else Cosines4(ref a, ref b, ref c, ref d, m);
                        c.Store(third + i);
                        d.Store(fourth + i);
                    }
                    a.Store(first + i);
                    b.Store(second + i);
                }

            float* Slice(int z) => x + 16 * ((slot + z) / across * height) + (slot + z) % across * width;
        }
    }

    // x m[0] + y m[apart] + ..., one after the other.
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

    // Four points become coefficients 0 to 3.
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

    // Four blocks of 4 points: coefficient k of block j goes to row 4 k + j.
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

    // Two blocks of 8 points: coefficient k of block j goes to row 2 k + j.
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

    // The same where the upper four coefficients of both blocks are zero.
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

    // Point i of 8 and its counterpart.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Mirror8(T even, T odd, float* to, int i)
    {
        (even + odd).Store(to + 16 * i);
        (even - odd).Store(to + 16 * (7 - i));
    }

    // One block of 10 points, what 16 leave of LeNet's 26.
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
            T o0 = T.Load(from + 16), o1 = T.Load(from + 16 * 3), o2 = T.Load(from + 16 * 5), o3 = T.Load(from + 16 * 7), o4 = T.Load(from + 16 * 9);
            for (var i = 0; i < 5; i++)
            {
                T even = Sum(e0, e1, e2, e3, e4, m + 25 + i, 5), odd = Sum(o0, o1, o2, o3, o4, m + i, 5);
                (even + odd).Store(to + 16 * i);
                (even - odd).Store(to + 16 * (9 - i));
            }
            for (var row = 10; row < 16; row++) T.All(0).Store(to + 16 * row);
        }
    }

    // One long function, so that the 16 rows stay in registers.
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

    // A fourth of the rows that these lanes ask for: all at once would hold up other loads.
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
            // The even coefficients of the even ones, back to front.
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

    // Points i and 7 - i of 16, and their counterparts.
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

    // The same where the upper eight coefficients are zero.
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

    // Any number of points, several blocks in the 16 rows: coefficient k of block j goes to row k * blocks + j.
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
                        for (var k = 1; k < half; k++) odd = T.Fused(T.Load(y + 16 * ((2 * k + 1) * stride * blocks + j) + c), m + k * half + i, odd);
                        (rest[i], rest[n - 1 - i]) = (rest[i] + odd, rest[i] - odd);
                    }
                }
                for (var i = 0; i < points; i++) rest[i].Store(x + 16 * (j * points + i) + c);
            }
            for (var row = points * blocks; row < 16; row++) T.All(0).Store(x + 16 * row + c);
        }
    }

    public static void Levels(float* y, float inverse, byte* levels, ulong* kept, ulong* negative)
    {
        var inverses = T.All(inverse);
        for (var quarter = 0; quarter < 4; quarter++) T.Levels(y + 64 * quarter, inverses, levels + 64 * quarter, out kept[quarter], out negative[quarter]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Above(byte* levels, int m) => T.Above(levels, m);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Compose(ulong present, ulong below, ulong* planes, int count, byte* levels) => T.Compose(present, below, planes, count, levels);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Plane(byte* levels, int bit) => T.Plane(levels, bit);

    [SkipLocalsInit]
    public static void Values(byte* levels, int highest, GridMagnitudes* magnitudes, float* y)
    {
        for (var pair = 0; pair < 2; pair++)
        {
            Vector128<float> a = Vector128.Load(levels + 32 * pair).AsSingle(), b = Vector128.Load(levels + 32 * pair + 16).AsSingle();
            Vector128<float> above, below;
            if (System.Runtime.Intrinsics.X86.Sse.IsSupported)
            {
                above = System.Runtime.Intrinsics.X86.Sse.Shuffle(a, b, 0x88);
                below = System.Runtime.Intrinsics.X86.Sse.Shuffle(a, b, 0xDD);
            }
            else
            {
                above = Vector128.Create(a[0], a[2], b[0], b[2]);
                below = Vector128.Create(a[1], a[3], b[1], b[3]);
            }
            T.Values(above.AsByte(), magnitudes, highest, y + 32 * pair);
            T.Values(below.AsByte(), magnitudes, highest, y + 32 * pair + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(ulong present, ulong two, ulong below, GridMagnitudes* magnitudes, float* y) => T.Values(present, two, below, magnitudes, y);

    public static bool Look(float* from, long stride, ulong* positive, ref bool anyNegative)
    {
        var most = T.All(0);
        if (anyNegative) new Span<ulong>(positive, 4).Fill(~0UL);
        else
        {
            var rows = from;
            // Whole words: what is stored in parts is read late.
            for (var quarter = 0; quarter < 4; quarter++, rows += 4 * stride)
            {
                // Of rows further apart the transform asks for the next ones.
                if (stride == 16) for (var row = 0; row < 4; row++) CacheLine.Ask(rows + 16 * row + CacheLine.Ahead);
                positive[quarter] = T.NotZero(rows, stride, ref most);
            }
            if (!T.AnySigned(most)) return !T.AnyAbove(most, GridFormat.Largest);
        }
        T largest = T.All(0), least = T.All(0);
        for (var row = 0; row < 16; row++) T.Measure(from + row * stride, ref largest, ref least);
        anyNegative |= T.AnyNegative(least);
        return !T.AnyAbove(largest, GridFormat.Largest);
    }

    public static void Restore(float* x, ulong* positive, float smallest, float* to, long stride)
    {
        var least = T.All(smallest);
        for (var pair = 0; pair < 8; pair++, to += 2 * stride)
        {
            CacheLine.Ask(to + CacheLine.Ahead);
            CacheLine.Ask(to + stride + CacheLine.Ahead);
            T.Restore(x + 32 * pair, ((uint*)positive)[pair], least, to, stride);
        }
    }
}
