using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Encodings;
using Actipress.Selection;

namespace Actipress.Saving;

/// <summary>The codecs among which a budget chooses, from the finest to the coarsest.</summary>
static class Ladder
{
    const int SampleElements = 1 << 17;

    static ReadOnlySpan<double> Ratios => [2, 4, 10, 30, 100];
    static ReadOnlySpan<int> Bits => [8, 4, 2];

    /// <summary>
    /// The ladder: maps as they are, 8 bits a value, and <paramref name="codec"/> at every ratio. For a codec that rounds, it has every
    /// number of bits.
    /// </summary>
    public static ActivationCodec[] Of(ActivationCodec codec)
    {
        var rungs = new List<ActivationCodec> { ActivationCodec.None };
        if (codec.Keep is Keep.TopK)
        {
            rungs.Add(ActivationCodec.Quantized(8) with { ExactZeros = codec.ExactZeros });
            foreach (var ratio in Ratios) rungs.Add(codec with { Keep = new Keep.TopK(ratio) });
        }
        else if (codec.Encoding is Quantized)
            foreach (var bits in Bits) rungs.Add(codec with { Encoding = new Quantized(bits) });
        else if (codec != ActivationCodec.None)
            rungs.Add(codec);
        return [.. rungs];
    }

    /// <summary>
    /// The bytes and the harm of a map under each codec of a ladder, from a sample. The bytes are scaled by those that the map took under
    /// one codec.
    /// </summary>
    /// <param name="map">The map; not disposed.</param>
    /// <param name="need">The need of the operation that reads the values.</param>
    /// <param name="ladder">The first is <see cref="ActivationCodec.None"/>.</param>
    /// <param name="used">The codec under which the map was packed; null where it was not.</param>
    /// <param name="usedBytes">The bytes that the map took.</param>
    public static Rung[] Measure(Tensor map, Need need, ActivationCodec[] ladder, ActivationCodec? used, long usedBytes)
    {
        using var sample = Sample(map);
        var energy = Sensitivity.Energy(sample, need);
        var perSampledByte = used is not null && Packed(used) is { } sampled
            ? (double)usedBytes / sampled.Bytes : (double)map.NumberOfElements / sample.NumberOfElements;
        var rungs = new Rung[ladder.Length];
        rungs[0] = new(map.Bytes(), 0);
        for (var i = 1; i < ladder.Length; i++)
            rungs[i] = Packed(ladder[i]) is { } packed
                ? new(
                    Math.Min(rungs[i - 1].Bytes, (long)(packed.Bytes * perSampledByte)),
                    Math.Max(rungs[i - 1].Harm, packed.SquaredError / energy * Sensitivity.Weight(need)))
                : rungs[i - 1];
        return rungs;

        (long Bytes, double SquaredError)? Packed(ActivationCodec codec)
        {
            using var packed = Pipeline.Pack(sample, codec, out _);
            if (packed is null) return null;
            using var rebuilt = packed.Unpack();
            return (packed.Bytes, Quality.Mse(sample, rebuilt));
        }
    }

    // The sample is every n-th map. Of volumes that are too large for that it is a slab of whole blocks or wavelet units.
    static Tensor Sample(Tensor map)
    {
        const int Slab = 32;
        var sample = map.alias();
        for (var axis = 0; axis < map.dim() && sample.NumberOfElements > SampleElements; axis++)
        {
            var size = sample.shape[axis];
            var wanted = Math.Max(1, size * SampleElements / sample.NumberOfElements);
            if (axis >= 2) wanted = Math.Min(size, Math.Max(wanted, Slab));
            using var whole = sample;
            sample = axis < 2 ? whole.slice(axis, 0, size, size / wanted) : whole.narrow(axis, (size - wanted) / 2, wanted);
        }
        using var part = sample;
        return part.contiguous();
    }
}
