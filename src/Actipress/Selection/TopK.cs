using System.Numerics;
using System.Runtime.InteropServices;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Selection;

/// <summary>
/// Selection of the k coefficients that are largest by magnitude (paper, Section 3.2); among equal magnitudes the lowest index wins.
/// </summary>
static class TopK
{
    internal const int FirstBits = 11, SecondBits = 11, ThirdBits = 9;    // the 31 bits of a magnitude

    /// <summary>k = floor(N / ratio), but at least 1 for a map that is not empty.</summary>
    public static long Count(long elements, double ratio) => elements == 0 ? 0 : Math.Max(1, (long)Math.Floor(elements / ratio));

    /// <summary>The magnitude of the <paramref name="k"/>-th largest coefficient.</summary>
    /// <remarks>
    /// The magnitudes of floats are in the order of their bits. So three histograms, of the leading, the middle and the trailing bits, find
    /// the magnitude without sorting and without a copy.
    /// </remarks>
    /// <param name="coefficients">No NaN.</param>
    /// <param name="k">The rank: 1 or more, at most the length.</param>
    public static unsafe float Threshold(ReadOnlySpan<float> coefficients, long k)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(k, coefficients.Length);
        fixed (float* first = coefficients) return Threshold(new CoefficientsInMemory(first, coefficients.Length, threads: 1), k);
    }

    /// <summary>
    /// The magnitude of the <paramref name="k"/>-th largest coefficient, by one pass over the coefficients for each histogram.
    /// </summary>
    internal static float Threshold<T>(T coefficients, long k) where T : ICoefficients
    {
        var wanted = k;
        var (prefix, known) = (0u, 0);
        foreach (var next in coefficients.Digits)
        {
            prefix = Narrow(coefficients, prefix, known, next, ref wanted);
            known += next;
        }
        return BitConverter.UInt32BitsToSingle(prefix);
    }

    // Finds the next bits of the wanted-largest magnitude, among the magnitudes that begin with the known bits.
    static uint Narrow<T>(T coefficients, uint prefix, int known, int next, ref long wanted) where T : ICoefficients
    {
        Histogram? all = null;
        coefficients.Each(() => new Histogram(prefix, known, next), part =>
        {
            if (all is null) all = part;
            else all.Add(part);
        });
        using var histogram = all!;
        for (var bin = (1 << next) - 1; ; bin--)
        {
            if (histogram[bin] >= wanted) return prefix | (uint)bin << 31 - known - next;
            wanted -= histogram[bin];
        }
    }

    // Counts each value of the next bits, among the magnitudes that begin with the known bits.
    sealed unsafe class Histogram(uint prefix, int known, int next) : ITally, IDisposable
    {
        readonly int* counts = (int*)NativeMemory.AllocZeroed((nuint)Tables(next) << next, sizeof(int));

        // A small histogram has two tables, for magnitudes at even and odd places. Neighbours are often alike, and two increments of one
        // counter in turn would wait for each other.
        static int Tables(int next) => next <= FirstBits ? 2 : 1;

        int* Last => counts + (Tables(next) - 1 << next);

        public long this[int bin] => Last == counts ? counts[bin] : (long)counts[bin] + Last[bin];

        public void See(ReadOnlySpan<float> some)
        {
            var bits = MemoryMarshal.Cast<float, uint>(some);
            if (known == 0) SeeAll(bits);
            else SeeThoseThatBegin(bits);
        }

        void SeeAll(ReadOnlySpan<uint> bits)
        {
            var shift = 31 - next;
            int* odd = counts, even = Last;
            var i = 0;
            for (; i < bits.Length - 1; i += 2)
            {
                odd[(bits[i] & 0x7FFFFFFF) >> shift]++;
                even[(bits[i + 1] & 0x7FFFFFFF) >> shift]++;
            }
            for (; i < bits.Length; i++) odd[(bits[i] & 0x7FFFFFFF) >> shift]++;
        }

        // Few magnitudes begin with the known bits, so that most registers are skipped whole.
        void SeeThoseThatBegin(ReadOnlySpan<uint> bits)
        {
            var (knownShift, shift) = (31 - known, 31 - known - next);
            var mask = (1u << next) - 1;
            var (begin, begins) = (new Vector<uint>(prefix), new Vector<uint>(0x7FFFFFFFu >> knownShift << knownShift));
            for (var i = 0; i < bits.Length;)
            {
                var end = Math.Min(bits.Length, i + Vector<uint>.Count);
                if (end == i + Vector<uint>.Count && !Vector.EqualsAny(new Vector<uint>(bits[i..]) & begins, begin)) i = end;
                for (; i < end; i++)
                {
                    var magnitude = bits[i] & 0x7FFFFFFF;
                    if (magnitude >> knownShift == prefix >> knownShift) counts[magnitude >> shift & mask]++;
                }
            }
        }

        public void Add(Histogram part)
        {
            for (var i = 0; i < Tables(next) << next; i++) counts[i] += part.counts[i];
            part.Dispose();
        }

        public void Dispose() => NativeMemory.Free(counts);
    }

    /// <summary>
    /// The definition: finds the positions of the <paramref name="k"/> largest coefficients, in rising order, and their values.
    /// </summary>
    /// <param name="coefficients">No NaN.</param>
    /// <param name="k">The number of coefficients: at most the length.</param>
    /// <param name="positions">Receives k indices.</param>
    /// <param name="values">Receives k values.</param>
    public static void Select(ReadOnlySpan<float> coefficients, long k, Span<long> positions, Span<float> values)
    {
        if (k == 0) return;
        var threshold = Threshold(coefficients, k);
        long above = 0;
        foreach (var value in coefficients) if (Math.Abs(value) > threshold) above++;
        var ties = k - above;
        var kept = 0;
        for (var i = 0; i < coefficients.Length; i++)
        {
            var magnitude = Math.Abs(coefficients[i]);
            if (magnitude < threshold || (magnitude == threshold && ties-- <= 0)) continue;
            (positions[kept], values[kept++]) = (i, coefficients[i]);
        }
    }

    /// <summary>Selects the <paramref name="k"/> largest coefficients on any device.</summary>
    /// <param name="coefficients">Flat float32 without NaN; not disposed.</param>
    /// <param name="k">At most the number of coefficients.</param>
    internal static Kept Select(Tensor coefficients, long k)
    {
        if (k == coefficients.NumberOfElements) return new Kept(null, coefficients.alias());
        if (coefficients.device_type != DeviceType.CPU) return SelectByTorch(coefficients, k);
        var (positions, values) = (empty(k, int64), empty(k, float32));
        Select(coefficients.Elements<float>(), k, positions.Elements<long>(), values.Elements<float>());
        return new Kept(positions, values);
    }

    internal static Kept SelectByTorch(Tensor coefficients, long k)
    {
        using var magnitudes = coefficients.abs();
        var (largest, places) = magnitudes.topk(checked((int)k), sorted: false);
        places.Dispose();
        using var values = largest;
        using var threshold = values.min();
        using var chosen = magnitudes.gt(threshold);
        using var above = chosen.count_nonzero();
        using var equal = magnitudes.eq(threshold);
        using var equalPlaces = equal.nonzero();
        using var ties = equalPlaces.narrow(0, 0, k - above.item<long>());
        using var flatTies = ties.view(-1);
        chosen.IndexFill_(0, flatTies, true);
        return Kept.Where(chosen, coefficients);
    }
}
