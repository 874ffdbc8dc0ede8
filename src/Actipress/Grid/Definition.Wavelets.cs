using Actipress.Transforms;

namespace Actipress.Grid;

static partial class Definition
{
    /// <summary>A map in units: as many whole maps as have at most 65536 coefficients, or one map that has more.</summary>
    sealed class Wavelets : Layout
    {
        readonly MapShape shape;
        readonly Wavelet wavelet;

        public Wavelets(MapShape shape, Wavelet wavelet)
        {
            (this.shape, this.wavelet) = (shape, wavelet);
            var perMap = (int)wavelet.Coefficients(shape with { Maps = 1 });
            var maps = Math.Max(1, ChunkElements / perMap);
            List<Unit> units = [];
            for (long first = 0; first < shape.Maps; first += maps)
            {
                var here = shape with { Maps = Math.Min(maps, shape.Maps - first) };
                units.Add(new Maps(wavelet, here, (int)(first * shape.MapElements))
                {
                    Coefficients = ((int)here.Maps * perMap + TileElements - 1) / TileElements * TileElements,
                    Places = [.. Enumerable.Range((int)(first * shape.MapElements), (int)here.Elements)],
                });
            }
            Units = units;
        }

        public override IReadOnlyList<Unit> Units { get; }

        // The sample is one map in 64, but at least 16384 elements and at most 131072 coefficients, or one map; of large maps it is strips.
        public override (float[], long) Sample(float[] map)
        {
            var strips = Strips();
            int count;
            if (strips != shape) count = (int)Math.Min(strips.Maps, Math.Clamp((1 << 18) / strips.MapElements, 4, 8));
            else
            {
                var least = (64 * TileElements + shape.MapElements - 1) / shape.MapElements;
                var most = Math.Max(1, 512 * TileElements / wavelet.Coefficients(shape with { Maps = 1 }));
                count = (int)Math.Min(Math.Min(shape.Maps, most), Math.Max(least, shape.Maps / 64));
            }
            var one = strips with { Maps = 1 };
            var chosen = Enumerable.Range(0, count).Select(i => (int)(Chosen(i, count, strips.Maps) * one.Elements));
            return ([.. chosen.SelectMany(first => Forward(wavelet, map, first, one))], count * one.Elements);
        }

        // The same elements as strips of some lines, as if each strip were a map; the maps themselves where they are small, or where a
        // strip has more than half of a map's lines.
        MapShape Strips()
        {
            if (wavelet.Coefficients(shape with { Maps = 1 }) <= ChunkElements) return shape;
            var lines = shape.Depth > 1 ? shape.Depth : shape.Height > 1 ? shape.Height : shape.Width;
            var levels = wavelet.Sizes(shape).Count - 1;
            var multiple = (wavelet.Low.Length > 2 ? 2 : 1) << levels;
            var strip = Math.Max(1, 32768 / (int)(shape.MapElements / lines) / multiple) * multiple;
            if (strip > lines / 2) return shape;
            var strips = shape with { Maps = shape.Maps * lines / strip };
            if (shape.Depth > 1) return strips with { Depth = strip };
            return shape.Height > 1 ? strips with { Height = strip } : strips with { Width = strip };
        }

        sealed class Maps(Wavelet wavelet, MapShape maps, int first) : Unit
        {
            public override float[] Forward(float[] map)
            {
                var coefficients = new float[Coefficients];
                Wavelets.Forward(wavelet, map, first, maps).CopyTo(coefficients, 0);
                return coefficients;
            }

            public override void Inverse(float[] coefficients, float[] map) => Wavelets.Inverse(wavelet, coefficients, map, first, maps);
        }

        // Each level divides slices, then columns, then rows. The order is the coarsest low band, then the detail bands from coarse to
        // fine, each band for all maps.
        static float[] Forward(Wavelet wavelet, float[] map, int first, MapShape maps)
        {
            var (bands, sizes) = (wavelet.Bands(maps), wavelet.Sizes(maps));
            var coefficients = new float[wavelet.Coefficients(maps)];
            for (var m = 0; m < maps.Maps; m++)
            {
                var x = map[(first + m * (int)maps.MapElements)..(first + (m + 1) * (int)maps.MapElements)];
                for (var level = 1; level < sizes.Count; level++)
                {
                    var extents = sizes[level - 1];
                    for (var axis = 0; axis < 3; axis++) if (extents[axis] > 1) (x, extents) = Divided(wavelet, x, extents, axis);
                    foreach (var band in bands)
                        if (band.Level == level) Box(x, extents, band).CopyTo(coefficients, Start(band, m, maps));
                    x = Box(x, extents, new(level, 0, sizes[level], 0));
                }
            }
            return coefficients;
        }

        // Where a band of a map starts among a unit's coefficients.
        static int Start(Wavelet.Band band, int map, MapShape maps) => (int)(band.Start * maps.Maps + map * band.Elements);

