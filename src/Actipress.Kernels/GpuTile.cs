using Actipress.Grid;
using Actipress.Grid.Gpu;
using Actipress.Grid.Tiles;
using ILGPU;

namespace Actipress;

/// <summary>
/// A tile in a GPU's shared memory: 16 x 16 values with a row stride of <see cref="Pitch"/>, so that neither rows nor columns have bank
/// conflicts. Sixteen threads share a tile; thread l works on column l or row l. The arithmetic is that of <see cref="GridPlain"/>,
/// operation by operation, so that the results are equal bit for bit.
/// </summary>
static class GpuTile
{
    public const int Pitch = 17, Floats = 16 * Pitch;

    /// <summary>The region of a tile. The map must have regions.</summary>
    public static GpuRegion RegionOf(GpuMap map, ArrayView<GpuRegion> regions, long tile)
    {
        var i = map.Regions - 1;
        while (i > 0 && tile < regions[i].FirstTile) i--;
        return regions[i];
    }

    /// <summary>The number of bits of zeros of all tiles before this one. Not for a wavelet, which has such bits for whole maps.</summary>
    public static long ZeroBitsBefore(GpuMap map, ArrayView<GpuRegion> regions, long tile)
    {
        if (map.Regions == 0) return 256 * tile;
        var region = RegionOf(map, regions, tile);
        return region.ZeroBitsBefore + (tile - region.FirstTile) * region.ZeroBitsPerTile;
    }

    /// <summary>The number of rows or columns of a tile that hold values.</summary>
    public static int Filled(GpuMap map, int points) => map.Regions == 0 ? 16 : 16 / points * points;

    /// <summary>The kinds of values, a bit each.</summary>
    public const int Unusable = 1, Zero = 2, BelowZero = 4;

    /// <summary>The kind of a value.</summary>
    public static int Seen(float value) =>
        (Math.Abs(value) <= GridFormat.Largest ? 0 : Unusable) | (value == 0 ? Zero : 0) | (value < 0 ? BelowZero : 0);

    /// <summary>Loads one column of a tile, and zeros where the map has no value. Returns the kinds of values in the column.</summary>
    public static int Load(ArrayView<byte> values, GpuMap map, GpuRegion region, long tile, ArrayView<float> x, int at, int column)
    {
        var (seen, height) = (0, map.Regions == 0 ? 1 : region.Height.Points);
        for (var top = 0; top < 16; top += height)
        {
            var start = Start(map, region, tile, top, column);
            for (var row = top; row < Math.Min(16, top + height); row++)
            {
                var value = 0f;
                if (start >= 0)
                {
                    value = GpuCells.Load(values, map.Type, start + (row - top) * (long)map.Width);
                    seen |= Seen(value);
                }
                x[at + row * Pitch + column] = value;
            }
        }
        return seen;
    }

    /// <summary>Stores one column of a tile.</summary>
    public static void Store(ArrayView<float> x, int at, int column, ArrayView<byte> values, GpuMap map, GpuRegion region, long tile)
    {
        var height = map.Regions == 0 ? 1 : region.Height.Points;
        for (var top = 0; top < 16; top += height)
        {
            var start = Start(map, region, tile, top, column);
            if (start < 0) continue;
            for (var row = top; row < top + height; row++)
                GpuCells.Store(values, map.Type, start + (row - top) * (long)map.Width, x[at + row * Pitch + column]);
        }
    }

    /// <summary>A bit for each value of a row, set where the value is not zero.</summary>
    public static uint Positive(ArrayView<float> x, int at, int row)
    {
        uint positive = 0;
        for (var column = 0; column < 16; column++) if (x[at + row * Pitch + column] != 0) positive |= 1u << column;
        return positive;
    }

    // The index in the map of a block's column, where the block's first row is row top of the tile; -1 where the tile has no such block.
    // The slots of a tile hold block after block, each slice by slice.
    static long Start(GpuMap map, GpuRegion region, long tile, int top, int column)
    {
        if (map.Regions == 0)
        {
            var i = (tile - (long)map.FirstUnit * map.TilesPerUnit) * 256 + top * 16 + column;
            return i < map.Elements ? i : -1;
        }
        if (top + region.Height.Points > 16) return -1;
        var (down, right) = (top / region.Height.Points, column / region.Width.Points);
        var (block, z) = Divide(down * region.Across + right, region.Depth.Points);
        var index = (tile - region.FirstTile) * region.BlocksPerTile + block;
        if (right >= region.Across || block >= region.BlocksPerTile || index >= region.Blocks) return -1;
        var (plane, within) = Divide(index, region.BlocksPerMap);
        var (lines, across) = Divide(within, region.Width.Count);
        var (slice, high) = Divide(lines, region.Height.Count);
        return ((plane * map.Depth + region.Depth.Start + slice * region.Depth.Points + z) * map.Height + region.Height.Start
            + high * region.Height.Points) * map.Width
            + region.Width.Start + across * region.Width.Points + (column - right * region.Width.Points);
    }

