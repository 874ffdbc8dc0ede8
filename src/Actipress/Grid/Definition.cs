using System.Buffers.Binary;
using Actipress.Selection;
using Actipress.Transforms;

namespace Actipress.Grid;

/// <summary>
/// The definition of grid storage as a slow and plain program, in the order of docs/format.md: tiles, cosine transform, wavelet transform,
/// sample, levels, streams. It uses no fast code. Tests compare every fast implementation with it byte for byte.
/// </summary>
static partial class Definition
{
    const int TileElements = 256, TilesPerChunk = 256, ChunkElements = TileElements * TilesPerChunk;

    /// <summary>Packs a map.</summary>
    /// <param name="map">The map's values, row-major, in float32.</param>
    /// <param name="shape">The map's shape.</param>
    /// <param name="transform">One that <see cref="GridFormat.Covers"/> knows.</param>
    /// <param name="keep">A ratio or a threshold.</param>
    /// <param name="exactZeros">Whether to keep zeros exactly where there are some and no negatives.</param>
    /// <returns>The bytes that <see cref="GridMap.Write"/> writes; null where a value is not a number or too large.</returns>
    public static byte[]? Pack(float[] map, MapShape shape, Transform transform, Keep keep, bool exactZeros)
    {
        if (map.Any(x => !(Math.Abs(x) <= GridFormat.Largest))) return null;
        var hasZeros = exactZeros && map.Contains(0) && !map.Any(x => x < 0);
        var layout = Layout.Of(shape, transform);
        var (sample, elements) = layout.Sample(map);
        var step = Step(sample, elements, keep);
        var (first, other) = Offsets(sample, step);

        List<byte[]> chunks = [];
        foreach (var unit in layout.Units)
        {
            var coefficients = unit.Forward(map);
            for (var start = 0; start < coefficients.Length; start += ChunkElements)
            {
                var some = coefficients.AsSpan(start, Math.Min(ChunkElements, coefficients.Length - start));
                var zeros = hasZeros && start == 0 ? unit.Places.Select(place => place >= 0 && map[place] != 0) : [];
                chunks.Add(Streams.Write(some, step, zeros));
            }
        }
        byte[] header = new byte[13 + 4 * chunks.Count];
        BinaryPrimitives.WriteSingleLittleEndian(header, step);
        BinaryPrimitives.WriteSingleLittleEndian(header.AsSpan(4), first);
        BinaryPrimitives.WriteSingleLittleEndian(header.AsSpan(8), other);
        header[12] = hasZeros ? (byte)1 : (byte)0;
        for (var i = 0; i < chunks.Count; i++) BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(13 + 4 * i), chunks[i].Length);
        return [.. header, .. chunks.SelectMany(chunk => chunk)];
    }

    /// <summary>Unpacks a map to float32. The bytes must not be damaged.</summary>
    /// <param name="bytes">What <see cref="Pack"/> returned.</param>
    /// <param name="shape">The map's shape.</param>
    /// <param name="transform">The transform by which the map was packed.</param>
    /// <param name="smallest">The smallest normal number of the map's type, at least that of float32.</param>
    public static float[] Unpack(byte[] bytes, MapShape shape, Transform transform, float smallest)
    {
        float Number(int at) => BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(at));
        var (step, first, other, hasZeros) = (Number(0), Number(4), Number(8), bytes[12] != 0);
        var map = new float[shape.Elements];
        var layout = Layout.Of(shape, transform);
        var (length, at) = (13, 13 + 4 * layout.Units.Sum(unit => (unit.Coefficients + ChunkElements - 1) / ChunkElements));
        foreach (var unit in layout.Units)
        {
            var coefficients = new float[unit.Coefficients];
            bool[] notZero = [];
            for (var start = 0; start < coefficients.Length; start += ChunkElements, length += 4)
            {
                var bits = hasZeros && start == 0 ? unit.Places.Length : 0;
                var size = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(length));
                var some = coefficients.AsSpan(start, Math.Min(ChunkElements, coefficients.Length - start));
                var zeros = Streams.Read(bytes.AsSpan(at, size), bits, some, step, first, other);
                if (start == 0) notZero = zeros;
                at += size;
            }
            unit.Inverse(coefficients, map);
            // An element that is not zero must not become zero.
            var least = Math.Max(smallest, step * (1f / (1 << 24)));
            for (var i = 0; i < notZero.Length; i++)
                if (unit.Places[i] >= 0) map[unit.Places[i]] = notZero[i] ? Math.Max(map[unit.Places[i]], least) : 0;
        }
        return map;
    }

    /// <summary>A part of a map that is transformed by itself and starts a chunk.</summary>
    abstract class Unit
    {
        /// <summary>The number of coefficients, in whole tiles.</summary>
        public required int Coefficients { get; init; }

        /// <summary>The elements of the map in the order of their bits of zeros; -1 for a place without an element.</summary>
        public required int[] Places { get; init; }

        public abstract float[] Forward(float[] map);

        public abstract void Inverse(float[] coefficients, float[] map);
    }

    /// <summary>How a map is divided.</summary>
    abstract class Layout
    {
        public abstract IReadOnlyList<Unit> Units { get; }

        /// <summary>The coefficients of a sample, and the number of elements that they were computed from.</summary>
        public abstract (float[] Coefficients, long Elements) Sample(float[] map);

        public static Layout Of(MapShape shape, Transform transform) => transform switch
        {
            Identity => new Tiles(shape, null),
            Dct dct => new Tiles(shape, dct.Block),
            Wavelet when shape.MapElements == 1 => new Tiles(shape, null),
            Wavelet wavelet => new Wavelets(shape, wavelet),
            _ => throw new ArgumentException($"No grid of '{transform.Name}': wanted st, dct or wt.", nameof(transform)),
        };

        // The number that is chosen in part i of `count` equal parts: a pseudo-random place in the part, which depends on i alone.
        protected static long Chosen(int i, int count, long all)
        {
            var (from, to) = (all * i / count, all * (i + 1) / count);
            return from + (long)((ulong)(uint)(i * -1640531527) * (ulong)(to - from) >> 32);
        }
    }

    // The step is the magnitude of the k-th largest coefficient in the sample, so that about one coefficient in `ratio` reaches it.
    static float Step(float[] sample, long elements, Keep keep)
    {
        float[] magnitudes = [.. sample.Select(Math.Abs).OrderDescending()];
        float threshold;
        if (keep is Keep.TopK top)
        {
            var k = Math.Max(1, (long)Math.Floor(elements / top.Ratio));
            threshold = magnitudes[Math.Min(k, sample.Length) - 1];
            // Below ratio 2 at most one coefficient in 64 is an escape.
            if (2 * k > elements) threshold = Math.Max(threshold, magnitudes[Math.Max(1, elements / 64) - 1] / Escape);
            // Fewer than k coefficients differ from zero: the step is the smallest of them.
            if (threshold == 0 && magnitudes[0] > 0) threshold = Math.Max(magnitudes.Last(one => one > 0), magnitudes[0] / 4096);
        }
        else threshold = ((Keep.Above)keep).Threshold;
        return Math.Max(threshold, 1e-30f);
    }

    // The mean by which the coefficients of level 1, and those of all other levels but escapes, exceed their level: in steps, each term cut
    // to a multiple of 2^-23.
    static (float First, float Other) Offsets(float[] sample, float step)
    {
        long first = 0, firsts = 0, other = 0, others = 0;
        foreach (var y in sample)
        {
            var scaled = Math.Min(Math.Abs(y) * (1 / step), Escape);
            var level = (int)scaled;
            var remainder = (int)((scaled - level) * (1 << 23));
            if (level == 1) (first, firsts) = (first + remainder, firsts + 1);
            else if (level is > 1 and < Escape) (other, others) = (other + remainder, others + 1);
        }
        return (Mean(first, firsts), Mean(other, others));

        static float Mean(long sum, long count) => count == 0 ? 0 : (float)((double)sum / (1 << 23) / count);
    }

    static float[] Each(int count, Func<int, float> value) => [.. Enumerable.Range(0, count).Select(value)];

    // The sum of a(i) b(i): the first product is rounded, and each other one is fused onto the sum and rounded once.
    static float Sum(int count, Func<int, float> a, Func<int, float> b)
    {
        var sum = a(0) * b(0);
        for (var i = 1; i < count; i++) sum = MathF.FusedMultiplyAdd(a(i), b(i), sum);
        return sum;
    }
}
