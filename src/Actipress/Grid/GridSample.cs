using System.Numerics;
using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;
using Actipress.Machine;
using Actipress.Selection;

namespace Actipress.Grid;

/// <summary>
/// What a sample of a map says about the whole map before it is packed. The sample consists of tiles, or of whole maps under a wavelet.
/// </summary>
/// <param name="Finite">
/// Whether all values are numbers of at most <see cref="GridFormat.Largest"/>. If not, the other properties are not set.
/// </param>
/// <param name="AnyZero">Whether a value is zero.</param>
/// <param name="AnyNegative">Whether a value is below zero.</param>
/// <param name="Step">The distance of neighbouring levels.</param>
/// <param name="FirstOffset">The offset of level 1.</param>
/// <param name="OtherOffset">The offset of all other levels.</param>
/// <param name="RelativeError">
/// The norm of the quantisation error, by the norm of the coefficients. It is the same for the map's values under an orthonormal transform,
/// before the zeros are restored.
/// </param>
readonly unsafe record struct GridSample(
    bool Finite, bool AnyZero, bool AnyNegative, float Step, float FirstOffset, float OtherOffset, double RelativeError)
{
    // One tile or map in 64 is sampled, but at least and at most as many values as so many tiles have.
    const int TilesPerSample = 64, LeastTiles = 64, MostTiles = 512;

    // So many strips of large maps are sampled; fewer where the strips are large.
    const int MostStrips = 8, LeastStrips = 4, StripElements = 1 << 18;

    // The inverse of a smaller step would overflow.
    internal const float SmallestStep = 1e-30f;

    // Below ratio 2 at most one coefficient in so many is an escape: a grid below which hardly any coefficient falls is finer than any use
    // needs.
    const int ElementsPerEscape = 64;

    // The number of tiles that are sampled, and the number of values in them.
    internal static (int Count, long Elements) Tiles(GridTiles tiles)
    {
        var count = (int)Math.Min(tiles.Count, Math.Clamp(tiles.Count / TilesPerSample, LeastTiles, MostTiles));
        var elements = 0L;
        for (var i = 0; i < count; i++)
        {
            var tile = Chosen(i, count, tiles.Count);
            elements += tiles.Elements(tiles.RegionOf(tile), tile);
        }
        return (count, elements);
    }

    // The maps under a wavelet, or the strips of large maps, and how many of them are sampled.
    internal static (GridWavelet From, int Count) Maps(GridWavelet wavelet)
    {
        var strips = wavelet.InStrips();
        if (strips != wavelet)
            return (strips, (int)Math.Min(strips.Shape.Maps, Math.Clamp(StripElements / strips.Elements, LeastStrips, MostStrips)));
        var least = (256L * LeastTiles + wavelet.Elements - 1) / wavelet.Elements;
        var most = Math.Max(1, 256L * MostTiles / wavelet.Coefficients);
        return (wavelet, (int)Math.Min(Math.Min(wavelet.Shape.Maps, most), Math.Max(least, wavelet.Shape.Maps / TilesPerSample)));
    }

    // The samples lie at even distances, each moved by a fixed pseudo-random number, so that they do not follow a period of the map.
    internal static long Chosen(int i, int count, long all)
    {
        var (from, to) = (all * i / count, all * (i + 1) / count);
        return from + (long)((ulong)(uint)(i * -1640531527) * (ulong)(to - from) >> 32);
    }

    public static GridSample Of<TFace, TCells>(void* map, GridTiles tiles, Keep keep, int threads)
        where TFace : struct, IGridFace where TCells : struct, IGridCells =>
        tiles.Wavelet is not { } wavelet ? OfTiles<TFace, TCells>(map, tiles, keep, threads)
        : wavelet.IsLarge ? OfLargeMaps<TFace, TCells>(map, wavelet, keep, threads)
        : OfMaps<TFace, TCells>(map, wavelet, keep, threads);

    // What the threads found.
    sealed class Seen
    {
        public volatile bool NotFinite, AnyZero, AnyNegative;

        /// <summary>Adds what one thread found.</summary>
        public void Add(bool anyZero, bool anyNegative)
        {
            if (anyZero) AnyZero = true;
            if (anyNegative) AnyNegative = true;
        }
    }

    static GridSample OfTiles<TFace, TCells>(void* map, GridTiles tiles, Keep keep, int threads)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var (count, elements) = Tiles(tiles);
        var parts = (count + LeastTiles - 1) / LeastTiles;
        var bytes = (count + parts) * 1024L;
        var memory = (float*)CodecMemory.AllocateAligned(bytes);
        try
        {
            var seen = new Seen();
            var work = new CpuTeam.Shares(parts, threads);
            work.Run(() =>
            {
                var (anyZero, anyNegative) = (false, false);
                var positive = stackalloc ulong[4];
                foreach (var part in work)
                {
                    var x = memory + 256 * (long)(count + part);
                    for (var i = part * LeastTiles; i < Math.Min(count, (part + 1) * LeastTiles); i++)
                    {
                        var walk = new GridWalk(tiles, Chosen(i, count, tiles.Count));
                        if (!GridMover<TCells>.Look<TFace>(map, ref walk, x, out var place, out var stride, positive, ref anyNegative))
                            seen.NotFinite = true;
                        if (seen.NotFinite) return;
                        anyZero |= WordBits.Count(positive) < walk.Elements;
                        TFace.Forward(place, stride, x, memory + 256 * (long)i, tiles.Transform, walk.Region);
                    }
                }
                seen.Add(anyZero, anyNegative);
            });
            return seen.NotFinite ? default : Of(new CoefficientsInMemory(memory, 256 * count, threads), 256 * count, elements, keep, seen);
        }
        finally { CodecMemory.FreeAligned(memory, bytes); }
    }

    static GridSample OfMaps<TFace, TCells>(void* map, GridWavelet wavelet, Keep keep, int threads)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var (_, count) = Maps(wavelet);
        var inPlace = TCells.AreFloats && wavelet.Together == 1;
        using var own = new GridUnit<TFace>(wavelet, inPlace, divides: true);
        // A single map is not copied.
        var bytes = (long)count * wavelet.Coefficients * sizeof(float);
        var memory = count == 1
            ? own.Coefficients
            : (float*)CodecMemory.AllocateAligned(bytes);
        try
        {
            var seen = new Seen();
            var caller = Environment.CurrentManagedThreadId;
            var work = new CpuTeam.Shares((count + wavelet.Together - 1) / wavelet.Together, threads);
            work.Run(() =>
            {
                var (anyZero, anyNegative) = (false, false);
                var unit = Environment.CurrentManagedThreadId == caller ? own : new GridUnit<TFace>(wavelet, inPlace, divides: true);
                try
                {
                    var tile = stackalloc float[256];
                    foreach (var turn in work)
                    {
                        var start = turn * wavelet.Together;
                        var together = Math.Min(wavelet.Together, count - start);
                        var values = unit.Values;
                        for (var i = 0; i < together; i++)
                        {
                            var first = Chosen(start + i, count, wavelet.Shape.Maps) * wavelet.Elements;
                            if (inPlace) values = (float*)map + first;
                            var to = inPlace ? null : values + (long)i * wavelet.Elements;
                            if (!Look<TFace, TCells>(map, first, wavelet.Elements, to, tile, ref anyZero, ref anyNegative))
                                seen.NotFinite = true;
                            if (seen.NotFinite) return;
                        }
                        unit.Forward(values, 0, together, together);
                        var part = (long)together * wavelet.Coefficients * sizeof(float);
                        if (memory != unit.Coefficients)
                            Buffer.MemoryCopy(unit.Coefficients, memory + (long)start * wavelet.Coefficients, part, part);
                    }
                    seen.Add(anyZero, anyNegative);
                }
                finally { if (unit != own) unit.Dispose(); }
            });
            return seen.NotFinite ? default : Of(
                new CoefficientsInMemory(memory, count * wavelet.Coefficients, threads), count * wavelet.Coefficients,
                (long)count * wavelet.Elements, keep, seen);
        }
        finally
        {
            AllocatorMeter.LookIn();
            if (memory != own.Coefficients) CodecMemory.FreeAligned(memory, bytes);
        }
    }

    // Strips, or maps, that are not held.
    static GridSample OfLargeMaps<TFace, TCells>(void* map, GridWavelet wavelet, Keep keep, int threads)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var (maps, count) = Maps(wavelet);
        var chosen = new long[count];
        for (var i = 0; i < count; i++) chosen[i] = Chosen(i, count, maps.Shape.Maps);
        var seen = new Seen();
        var blocksEach = (maps.Elements + BlockElements - 1) / BlockElements;
        var blocks = new CpuTeam.Shares(count * blocksEach, threads);
        blocks.Run(() =>
        {
            var (anyZero, anyNegative) = (false, false);
            var tile = stackalloc float[256];
            foreach (var block in blocks)
            {
                var start = block % blocksEach * BlockElements;
                var first = chosen[block / blocksEach] * maps.Elements + start;
                var elements = Math.Min(BlockElements, maps.Elements - start);
                if (!Look<TFace, TCells>(map, first, elements, null, tile, ref anyZero, ref anyNegative)) seen.NotFinite = true;
                if (seen.NotFinite) return;
            }
            seen.Add(anyZero, anyNegative);
        });
        if (seen.NotFinite) return default;
        using var coefficients = new GridLargeMaps<TFace, TCells>(maps, map, chosen, threads);
        return Of(coefficients, (long)count * maps.Coefficients, (long)count * maps.Elements, keep, seen);
    }

    // The number of values in one share of work.
    const int BlockElements = 1 << 14;

    // Examines neighbours and copies them unless `to` is null.
    static bool Look<TFace, TCells>(void* map, long first, int elements, float* to, float* tile, ref bool anyZero, ref bool anyNegative)
        where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var positive = stackalloc ulong[4];
        for (var at = 0; at < elements; at += 256)
        {
            var count = Math.Min(256, elements - at);
            if (!GridMover<TCells>.Look<TFace>(map, first + at, count, to == null ? null : to + at, tile, positive, ref anyNegative))
                return false;
            anyZero |= WordBits.Count(positive) < count;
        }
        return true;
    }

    static GridSample Of<T>(T coefficients, long count, long elements, Keep keep, Seen seen) where T : ICoefficients
    {
        var threshold = keep switch
        {
            Keep.Above above => above.Threshold,
            Keep.TopK top => Threshold(coefficients, count, TopK.Count(elements, top.Ratio), elements),
            _ => throw new ArgumentException("Grid storage needs a ratio or a threshold."),
        };
        var step = Math.Max(threshold, SmallestStep);
        var (first, other) = Offsets(coefficients, step);
        return new(true, seen.AnyZero, seen.AnyNegative, step, first, other, Error(coefficients, step, first, other));
    }

    static double Error<T>(T coefficients, float step, float first, float other) where T : ICoefficients
    {
        var squares = new Squares(step, first, other);
        coefficients.Each(() => new Squares(step, first, other), squares.Add);
        return squares.RelativeError;
    }

    // Sums the squares of the coefficients, and those of the quantisation errors.
    sealed class Squares(float step, float first, float other) : ITally
    {
        double energy, error;

        public double RelativeError => energy == 0 ? 0 : Math.Sqrt(error / energy);

        public void See(ReadOnlySpan<float> some)
        {
            var inverse = 1 / step;
            var (energies, errors, i) = (Vector<float>.Zero, Vector<float>.Zero, 0);
            for (; some.Length - i >= Vector<float>.Count; i += Vector<float>.Count)
            {
                var magnitude = Vector.Abs(new Vector<float>(some[i..]));
                var level = Vector.Floor(magnitude * inverse);
                var offset = Vector.ConditionalSelect(
                    Vector.Equals(level, Vector<float>.One), new Vector<float>(first), new Vector<float>(other));
                var rebuilt = Vector.ConditionalSelect(
                    Vector.GreaterThanOrEqual(level, new Vector<float>(GridLevels.Escape)), magnitude, (level + offset) * step);
                var off = Vector.ConditionalSelect(Vector.Equals(level, Vector<float>.Zero), magnitude, magnitude - rebuilt);
                energies += magnitude * magnitude;
                errors += off * off;
            }
            (energy, error) = (energy + Vector.Sum(energies), error + Vector.Sum(errors));
            for (; i < some.Length; i++)
            {
                var magnitude = Math.Abs(some[i]);
                var level = MathF.Floor(magnitude * inverse);
                var rebuilt = (level + (level == 1 ? first : other)) * step;
                var off = level switch { 0 => magnitude, >= GridLevels.Escape => 0, _ => magnitude - rebuilt };
                (energy, error) = (energy + (double)magnitude * magnitude, error + (double)off * off);
            }
        }

        public void Add(Squares part) => (energy, error) = (energy + part.energy, error + part.error);
    }

    // Where fewer than k coefficients differ from zero, the threshold is the smallest of them.
    static float Threshold<T>(T coefficients, long count, long k, long elements) where T : ICoefficients
    {
        var threshold = TopK.Threshold(coefficients, Math.Min(k, count));
        if (2 * k > elements)
            threshold = Math.Max(threshold, TopK.Threshold(coefficients, Math.Max(1, elements / ElementsPerEscape)) / GridLevels.Escape);
        if (threshold > 0) return threshold;
        var extremes = new Extremes();
        coefficients.Each(() => new Extremes(), extremes.Add);
        return extremes.Largest == 0 ? 0 : Math.Max(extremes.Smallest, extremes.Largest / 4096);
    }

    // The mean of a level's coefficients has the least squared error.
    static (float First, float Other) Offsets<T>(T coefficients, float step) where T : ICoefficients
    {
        var sums = new Remainders(1 / step);
        coefficients.Each(() => new Remainders(1 / step), sums.Add);
        return sums.Means;
    }

    // Finds the smallest magnitude that is not zero, and the largest.
    sealed class Extremes : ITally
    {
        public float Smallest { get; private set; } = float.MaxValue;
        public float Largest { get; private set; }

        public void See(ReadOnlySpan<float> some)
        {
            foreach (var c in some)
            {
                if (c != 0) Smallest = Math.Min(Smallest, Math.Abs(c));
                Largest = Math.Max(Largest, Math.Abs(c));
            }
        }

        public void Add(Extremes part) => (Smallest, Largest) = (Math.Min(Smallest, part.Smallest), Math.Max(Largest, part.Largest));
    }

    // Sums by how much coefficients exceed their level, for level 1 and for all others. The remainders are multiples of 2^-23, so that the
    // sum does not depend on their order.
    sealed class Remainders(float inverse) : ITally
    {
        const int UnitBits = 23, MostTogether = 1 << 31 - UnitBits - 1;

        long first, other, firsts, others;

        public (float First, float Other) Means => (Mean(first, firsts), Mean(other, others));

        static float Mean(long sum, long count) => count == 0 ? 0 : (float)((double)sum / (1 << UnitBits) / count);

        public void See(ReadOnlySpan<float> some)
        {
            var i = 0;
            while (some.Length - i >= Vector<float>.Count)
            {
                // The inner loop ends before a lane's sum can overflow.
                Vector<int> first = default, other = default, firsts = default, others = default;
                for (var left = MostTogether; left > 0 && some.Length - i >= Vector<float>.Count; left--, i += Vector<float>.Count)
                {
                    var scaled = Vector.Min(Vector.Abs(new Vector<float>(some[i..])) * inverse, new Vector<float>(GridLevels.Escape));
                    var level = Vector.ConvertToInt32Native(scaled);
                    var remainder = Vector.ConvertToInt32Native((scaled - Vector.ConvertToSingle(level)) * (1 << UnitBits));
                    var isFirst = Vector.Equals(level, Vector<int>.One);
                    var isOther = Vector.GreaterThan(level, Vector<int>.One) & Vector.LessThan(level, new Vector<int>(GridLevels.Escape));
                    first += remainder & isFirst;
                    other += remainder & isOther;
                    firsts -= isFirst;
                    others -= isOther;
                }
                this.first += Sum(first);
                this.other += Sum(other);
                this.firsts += Sum(firsts);
                this.others += Sum(others);
            }
            for (; i < some.Length; i++)
            {
                var scaled = Math.Min(Math.Abs(some[i]) * inverse, GridLevels.Escape);
                var level = (int)scaled;
                var remainder = (int)((scaled - level) * (1 << UnitBits));
                if (level == 1) (first, firsts) = (first + remainder, firsts + 1);
                else if (level is > 1 and < GridLevels.Escape) (other, others) = (other + remainder, others + 1);
            }

            static long Sum(Vector<int> lanes)
            {
                var sum = 0L;
                for (var lane = 0; lane < Vector<int>.Count; lane++) sum += lanes[lane];
                return sum;
            }
        }

        public void Add(Remainders part)
        {
            (first, other) = (first + part.first, other + part.other);
            (firsts, others) = (firsts + part.firsts, others + part.others);
        }
    }
}