    static (int, int) Divide(int a, int b) => (a / b, a - a / b * b);

    static (long, int) Divide(long a, int b)
    {
        // A 64-bit division takes many times as long.
        var quotient = a <= uint.MaxValue ? (uint)a / (uint)b : a / b;
        return (quotient, (int)(a - quotient * b));
    }

    /// <summary>Transforms one column or row of x, whose elements are <paramref name="step"/> apart, into y; x is overwritten.</summary>
    public static void Line(ArrayView<float> x, ArrayView<float> y, int at, int step, GpuAxis axis, ArrayView<float> cosines, bool inverse)
    {
        var (points, blocks) = (axis.Points, 16 / axis.Points);
        for (var block = 0; block < blocks; block++)
        {
            var (values, coefficients) = (at + block * points * step, at + block * step);
            if (inverse) Sums(x, coefficients, step * blocks, y, values, step, cosines, axis.Cosines, points);
            else Cosines(x, values, step, y, coefficients, step * blocks, cosines, axis.Cosines, points);
        }
        for (var i = points * blocks; i < 16; i++) y[at + i * step] = 0;
    }

    /// <summary>
    /// Transforms along the depth of a volume's blocks, whose slices are slots of the tile: the part of thread <paramref name="lane"/>.
    /// </summary>
    public static void Slices(ArrayView<float> x, int at, int lane, GpuRegion region, ArrayView<float> cosines, bool inverse)
    {
        var (depth, height, width) = (region.Depth.Points, region.Height.Points, region.Width.Points);
        if (depth == 1) return;
        var before = LocalMemory.Allocate<float>(4);
        var after = LocalMemory.Allocate<float>(4);
        for (var i = lane; i < region.BlocksPerTile * height * width; i += 16)
        {
            var (block, within) = Divide(i, height * width);
            var (row, column) = Divide(within, width);
            for (var z = 0; z < depth; z++) before[z] = x[at + Slot(region, block * depth + z) + row * Pitch + column];
            if (inverse) Sums(before, 0, 1, after, 0, 1, cosines, region.Depth.Cosines, depth);
            else Cosines(before, 0, 1, after, 0, 1, cosines, region.Depth.Cosines, depth);
            for (var z = 0; z < depth; z++) x[at + Slot(region, block * depth + z) + row * Pitch + column] = after[z];
        }
    }

    // The offset of a slot in the tile.
    static int Slot(GpuRegion region, int slot)
    {
        var (down, right) = Divide(slot, region.Across);
        return down * region.Height.Points * Pitch + right * region.Width.Points;
    }

    // These functions equal those of GridPlain. A kernel has no recursion, so the four points of a rotation have code of their own.
    static void Cosines(
        ArrayView<float> x, int from, int step, ArrayView<float> y, int to, int apart, ArrayView<float> cosines, int m, int points)
    {
        int n = points, stride = 1;
        for (; n % 2 == 0; n /= 2, stride *= 2)
        {
            for (var i = 0; i < n / 2; i++)
            {
                var (first, last) = (x[from + i * step], x[from + (n - 1 - i) * step]);
                x[from + i * step] = first + last;
                x[from + (n - 1 - i) * step] = first - last;
            }
            if (n == GridCosines.Turned) Turn(x, from, step, y, to, apart, cosines, m);
            else
                for (var k = 0; k < n / 2; k++)
                {
                    var row = m + k * n / 2;
                    var sum = x[from + (n - 1) * step] * cosines[row];
                    for (var i = 1; i < n / 2; i++) sum = GpuMath.Fused(x[from + (n - 1 - i) * step], cosines[row + i], sum);
                    y[to + (2 * k + 1) * stride * apart] = sum;
                }
            m += GridCosines.EntriesOf(n);
        }
        for (var k = 0; k < n; k++, m += n)
        {
            var sum = x[from] * cosines[m];
            for (var i = 1; i < n; i++) sum = GpuMath.Fused(x[from + i * step], cosines[m + i], sum);
            y[to + k * stride * apart] = sum;
        }
    }

