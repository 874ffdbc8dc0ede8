using Actipress.Grid.Gpu;
using Actipress.Grid.Wavelets;
using ILGPU;

namespace Actipress;

/// <content>
/// Wavelets. A thread computes one coefficient, or one value, of a level from all values under its taps. It filters along the width the
/// results of filtering along the height the results of filtering along the depth. Each sum is rounded as in <see cref="GridUnit{TFace}"/>.
/// So only the low bands are stored between two levels.
/// </content>
static partial class GridKernels
{
    /// <summary>Finds the kinds of values of a map.</summary>
    public static void Look(ArrayView<byte> values, GpuMap map, ArrayView<GpuState> state)
    {
        var seen = 0;
        for (long i = ILGPU.Grid.IdxX * Group.DimX + Group.IdxX; i < map.Elements; i += ILGPU.Grid.DimX * Group.DimX)
            seen |= GpuTile.Seen(GpuCells.Load(values, map.Type, i));
        Tell(seen, state);
    }

    /// <summary>Divides the map's values (at the finest level), or the low bands of the level before, into bands.</summary>
    /// <remarks>
    /// <c>whole</c>: the low bands of the level before, map after map. <c>low</c>: receives the low bands of this level, except at the
    /// coarsest level. <c>coefficients</c>: receives all other bands, in their final order.
    /// </remarks>
    public static void Divide(
        ArrayView<byte> values, GpuMap map, GpuUnits units, GpuLevel level, ArrayView<float> filters, ArrayView<float> whole,
        ArrayView<float> low, ArrayView<float> coefficients)
    {
        var divided = level.DividedAxes;
        var all = (long)units.Maps * level.HalfElements;
        for (long i = ILGPU.Grid.IdxX * Group.DimX + Group.IdxX; i < all; i += ILGPU.Grid.DimX * Group.DimX)
        {
            var one = (int)(i / level.HalfElements);
            var place = (int)(i - (long)one * level.HalfElements);
            var (z, rest) = (place / (level.HalfHeight * level.HalfWidth), place % (level.HalfHeight * level.HalfWidth));
            var (y, x) = (rest / level.HalfWidth, rest % level.HalfWidth);
            var at = level.Finest != 0 ? units.Number(one) * level.Elements : (long)one * level.Elements;
            for (var band = 0; band < 8; band++)
            {
                if ((band & ~divided) != 0) continue;
                var coefficient = AlongWidth(values, map.Type, whole, at, level, filters, band, z, y, x);
                if (band == 0 && level.Coarsest == 0) low[i] = coefficient;
                else coefficients[units.Place(one, level.Start(band), level.HalfElements) + place] = coefficient;
            }
        }
    }

    static float AlongWidth(
        ArrayView<byte> values, int type, ArrayView<float> whole, long at, GpuLevel level, ArrayView<float> filters, int band, int z, int y,
        int o)
    {
        if (level.Width == 1) return AlongHeight(values, type, whole, at, level, filters, band, z, y, 0);
        var (filter, sum) = ((band & 4) != 0 ? level.Taps : 0, 0f);
        for (var j = 0; j < level.Taps; j++)
        {
            var value = AlongHeight(values, type, whole, at, level, filters, band, z, y, Met(level, o, j, level.Width));
            sum = j == 0 ? value * filters[filter] : GpuMath.Fused(value, filters[filter + j], sum);
        }
        return sum;
    }

    static float AlongHeight(
        ArrayView<byte> values, int type, ArrayView<float> whole, long at, GpuLevel level, ArrayView<float> filters, int band, int z, int o,
        int x)
    {
        if (level.Height == 1) return AlongDepth(values, type, whole, at, level, filters, band, z, 0, x);
        var (filter, sum) = ((band & 2) != 0 ? level.Taps : 0, 0f);
        for (var j = 0; j < level.Taps; j++)
        {
            var value = AlongDepth(values, type, whole, at, level, filters, band, z, Met(level, o, j, level.Height), x);
            sum = j == 0 ? value * filters[filter] : GpuMath.Fused(value, filters[filter + j], sum);
        }
        return sum;
    }

