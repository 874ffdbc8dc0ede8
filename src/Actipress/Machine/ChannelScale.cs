using System.Runtime.Intrinsics;
using Actipress.Autograd;

namespace Actipress.Machine;

/// <summary>Multiplies and shifts a float32 map on the CPU in place, with two numbers a channel.</summary>
static unsafe class ChannelScale
{
    /// <summary>The fewest contiguous elements of a channel for which this code is faster than torch.</summary>
    public const long FewestPlaces = 8;

    // The number of elements in one share of work: a multiple of 8.
    const long Stretch = 1 << 16;

    /// <summary>Replaces each element x of channel c with x * factors[c] + shifts[c].</summary>
    /// <param name="map">A contiguous map.</param>
    /// <param name="factors">One factor for each channel of one example, or of all examples; they repeat from there on.</param>
    /// <param name="shifts">As many shifts as factors.</param>
    /// <param name="place">The number of contiguous elements of one channel of one example.</param>
    /// <param name="first">The channel of the first element, counted through all examples.</param>
    public static void Apply(Tensor map, Tensor factors, Tensor shifts, long place, long first = 0)
    {
        float* values = (float*)LibTorch.Data(map);
        float* factor = (float*)LibTorch.Data(factors), shift = (float*)LibTorch.Data(shifts);
        var count = factors.NumberOfElements;
        CpuTeam.Each(map.NumberOfElements, Stretch, (start, end) =>
        {
            for (var i = start; i < end;)
            {
                var channel = i / place;
                var until = Math.Min(end, (channel + 1) * place);
                var which = (first + channel) % count;
                var (a, b) = (factor[which], shift[which]);
                var (many, more) = (Vector256.Create(a), Vector256.Create(b));
                for (; i + Vector256<float>.Count <= until; i += Vector256<float>.Count)
                    Vector256.FusedMultiplyAdd(Vector256.Load(values + i), many, more).Store(values + i);
                for (; i < until; i++) values[i] = MathF.FusedMultiplyAdd(values[i], a, b);
            }
        });
    }
}
