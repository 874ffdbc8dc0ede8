using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;
using Actipress.Machine;

namespace Actipress.Grid;

/// <summary>
/// The arithmetic of grid storage, one value at a time: for processors without registers of 128 bits, and for what is left over of a
/// register.
/// </summary>
unsafe struct GridPlain : IGridFace
{
    public static void Forward(float* from, long stride, float* x, float* y, TileTransform transform, GridTiles.Region? region)
    {
        for (var i = 0; i < 256; i++) y[i] = from[i / 16 * stride + i % 16];
        if (transform == TileTransform.Cosine)
        {
            Slices(y, region!, inverse: false);
            for (var column = 0; column < 16; column++) Lines(y + column, region!.Height.Points, region.Down, inverse: false);
            for (var i = 0; i < 256; i++) x[i] = y[i];
            Transpose(x, 16, y, 16);
            for (var row = 0; row < 16; row++) Lines(y + row, region!.Width.Points, region.Across, inverse: false);
        }
    }

    public static void Inverse(float* y, float* x, TileTransform transform, GridTiles.Region? region, uint groups)
    {
        if (transform == TileTransform.Identity) for (var i = 0; i < 256; i++) x[i] = y[i];
        if (transform == TileTransform.Cosine)
        {
            for (var row = 0; row < 16; row++) Lines(y + row, region!.Width.Points, region.Across, inverse: true);
            Transpose(y, 16, x, 16);
            for (var column = 0; column < 16; column++) Lines(x + column, region!.Height.Points, region.Down, inverse: true);
            Slices(x, region!, inverse: true);
        }
    }

    public static void Transpose(float* from, long fromStride, float* to, long toStride)
    {
        for (var i = 0; i < 16; i++)
            for (var j = 0; j < 16; j++) to[toStride * j + i] = from[fromStride * i + j];
    }