    static float AlongDepth(
        ArrayView<byte> values, int type, ArrayView<float> whole, long at, GpuLevel level, ArrayView<float> filters, int band, int o, int y,
        int x)
    {
        if (level.Depth == 1) return Value(values, type, whole, at, level, 0, y, x);
        var (filter, sum) = ((band & 1) != 0 ? level.Taps : 0, 0f);
        for (var j = 0; j < level.Taps; j++)
        {
            var value = Value(values, type, whole, at, level, Met(level, o, j, level.Depth), y, x);
            sum = j == 0 ? value * filters[filter] : GpuMath.Fused(value, filters[filter + j], sum);
        }
        return sum;
    }

    static float Value(ArrayView<byte> values, int type, ArrayView<float> whole, long at, GpuLevel level, int z, int y, int x)
    {
        var place = at + ((long)z * level.Height + y) * level.Width + x;
        return level.Finest != 0 ? GpuCells.Load(values, type, place) : whole[place];
    }

    // The index of the input under tap j of output o on an axis of n values. The axis is periodic, and its last value is repeated where n
    // is odd.
    static int Met(GpuLevel level, int o, int j, int n) => Math.Min(Modulo(level.Taps / 2 + 2 * o - j, n + (n & 1)), n - 1);

    static int Modulo(int i, int n)
    {
        var rest = i % n;
        return rest < 0 ? rest + n : rest;
    }

    /// <summary>Writes a bit for each element of a unit's maps, set where the element is not zero, into the unit's first chunk.</summary>
    public static void KeepZeros(
        ArrayView<byte> values, GpuMap map, ArrayView<GpuRegion> regions, ArrayView<GpuCounts> stretches, ArrayView<long> starts,
        ArrayView<GpuState> state, ArrayView<uint> words)
    {
        if (state[0].HasZeros == 0) return;
        // A thread writes the bits of one word, 32 elements of the unit, at a time.
        var perUnit = (map.MapsPerUnit * map.MapElements + 31) / 32;
        var unit = ILGPU.Grid.IdxX;
        var elements = MapsOf(map, unit) * map.MapElements;
        var to = ChunkStreams(map, regions, stretches, starts, unit * map.ChunksPerUnit, hasZeros: true).Zeros;
        for (var part = Group.IdxX; part < perUnit; part += Group.DimX)
        {
            uint bits = 0;
            for (var i = 0; i < Math.Min(32, elements - 32 * part); i++)
                if (GpuCells.Load(values, map.Type, (long)unit * map.MapsPerUnit * map.MapElements + 32 * part + i) != 0) bits |= 1u << i;
            GpuBits.Write(words, to + 32 * part, bits);
        }
    }

    /// <summary>
    /// Combines bands into the low bands of the level before or, at the finest level, into the map's values with their zeros.
    /// </summary>
    /// <remarks>
    /// <c>low</c>: the low bands of this level, except at the coarsest level. <c>whole</c>: receives the result, except at the finest
    /// level.
    /// </remarks>
    public static void Combine(
        ArrayView<float> coefficients, ArrayView<float> low, GpuUnits units, GpuLevel level, ArrayView<float> filters,
        ArrayView<float> whole, ArrayView<byte> values, GpuMap map, ArrayView<uint> words, ArrayView<GpuCounts> stretches,
        ArrayView<long> starts, GpuSteps steps, int hasZeros)
    {
        var all = (long)units.Maps * level.Elements;
        for (long i = ILGPU.Grid.IdxX * Group.DimX + Group.IdxX; i < all; i += ILGPU.Grid.DimX * Group.DimX)
        {
            var one = (int)(i / level.Elements);
            var place = (int)(i - (long)one * level.Elements);
            var (z, rest) = (place / (level.Height * level.Width), place % (level.Height * level.Width));
            var value = OfSlices(coefficients, low, units, level, filters, one, z, rest / level.Width, rest % level.Width);
            if (level.Finest == 0)
            {
                whole[i] = value;
                continue;
            }
            if (hasZeros != 0)
            {
                var number = units.FirstMap + one;
                var unit = number / map.MapsPerUnit;
                var chunk = unit * map.ChunksPerUnit;
                var from = new GpuStreams(starts[chunk], TilesIn(map, chunk), 0, default).Zeros
                    + (long)(number - unit * map.MapsPerUnit) * map.MapElements + place;
                value = (GpuBits.Read(words, from) & 1) != 0 ? Math.Max(value, GpuCells.Least(map.Type, steps.Step)) : 0;
            }
            GpuCells.Store(values, map.Type, (long)units.FirstMap * map.MapElements + i, value);
        }
    }

