using System.Diagnostics;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>The cost of packing and unpacking one map with one codec, beside cloning and copying the same map in the same run.</summary>
/// <param name="Codec">The codec, as in <see cref="ActivationCodec.Parse"/>.</param>
/// <param name="Map">The source of the map.</param>
/// <param name="Elements">The number of elements of the map.</param>
/// <param name="Threads">The number of threads of torch and of the codec.</param>
/// <param name="PackMs">The median time of packing. All times are medians.</param>
/// <param name="UnpackMs">The time of unpacking into a new tensor.</param>
/// <param name="CloneMs">The time of <c>clone()</c> and of disposing the clone.</param>
/// <param name="CopyMs">The time of <c>copy_()</c> onto an existing tensor.</param>
/// <param name="BytesPerElement">The stored bytes, all sections counted.</param>
/// <param name="PsnrDb">The PSNR of the unpacked map. The map's largest value is the peak.</param>
/// <param name="PeakExtraBytes">The highest level of the allocator above its level before, during a pack that was not timed.</param>
/// <param name="PackedBytes">The bytes that this pack left allocated.</param>
public sealed record CodecTiming(
    string Codec, string Map, long Elements, int Threads, double PackMs, double UnpackMs, double CloneMs, double CopyMs,
    double BytesPerElement, double PsnrDb, long PeakExtraBytes, long PackedBytes)
{
    /// <summary>The time of packing and unpacking together, as a multiple of a clone.</summary>
    public double Clones => (PackMs + UnpackMs) / CloneMs;

    /// <summary>The time of packing and unpacking together, as a multiple of a copy in place.</summary>
    public double Copies => (PackMs + UnpackMs) / CopyMs;
}

/// <summary>Times codecs on maps.</summary>
public static class CodecBenchmark
{
    /// <summary>
    /// Times a codec on a map. Each round runs all four operations in turn, so that they run on the machine in the same state.
    /// </summary>
    /// <param name="codec">The codec that packs the map.</param>
    /// <param name="name">The map's name.</param>
    /// <param name="map">The map; not disposed.</param>
    /// <param name="rounds">The number of rounds, of which the median counts.</param>
    /// <param name="cancellation">Ends the benchmark between rounds.</param>
    /// <exception cref="InvalidDataException">The codec leaves the map as it is.</exception>
    public static CodecTiming Run(ActivationCodec codec, string name, Tensor map, int rounds, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(map);
        using var target = map.clone();
        var (pack, unpack, clone, copy) = (new double[rounds], new double[rounds], new double[rounds], new double[rounds]);
        double psnr = 0;
        long peak = 0, packedBytes = 0;
        // The warm-up runs until the compiler has optimised the hot code, which takes some calls and some hundred milliseconds.
        var warmingUp = Stopwatch.StartNew();
        for (var round = -WarmUps; round < rounds; round = round == -1 && warmingUp.Elapsed < WarmUp ? -1 : round + 1)
        {
            cancellation.ThrowIfCancellationRequested();
            // A meter takes time, so it runs only in a round that is not timed.
            using var meter = round == -1 ? AllocatorMeter.Start(map.device) : null;
            var before = meter?.LevelBytes ?? 0;
            Devices.Synchronize(map.device);
            var watch = Stopwatch.StartNew();
            using var packed = Pipeline.Pack(map, codec, out var why)
                ?? throw new InvalidDataException($"{codec} leaves {name} as it is: {why}.");
            Devices.Synchronize(map.device);
            var packMs = watch.Elapsed.TotalMilliseconds;
            packedBytes = packed.Bytes;
            if (meter is not null) peak = meter.PeakBytes - before;
            watch.Restart();
            var back = packed.Unpack();
            Devices.Synchronize(map.device);
            var unpackMs = watch.Elapsed.TotalMilliseconds;
            if (round == -WarmUps) psnr = Quality.Psnr(map, back);
            back.Dispose();
            watch.Restart();
            map.clone().Dispose();
            Devices.Synchronize(map.device);
            var cloneMs = watch.Elapsed.TotalMilliseconds;
            watch.Restart();
            target.copy_(map);
            Devices.Synchronize(map.device);
            var copyMs = watch.Elapsed.TotalMilliseconds;
            if (round >= 0) (pack[round], unpack[round], clone[round], copy[round]) = (packMs, unpackMs, cloneMs, copyMs);
        }
        return new(
            $"{codec}", name, map.NumberOfElements, get_num_threads(), Median(pack), Median(unpack), Median(clone), Median(copy),
            packedBytes / (double)map.NumberOfElements, psnr, peak, packedBytes);
    }

    const int WarmUps = 3;
    static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(1);

    internal static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length == 0 ? double.NaN : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