    public static void Filter(float** from, float* u, float* v, int taps, float* first, float* second, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var (a, b) = (from[0][i] * u[0], from[0][i] * v[0]);
            for (var j = 1; j < taps; j++)
                (a, b) = (MathF.FusedMultiplyAdd(from[j][i], u[j], a), MathF.FusedMultiplyAdd(from[j][i], v[j], b));
            (first[i], second[i]) = (a, b);
        }
    }

    public static bool DivideRow(float* x, float* u, float* v, int taps, float* low, float* high, int half) => false;

    public static bool CombineRow(float* low, float* high, float* u, float* v, int taps, float* x, int half) => false;

    public static void Quarter(float* upper, float* lower, long space, int pairs, float* u, float* v, in FourBands bands, int count)
    {
        for (var i = 0; i < pairs * count; i++)
        {
            var at = i / count * space + 2 * (i % count);
            (bands.LowLow[i], bands.LowHigh[i]) = Row(u);
            (bands.HighLow[i], bands.HighHigh[i]) = Row(v);

            (float, float) Row(float* w)
            {
                float even = Two(lower[at], upper[at], w), odd = Two(lower[at + 1], upper[at + 1], w);
                return (Two(odd, even, u), Two(odd, even, v));
            }
        }
    }

    public static void Unite(in FourBands bands, float* u, float* v, float* upper, float* lower, long space, int pairs, int count)
    {
        var places = bands;
        for (var i = 0; i < pairs * count; i++)
        {
            var at = i / count * space + 2 * (i % count);
            (upper[at], lower[at]) = Column(u);
            (upper[at + 1], lower[at + 1]) = Column(v);

            (float, float) Column(float* w)
            {
                float low = Two(places.LowLow[i], places.LowHigh[i], w), high = Two(places.HighLow[i], places.HighHigh[i], w);
                return (Two(low, high, u), Two(low, high, v));
            }
        }
    }

    static float Two(float a, float b, float* w) => MathF.FusedMultiplyAdd(b, w[1], a * w[0]);

    public static void Split(float* x, float* even, float* odd, int count)
    {
        for (var i = 0; i < count; i++) (even[i], odd[i]) = (x[2 * i], x[2 * i + 1]);
    }

    public static void Join(float* even, float* odd, float* x, int count)
    {
        for (var i = 0; i < count; i++) (x[2 * i], x[2 * i + 1]) = (even[i], odd[i]);
    }

    // Transforms a line of 16 values with a stride of 16. Blocks follow one another as values, and are interleaved as coefficients.
    static void Lines(float* line, int points, int blocks, bool inverse)
    {
        float* before = stackalloc float[16], after = stackalloc float[16], whole = stackalloc float[16];
        for (var i = 0; i < 16; i++) whole[i] = 0;
        for (var j = 0; j < blocks; j++)
        {
            for (var i = 0; i < points; i++) before[i] = line[16 * (inverse ? i * blocks + j : j * points + i)];
            if (inverse) Sums(before, after, points, GridCosines.Of(points));
            else Cosines(before, after, points, GridCosines.Of(points));
            for (var i = 0; i < points; i++) whole[inverse ? j * points + i : i * blocks + j] = after[i];
        }
        for (var i = 0; i < 16; i++) line[16 * i] = whole[i];
    }

    /// <summary>The cosine transform, in the order of operations that <see cref="GridCosines"/> describes; x is overwritten.</summary>
    static void Cosines(float* x, float* y, int points, float* m)
    {
        int n = points, stride = 1;
        for (; n % 2 == 0; n /= 2, stride *= 2)
        {
            for (var i = 0; i < n / 2; i++) (x[i], x[n - 1 - i]) = (x[i] + x[n - 1 - i], x[i] - x[n - 1 - i]);
            if (n == GridCosines.Turned) Turn(x, y, m);
            else
                for (var k = 0; k < n / 2; k++)
                {
                    var sum = x[n - 1] * m[k * n / 2];
                    for (var i = 1; i < n / 2; i++) sum = MathF.FusedMultiplyAdd(x[n - 1 - i], m[k * n / 2 + i], sum);
                    y[(2 * k + 1) * stride] = sum;
                }
            m += GridCosines.EntriesOf(n);
        }
        for (var k = 0; k < n; k++, m += n)
        {
            var sum = x[0] * m[0];
            for (var i = 1; i < n; i++) sum = MathF.FusedMultiplyAdd(x[i], m[i], sum);
            y[k * stride] = sum;
        }
    }

    // Computes the odd coefficients of 16.
    static void Turn(float* x, float* y, float* m)
    {
        float* u = stackalloc float[4], v = stackalloc float[4], first = stackalloc float[4], second = stackalloc float[4];
        for (var i = 0; i < 4; i++) (u[i], v[i]) = (Two(x[15 - i], x[8 + i], m + 4 * i), Two(x[15 - i], x[8 + i], m + 4 * i + 2));
        Cosines(u, first, 4, m + GridCosines.AfterTurns);
        Cosines(v, second, 4, m + GridCosines.AfterTurns);
        (y[1], y[15]) = (first[0], second[0]);
        for (var k = 1; k < 4; k++) (y[4 * k - 1], y[4 * k + 1]) = (first[k] + second[4 - k], first[k] - second[4 - k]);
    }

    /// <summary>The inverse of <see cref="Cosines"/>.</summary>
    static void Sums(float* y, float* x, int points, float* m)
    {
        int n = points, stride = 1;
        for (; n % 2 == 0; n /= 2, stride *= 2) m += GridCosines.EntriesOf(n);
        for (var i = 0; i < n; i++)
        {
            x[i] = y[0] * m[i];
            for (var k = 1; k < n; k++) x[i] = MathF.FusedMultiplyAdd(y[k * stride], m[k * n + i], x[i]);
        }
        while (n < points)
        {
            var half = n;
            (n, stride) = (2 * n, stride / 2);
            m -= GridCosines.EntriesOf(n);
            if (n == GridCosines.Turned) TurnBack(y, x + half, m);
            else
                for (var i = 0; i < half; i++)
                {
                    var odd = y[stride] * m[i];
                    for (var k = 1; k < half; k++) odd = MathF.FusedMultiplyAdd(y[(2 * k + 1) * stride], m[k * half + i], odd);
                    x[n - 1 - i] = odd;
                }
            for (var i = 0; i < half; i++) (x[i], x[n - 1 - i]) = (x[i] + x[n - 1 - i], x[i] - x[n - 1 - i]);
        }
    }

    // Computes the differences of 16 points from the odd coefficients, the last difference first.
    static void TurnBack(float* y, float* x, float* m)
    {
        float* u = stackalloc float[4], v = stackalloc float[4], first = stackalloc float[4], second = stackalloc float[4];
        (first[0], second[0]) = (y[1], y[15]);
        for (var k = 1; k < 4; k++) (first[k], second[4 - k]) = (y[4 * k - 1] + y[4 * k + 1], y[4 * k - 1] - y[4 * k + 1]);
        Sums(first, u, 4, m + GridCosines.AfterTurns);
        Sums(second, v, 4, m + GridCosines.AfterTurns);
        for (var i = 0; i < 4; i++)
        {
            x[7 - i] = MathF.FusedMultiplyAdd(v[i], m[4 * i + 2], u[i] * m[4 * i]);
            x[i] = MathF.FusedMultiplyAdd(v[i], m[4 * i + 3], u[i] * m[4 * i + 1]);
        }
    }

    /// <summary>Transforms a volume's blocks along the depth; their slices are slots of the tile.</summary>
    public static void Slices(float* x, GridTiles.Region region, bool inverse)
    {
        var depth = region.Depth.Points;
        if (depth == 1) return;
        float* before = stackalloc float[4], after = stackalloc float[4];
        var places = stackalloc float*[4];
        for (var block = 0; block < region.BlocksPerTile; block++)
        {
            for (var z = 0; z < depth; z++)
            {
                var slot = block * depth + z;
                places[z] = x + 16 * (slot / region.Across * region.Height.Points) + slot % region.Across * region.Width.Points;
            }
            for (var row = 0; row < region.Height.Points; row++)
                for (var column = 0; column < region.Width.Points; column++)
                {
                    for (var z = 0; z < depth; z++) before[z] = places[z][16 * row + column];
                    if (inverse) Sums(before, after, depth, GridCosines.Of(depth));
                    else Cosines(before, after, depth, GridCosines.Of(depth));
                    for (var z = 0; z < depth; z++) places[z][16 * row + column] = after[z];
                }
        }
    }

    public static void Levels(float* y, float inverse, byte* levels, ulong* kept, ulong* negative)
    {
        for (var word = 0; word < 4; word++) (kept[word], negative[word]) = (0, 0);
        for (var i = 0; i < 256; i++)
        {
            var c = y[GridLevels.Place(i)];
            levels[i] = (byte)Math.Min(Math.Abs(c) * inverse, GridLevels.Escape);
            if (levels[i] == 0) continue;
            kept[i / 64] |= 1UL << i % 64;
            if (c < 0) negative[i / 64] |= 1UL << i % 64;
        }
    }

    public static ulong Above(byte* levels, int m)
    {
        ulong above = 0;
        for (var i = 0; i < 64; i++) if (levels[i] > m) above |= 1UL << i;
        return above;
    }

    public static void Compose(ulong present, ulong below, ulong* planes, int count, byte* levels)
    {
        for (var i = 0; i < 64; i++)
        {
            levels[i] = (byte)((below >> i & 1) << 7 | present >> i & 1);
            for (var bit = 0; bit < count; bit++) levels[i] += (byte)((planes[bit] >> i & 1) << bit);
        }
    }

    public static ulong Plane(byte* levels, int bit)
    {
        ulong plane = 0;
        for (var i = 0; i < 64; i++) plane |= (ulong)(levels[i] - 1 >> bit & 1) << i;
        return plane;
    }

    public static void Values(byte* levels, int highest, Magnitudes* magnitudes, float* y)
    {
        for (var i = 0; i < 64; i++)
        {
            var magnitude = (*magnitudes)[levels[i] & 0x7F];
            y[GridLevels.Place(i)] = levels[i] >= 0x80 ? -magnitude : magnitude;
        }
    }

    public static void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* y)
    {
        for (var i = 0; i < 64; i++)
        {
            var magnitude = (*magnitudes)[(int)((present >> i & 1) + (two >> i & 1))];
            y[GridLevels.Place(i)] = (below >> i & 1) != 0 ? -magnitude : magnitude;
        }
    }

    public static bool Look(float* from, long stride, ulong* positive, ref bool anyNegative)
    {
        var (usable, negativeBefore) = (true, anyNegative);
        for (var quarter = 0; quarter < 4; quarter++) positive[quarter] = 0;
        for (var i = 0; i < 256; i++)
        {
            var x = from[i / 16 * stride + i % 16];
            if (x != 0 || negativeBefore) positive[i / 64] |= 1UL << i % 64;
            if (x < 0) anyNegative = true;
            usable &= Math.Abs(x) <= GridFormat.Largest;
        }
        return usable;
    }

    public static void Restore(float* x, ulong* positive, float smallest, float* to, long stride)
    {
        for (var i = 0; i < 256; i++) to[i / 16 * stride + i % 16] = (positive[i / 64] >> i % 64 & 1) != 0 ? Math.Max(x[i], smallest) : 0;
    }
}
