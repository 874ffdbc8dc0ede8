using System.Numerics;
using System.Runtime.InteropServices;

namespace Actipress;

/// <summary>What a sample of a map's tiles, or of its maps under a wavelet, tells of the whole before it is packed.</summary>
/// <param name="Finite">Whether all values are numbers of at most <see cref="Grid.Largest"/>; if not, nothing else is told.</param>
/// <param name="AnyZero">Whether a value is zero.</param>
/// <param name="AnyNegative">Whether a value is below zero.</param>
/// <param name="Step">Between neighbouring levels.</param>
/// <param name="FirstOffset">Of level 1.</param>
/// <param name="OtherOffset">Of all others.</param>
readonly unsafe record struct GridSample(bool Finite, bool AnyZero, bool AnyNegative, float Step, float FirstOffset, float OtherOffset)
{
    // One tile or map in so many is sampled, but so many tiles' worth at least and at most.
    const int TilesPerSample = 64, LeastTiles = 64, MostTiles = 512;

    // Below this a step's inverse would overflow.
    internal const float SmallestStep = 1e-30f;

    // Below ratio 2 one in so many is an escape at most: a grid that hardly any coefficient falls below is finer than any use of it.
    const int ElementsPerEscape = 64;

    internal static int Tiles(long tiles) => (int)Math.Min(tiles, Math.Clamp(tiles / TilesPerSample, LeastTiles, MostTiles));

    // As many values in whole maps, one at least.
    internal static int Maps(GridWavelet wavelet)
    {
        var least = (256L * LeastTiles + wavelet.Elements - 1) / wavelet.Elements;
        var most = Math.Max(1, 256L * MostTiles / wavelet.Coefficients);
        return (int)Math.Min(Math.Min(wavelet.Shape.Maps, most), Math.Max(least, wavelet.Shape.Maps / TilesPerSample));
    }

    // At even distances, each moved by a fixed pseudo-random step so that no period of the map is met by chance.
    internal static long Chosen(int i, int count, long all)
    {
        var (from, to) = (all * i / count, all * (i + 1) / count);
        return from + (long)((ulong)(uint)(i * -1640531527) * (ulong)(to - from) >> 32);
    }

    public static GridSample Of<TFace, TCells>(void* map, GridTiles tiles, Keep keep, int threads) where TFace : struct, IGridFace where TCells : struct, IGridCells =>
        tiles.Wavelet is not { } wavelet ? OfTiles<TFace, TCells>(map, tiles, keep)
        : wavelet.InBands ? OfLargeMap<TFace, TCells>(map, wavelet, keep, threads)
        : OfMaps<TFace, TCells>(map, wavelet, keep);

    static GridSample OfTiles<TFace, TCells>(void* map, GridTiles tiles, Keep keep) where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var count = Tiles(tiles.Count);
        var memory = (float*)NativeMemory.AlignedAlloc((nuint)(count + 1) * 1024, 64);
        try
        {
            var x = memory + 256 * (long)count;
            bool anyZero = false, anyNegative = false;
            long elements = 0;
            var positive = stackalloc ulong[4];
            for (var i = 0; i < count; i++)
            {
                var tile = Chosen(i, count, tiles.Count);
                var region = tiles.RegionOf(tile);
                if (!GridMover<TCells>.Look<TFace>(map, tiles, region, tile, x, out var place, out var stride, positive, ref anyNegative)) return default;
                anyZero |= Bits.Count(positive) < tiles.Elements(region, tile);
                elements += tiles.Elements(region, tile);
                TFace.Forward(place, stride, x, memory + 256 * (long)i, tiles.Transform, region);
            }
            return Of(new AllAtOnce(new(memory, 256 * count)), 256 * count, elements, keep, anyZero, anyNegative);
        }
        finally { NativeMemory.AlignedFree(memory); }
    }

    static GridSample OfMaps<TFace, TCells>(void* map, GridWavelet wavelet, Keep keep) where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var count = Maps(wavelet);
        var inPlace = TCells.AreFloats && wavelet.Together == 1;
        using var unit = new GridUnit<TFace>(wavelet, inPlace);
        var tile = stackalloc float[256];
        var memory = count == 1 ? null : (float*)NativeMemory.AlignedAlloc((nuint)count * (nuint)wavelet.Coefficients * sizeof(float), 64);
        try
        {
            bool anyZero = false, anyNegative = false;
            for (var start = 0; start < count; start += wavelet.Together)
            {
                var together = Math.Min(wavelet.Together, count - start);
                var values = unit.Before;
                for (var i = 0; i < together; i++)
                {
                    var first = Chosen(start + i, count, wavelet.Shape.Maps) * wavelet.Elements;
                    if (inPlace) values = (float*)map + first;
                    if (!Look<TFace, TCells>(map, first, wavelet.Elements, inPlace ? null : values + (long)i * wavelet.Elements, tile, ref anyZero, ref anyNegative)) return default;
                }
                unit.Forward(values, 0, together, together);
                if (memory != null) Buffer.MemoryCopy(unit.Coefficients, memory + (long)start * wavelet.Coefficients, (long)together * wavelet.Coefficients * sizeof(float), (long)together * wavelet.Coefficients * sizeof(float));
            }
            var coefficients = count * wavelet.Coefficients;
            return Of(new AllAtOnce(new(memory == null ? unit.Coefficients : memory, coefficients)), coefficients, (long)count * wavelet.Elements, keep, anyZero, anyNegative);
        }
        finally
        {
            AllocatorMeter.LookIn();
            NativeMemory.AlignedFree(memory);
        }
    }

    // One map, which is not held.
    static GridSample OfLargeMap<TFace, TCells>(void* map, GridWavelet wavelet, Keep keep, int threads) where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var number = Chosen(0, 1, wavelet.Shape.Maps);
        bool finite = true, anyZero = false, anyNegative = false;
        var blocks = new CpuTeam.Shares((wavelet.Elements + BlockElements - 1) / BlockElements, threads);
        blocks.Run(() =>
        {
            bool zero = false, negative = false;
            var tile = stackalloc float[256];
            for (int block = 0, end = 0; (block < end || blocks.Take(out block, out end)) && Volatile.Read(ref finite); block++)
            {
                var start = block * BlockElements;
                if (!Look<TFace, TCells>(map, number * wavelet.Elements + start, Math.Min(BlockElements, wavelet.Elements - start), null, tile, ref zero, ref negative)) Volatile.Write(ref finite, false);
            }
            if (zero) Volatile.Write(ref anyZero, true);
            if (negative) Volatile.Write(ref anyNegative, true);
        });
        return finite ? Of(new GridLargeMap<TFace, TCells>(wavelet, map, number, threads), wavelet.Coefficients, wavelet.Elements, keep, anyZero, anyNegative) : default;
    }

    // What a thread looks at before it asks for more.
    const int BlockElements = 1 << 14;

    // Looks at neighbours and, where wanted, copies them.
    static bool Look<TFace, TCells>(void* map, long first, int elements, float* to, float* tile, ref bool anyZero, ref bool anyNegative) where TFace : struct, IGridFace where TCells : struct, IGridCells
    {
        var positive = stackalloc ulong[4];
        for (var at = 0; at < elements; at += 256)
        {
            var count = Math.Min(256, elements - at);
            if (!GridMover<TCells>.Look<TFace>(map, first + at, count, to == null ? null : to + at, tile, positive, ref anyNegative)) return false;
            anyZero |= Bits.Count(positive) < count;
        }
        return true;
    }

    static GridSample Of<T>(T coefficients, long count, long elements, Keep keep, bool anyZero, bool anyNegative) where T : ICoefficients, allows ref struct
    {
        var threshold = keep switch
        {
            Keep.Above above => above.Threshold,
            Keep.TopK top => Threshold(coefficients, count, TopK.Count(elements, top.Ratio), elements),
            _ => throw new ArgumentException("Grid storage needs a ratio or a threshold."),
        };
        var step = Math.Max(threshold, SmallestStep);
        var (first, other) = Offsets(coefficients, step);
        return new(true, anyZero, anyNegative, step, first, other);
    }

    // Where fewer than k coefficients differ from zero, the smallest of those.
    static float Threshold<T>(T coefficients, long count, long k, long elements) where T : ICoefficients, allows ref struct
    {
        var threshold = TopK.Threshold(coefficients, Math.Min(k, count));
        if (2 * k > elements) threshold = Math.Max(threshold, TopK.Threshold(coefficients, Math.Max(1, elements / ElementsPerEscape)) / Grid.Escape);
        if (threshold > 0) return threshold;
        var extremes = new Extremes();
        coefficients.Each(() => new Extremes(), extremes.Add);
        return extremes.Largest == 0 ? 0 : Math.Max(extremes.Smallest, extremes.Largest / 4096);
    }

    // The mean of a level's coefficients is the value that serves them best.
    static (float First, float Other) Offsets<T>(T coefficients, float step) where T : ICoefficients, allows ref struct
    {
        var sums = new Remainders(1 / step);
        coefficients.Each(() => new Remainders(1 / step), sums.Add);
        return sums.Means;
    }

    // The smallest magnitude that is not zero, and the largest.
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

    // What coefficients of level 1, and of all others, have above their level. Remainders are multiples of 2^-23, so that up to 2^29 of
    // them have the same sum in any order.
    sealed class Remainders(float inverse) : ITally
    {
        double first, other;
        long firsts, others;

        public (float First, float Other) Means => ((float)(firsts == 0 ? 0 : first / firsts), (float)(others == 0 ? 0 : other / others));

        public void See(ReadOnlySpan<float> some)
        {
            for (var i = 0; i < some.Length;)
            {
                // Most are zero.
                var end = Math.Min(some.Length, i + Vector<float>.Count);
                if (end == i + Vector<float>.Count && Vector.LessThanAll(Vector.Abs(new Vector<float>(some[i..])) * inverse, Vector<float>.One)) i = end;
                for (; i < end; i++)
                {
                    var scaled = Math.Abs(some[i]) * inverse;
                    var level = (int)Math.Min(scaled, Grid.Escape);
                    if (level is 0 or Grid.Escape) continue;
                    if (level == 1)
                    {
                        first += scaled - 1;
                        firsts++;
                    }
                    else
                    {
                        other += scaled - level;
                        others++;
                    }
                }
            }
        }

        public void Add(Remainders part)
        {
            (first, other) = (first + part.first, other + part.other);
            (firsts, others) = (firsts + part.firsts, others + part.others);
        }
    }
}