    static void Turn(ArrayView<float> x, int from, int step, ArrayView<float> y, int to, int apart, ArrayView<float> cosines, int m)
    {
        var u = LocalMemory.Allocate<float>(4);
        var v = LocalMemory.Allocate<float>(4);
        for (var i = 0; i < 4; i++)
        {
            var (d, other, entry) = (x[from + (15 - i) * step], x[from + (8 + i) * step], m + 4 * i);
            u[i] = GpuMath.Fused(other, cosines[entry + 1], d * cosines[entry]);
            v[i] = GpuMath.Fused(other, cosines[entry + 3], d * cosines[entry + 2]);
        }
        FourCosines(u, cosines, m + GridCosines.AfterTurns);
        FourCosines(v, cosines, m + GridCosines.AfterTurns);
        y[to + apart] = u[0];
        y[to + 15 * apart] = v[0];
        for (var k = 1; k < 4; k++)
        {
            y[to + (4 * k - 1) * apart] = u[k] + v[4 - k];
            y[to + (4 * k + 1) * apart] = u[k] - v[4 - k];
        }
    }

    static void FourCosines(ArrayView<float> x, ArrayView<float> cosines, int m)
    {
        float s0 = x[0] + x[3], d0 = x[0] - x[3], s1 = x[1] + x[2], d1 = x[1] - x[2];
        x[0] = (s0 + s1) * cosines[m + 5];
        x[1] = GpuMath.Fused(d1, cosines[m + 1], d0 * cosines[m]);
        x[2] = (s0 - s1) * cosines[m + 4];
        x[3] = GpuMath.Fused(d1, cosines[m + 3], d0 * cosines[m + 2]);
    }

    static void Sums(
        ArrayView<float> y, int from, int apart, ArrayView<float> x, int to, int step, ArrayView<float> cosines, int m, int points)
    {
        int n = points, stride = 1;
        for (; n % 2 == 0; n /= 2, stride *= 2) m += GridCosines.EntriesOf(n);
        for (var i = 0; i < n; i++)
        {
            var sum = y[from] * cosines[m + i];
            for (var k = 1; k < n; k++) sum = GpuMath.Fused(y[from + k * stride * apart], cosines[m + k * n + i], sum);
            x[to + i * step] = sum;
        }
        while (n < points)
        {
            var half = n;
            n *= 2;
            stride /= 2;
            m -= GridCosines.EntriesOf(n);
            if (n == GridCosines.Turned) TurnBack(y, from, apart, x, to + half * step, step, cosines, m);
            else
                for (var i = 0; i < half; i++)
                {
                    var odd = y[from + stride * apart] * cosines[m + i];
                    for (var k = 1; k < half; k++)
                        odd = GpuMath.Fused(y[from + (2 * k + 1) * stride * apart], cosines[m + k * half + i], odd);
                    x[to + (n - 1 - i) * step] = odd;
                }
            for (var i = 0; i < half; i++)
            {
                var (even, odd) = (x[to + i * step], x[to + (n - 1 - i) * step]);
                x[to + i * step] = even + odd;
                x[to + (n - 1 - i) * step] = even - odd;
            }
        }
    }

    static void TurnBack(ArrayView<float> y, int from, int apart, ArrayView<float> x, int to, int step, ArrayView<float> cosines, int m)
    {
        var u = LocalMemory.Allocate<float>(4);
        var v = LocalMemory.Allocate<float>(4);
        u[0] = y[from + apart];
        v[0] = y[from + 15 * apart];
        for (var k = 1; k < 4; k++)
        {
            var (before, after) = (y[from + (4 * k - 1) * apart], y[from + (4 * k + 1) * apart]);
            u[k] = before + after;
            v[4 - k] = before - after;
        }
        FourSums(u, cosines, m + GridCosines.AfterTurns);
        FourSums(v, cosines, m + GridCosines.AfterTurns);
        for (var i = 0; i < 4; i++)
        {
            var entry = m + 4 * i;
            x[to + (7 - i) * step] = GpuMath.Fused(v[i], cosines[entry + 2], u[i] * cosines[entry]);
            x[to + i * step] = GpuMath.Fused(v[i], cosines[entry + 3], u[i] * cosines[entry + 1]);
        }
    }

    static void FourSums(ArrayView<float> y, ArrayView<float> cosines, int m)
    {
        float mean = y[0] * cosines[m + 5], half = y[2] * cosines[m + 4], e0 = mean + half, e1 = mean - half;
        float o0 = GpuMath.Fused(y[3], cosines[m + 2], y[1] * cosines[m]), o1 = GpuMath.Fused(y[3], cosines[m + 3], y[1] * cosines[m + 1]);
        y[0] = e0 + o0;
        y[1] = e1 + o1;
        y[2] = e1 - o1;
        y[3] = e0 - o0;
    }
}