        // Each level joins rows, then columns, then slices.
        static void Inverse(Wavelet wavelet, float[] coefficients, float[] map, int first, MapShape maps)
        {
            var (bands, sizes) = (wavelet.Bands(maps), wavelet.Sizes(maps));
            for (var m = 0; m < maps.Maps; m++)
            {
                var low = Taken(bands[0]);
                for (var level = sizes.Count - 1; level >= 1; level--)
                {
                    var extents = sizes[level - 1].Even;
                    var whole = new float[extents.Elements];
                    Put(low, whole, extents, new(level, 0, sizes[level], 0));
                    foreach (var band in bands)
                        if (band.Level == level && !band.IsLow) Put(Taken(band), whole, extents, band);
                    for (var axis = 2; axis >= 0; axis--) if (extents[axis] > 1) whole = Joined(wavelet, whole, extents, axis);
                    low = Box(whole, extents, new(0, 0, sizes[level - 1], 0));
                }
                low.CopyTo(map, first + m * (int)maps.MapElements);

                float[] Taken(Wavelet.Band band) => coefficients[Start(band, m, maps)..Start(band, m + 1, maps)];
            }
        }

        // a[o] = sum_j low[j] x[(F/2 + 2 o - j) mod n] is the first half of the axis, and d[o], likewise with high, is the second half. An
        // odd axis is made even by repeating its last element.
        static (float[], Wavelet.Extents) Divided(Wavelet wavelet, float[] x, Wavelet.Extents extents, int axis)
        {
            var (length, half, taps) = (extents[axis], (extents[axis] + 1) / 2, wavelet.Low.Length);
            var (low, high) = Filters(wavelet);
            var result = extents.With(axis, 2 * half);
            var divided = new float[result.Elements];
            foreach (var (from, to) in Lines(extents, result, axis))
                for (var o = 0; o < half; o++)
                {
                    float Input(int j) => x[from + Math.Min(Modulo(taps / 2 + 2 * o - j, 2 * half), length - 1) * extents.Stride(axis)];
                    divided[to + o * result.Stride(axis)] = Sum(taps, Input, j => low[j]);
                    divided[to + (half + o) * result.Stride(axis)] = Sum(taps, Input, j => high[j]);
                }
            return (divided, result);
        }

        // x[2 q - s] = sum_t low[2 t + 1] a[q + t - r] + sum_t high[2 t + 1] d[q + t - r], and x[2 q - s + 1] likewise with taps 2 t, where
        // r = floor(F / 4), and s is 1 where F / 2 is even, else 0.
        static float[] Joined(Wavelet wavelet, float[] y, Wavelet.Extents extents, int axis)
        {
            var (half, each, stride) = (extents[axis] / 2, wavelet.Low.Length / 2, extents.Stride(axis));
            var (reach, shift) = (wavelet.Low.Length / 4, each % 2 == 0 ? 1 : 0);
            var (low, high) = Filters(wavelet);
            var joined = new float[y.Length];
            foreach (var (start, _) in Lines(extents, extents, axis))
                for (var q = 0; q < half; q++)
                    for (var second = 0; second < 2; second++)
                    {
                        var tap = 1 - second;
                        float Input(int t) => y[start + (t < each ? 0 : half * stride) + Modulo(q + t % each - reach, half) * stride];
                        float Tap(int t) => t < each ? low[2 * t + tap] : high[2 * (t - each) + tap];
                        joined[start + Modulo(2 * q - shift + second, 2 * half) * stride] = Sum(2 * each, Input, Tap);
                    }
            return joined;
        }

        static (float[] Low, float[] High) Filters(Wavelet wavelet) => (Rounded(wavelet.Low), Rounded(wavelet.High));

        static float[] Rounded(ReadOnlySpan<double> filter) => Array.ConvertAll(filter.ToArray(), tap => (float)tap);

        static int Modulo(int i, int n) => (i % n + n) % n;

        // The starts of the lines along an axis, before and after the axis is divided.
        static IEnumerable<(int From, int To)> Lines(Wavelet.Extents from, Wavelet.Extents to, int axis)
        {
            var across = from.With(axis, 1);
            for (var d = 0; d < across.Depth; d++)
                for (var h = 0; h < across.Height; h++)
                    for (var w = 0; w < across.Width; w++)
                        yield return (d * from.Stride(0) + h * from.Stride(1) + w, d * to.Stride(0) + h * to.Stride(1) + w);
        }

        // The values of a band, which is a box of what was divided along every axis.
        static float[] Box(float[] whole, Wavelet.Extents extents, Wavelet.Band band) =>
            [.. Places(extents, band).Select(place => whole[place])];

        static void Put(float[] values, float[] whole, Wavelet.Extents extents, Wavelet.Band band)
        {
            foreach (var (i, place) in Places(extents, band).Index()) whole[place] = values[i];
        }

        static IEnumerable<int> Places(Wavelet.Extents extents, Wavelet.Band band)
        {
            int Start(int axis) => (band.HighAxes >> axis & 1) != 0 ? extents[axis] / 2 : 0;
            for (var d = 0; d < band.Extents.Depth; d++)
                for (var h = 0; h < band.Extents.Height; h++)
                    for (var w = 0; w < band.Extents.Width; w++)
                        yield return ((Start(0) + d) * extents.Height + Start(1) + h) * extents.Width + Start(2) + w;
        }
    }
}
