using System.Buffers.Binary;
using Actipress.Maps;

namespace Actipress.Grid;

/// <summary>
/// What grid storage is: a map's values to bytes and back, slowly and plainly, in the order of docs/format.md: tiles, cosines, wavelets,
/// the
/// sample, levels, streams. Every fast implementation is compared with it byte for byte; it uses none of them.
/// </summary>
static partial class Definition
{
    const int TileElements = 256, TilesPerChunk = 256, ChunkElements = TileElements * TilesPerChunk;

    /// <summary>Packs a map.</summary>
    /// <param name="map">Row-major, in float32.</param>
    /// <param name="shape">The map's.</param>
    /// <param name="transform">One that <see cref="GridFormat.Covers"/> knows.</param>
    /// <param name="keep">A ratio or a threshold.</param>
    /// <param name="exactZeros">Whether to keep zeros exactly where there are some and no negatives.</param>
    /// <returns>The bytes that <see cref="GridMap.Write"/> writes; null where a value is no number or too large.</returns>
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

    /// <summary>The map that bytes hold which are not damaged, in float32.</summary>
    /// <param name="bytes">As <see cref="Pack"/> returns them.</param>
    /// <param name="shape">The map's.</param>
    /// <param name="transform">As the map was packed.</param>
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
                var zeros = Streams.Read(bytes.AsSpan(at, size), bits, coefficients.AsSpan(start, Math.Min(ChunkElements, coefficients.Length - start)), step, first, other);
                if (start == 0) notZero = zeros;
                at += size;
            }
            unit.Inverse(coefficients, map);
            // Of values that are kept apart from zeros none may become zero.
            var least = Math.Max(smallest, step * (1f / (1 << 24)));
            for (var i = 0; i < notZero.Length; i++)
                if (unit.Places[i] >= 0) map[unit.Places[i]] = notZero[i] ? Math.Max(map[unit.Places[i]], least) : 0;
        }
        return map;
    }

    /// <summary>What a map's chunks hold.</summary>
    abstract class Unit
    {
        /// <summary>How many coefficients there are: whole tiles.</summary>
        public required int Coefficients { get; init; }

        /// <summary>The elements of the map whose zeros are kept, in the order of their bits; -1 for one that is none.</summary>
        public required int[] Places { get; init; }

        public abstract float[] Forward(float[] map);

        public abstract void Inverse(float[] coefficients, float[] map);
    }

    /// <summary>How a map is divided.</summary>
    abstract class Layout
    {
        public abstract IReadOnlyList<Unit> Units { get; }

        /// <summary>The coefficients of a sample, and how many elements it was taken from.</summary>
        public abstract (float[] Coefficients, long Elements) Sample(float[] map);

        public static Layout Of(MapShape shape, Transform transform) => transform switch
        {
            Identity => new Tiles(shape, null),
            Dct dct => new Tiles(shape, dct.Block),
            Wavelet when shape.MapElements == 1 => new Tiles(shape, null),
            Wavelet wavelet => new Wavelets(shape, wavelet),
            _ => throw new ArgumentException($"No definition of the transform '{transform.Name}': wanted st, dct or wt.", nameof(transform)),
        };

        // One of so many equal parts: somewhere in it, by a pseudo-random number that depends on its place alone.
        protected static long Chosen(int i, int count, long all)
        {
            var (from, to) = (all * i / count, all * (i + 1) / count);
            return from + (long)((ulong)(uint)(i * -1640531527) * (ulong)(to - from) >> 32);
        }
    }

    // The magnitude that about one in ratio of the coefficients reaches: that of the k-th largest in the sample.
    static float Step(float[] sample, long elements, Keep keep)
    {
        float[] magnitudes = [.. sample.Select(Math.Abs).OrderDescending()];
        float threshold;
        if (keep is Keep.TopK top)
        {
            var k = Math.Max(1, (long)Math.Floor(elements / top.Ratio));
            threshold = magnitudes[Math.Min(k, sample.Length) - 1];
            // Below ratio 2 one in 64 is an escape at most.
            if (2 * k > elements) threshold = Math.Max(threshold, magnitudes[Math.Max(1, elements / 64) - 1] / Escape);
            // Where fewer than k differ from zero, the smallest of those.
            if (threshold == 0 && magnitudes[0] > 0) threshold = Math.Max(magnitudes.Last(magnitude => magnitude > 0), magnitudes[0] / 4096);
        }
        else threshold = ((Keep.Above)keep).Threshold;
        return Math.Max(threshold, 1e-30f);
    }

    // What coefficients of level 1, and of all others but escapes, have above their level on average: in steps, as multiples of 2^-23.
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

    // The first tap is a product; the others are fused onto the sum: each of these is rounded once.
    static float Sum(int taps, Func<int, float> a, Func<int, float> b)
    {
        var sum = a(0) * b(0);
        for (var i = 1; i < taps; i++) sum = MathF.FusedMultiplyAdd(a(i), b(i), sum);
        return sum;
    }
}