    static float OfSlices(
        ArrayView<float> coefficients, ArrayView<float> low, GpuUnits units, GpuLevel level, ArrayView<float> filters, int one, int z,
        int y, int x)
    {
        if (level.Depth == 1) return OfRows(coefficients, low, units, level, filters, one, 0, 0, y, x);
        var (filter, q, sum) = (Filter(level, z), Meeting(level, z, level.HalfDepth), 0f);
        for (var t = 0; t < level.Taps; t++)
        {
            var part =
                OfRows(coefficients, low, units, level, filters, one, t < level.Taps / 2 ? 0 : 1, Part(level, q, t, level.HalfDepth), y, x);
            sum = t == 0 ? part * filters[filter] : GpuMath.Fused(part, filters[filter + t], sum);
        }
        return sum;
    }

    static float OfRows(
        ArrayView<float> coefficients, ArrayView<float> low, GpuUnits units, GpuLevel level, ArrayView<float> filters, int one, int band,
        int z, int y, int x)
    {
        if (level.Height == 1) return OfElements(coefficients, low, units, level, filters, one, band, z, 0, x);
        var (filter, q, sum) = (Filter(level, y), Meeting(level, y, level.HalfHeight), 0f);
        for (var t = 0; t < level.Taps; t++)
        {
            var part = OfElements(
                coefficients, low, units, level, filters, one, band | (t < level.Taps / 2 ? 0 : 2), z, Part(level, q, t, level.HalfHeight),
                x);
            sum = t == 0 ? part * filters[filter] : GpuMath.Fused(part, filters[filter + t], sum);
        }
        return sum;
    }

    static float OfElements(
        ArrayView<float> coefficients, ArrayView<float> low, GpuUnits units, GpuLevel level, ArrayView<float> filters, int one, int band,
        int z, int y, int x)
    {
        if (level.Width == 1) return Coefficient(coefficients, low, units, level, one, band, z, y, 0);
        var (filter, q, sum) = (Filter(level, x), Meeting(level, x, level.HalfWidth), 0f);
        for (var t = 0; t < level.Taps; t++)
        {
            var part = Coefficient(
                coefficients, low, units, level, one, band | (t < level.Taps / 2 ? 0 : 4), z, y, Part(level, q, t, level.HalfWidth));
            sum = t == 0 ? part * filters[filter] : GpuMath.Fused(part, filters[filter + t], sum);
        }
        return sum;
    }

    static float Coefficient(
        ArrayView<float> coefficients, ArrayView<float> low, GpuUnits units, GpuLevel level, int one, int band, int z, int y, int x)
    {
        var place = (z * level.HalfHeight + y) * level.HalfWidth + x;
        return band == 0 && level.Coarsest == 0
            ? low[(long)one * level.HalfElements + place] : coefficients[units.Place(one, level.Start(band), level.HalfElements) + place];
    }

    // The offset of the inverse's taps for output i. There is one set for the first and one for the second of two neighbours; both follow
    // the two filters.
    static int Filter(GpuLevel level, int i) => (2 + (i + Shift(level) & 1)) * level.Taps;

    // The q of GridUnit's formula for output i, on an axis of 2 half values.
    static int Meeting(GpuLevel level, int i, int half) => (i + Shift(level) >> 1) % half;

    static int Shift(GpuLevel level) => 1 - (level.Taps / 2 & 1);

    // The index of the coefficient under tap t in the low or the high half.
    static int Part(GpuLevel level, int q, int t, int half) => Modulo(q + t % (level.Taps / 2) - level.Taps / 4, half);
}
