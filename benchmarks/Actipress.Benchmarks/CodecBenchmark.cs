using System.Diagnostics;
using Actipress.Codecs;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>What packing and unpacking one map with one codec costs, beside cloning and copying the same map in the same run.</summary>
/// <param name="Codec">As in <see cref="ActivationCodec.Parse"/>.</param>
/// <param name="Map">Where the map comes from.</param>
/// <param name="Elements">Of the map.</param>
/// <param name="Threads">Of torch and of the codec.</param>
/// <param name="PackMs">Median, as all times.</param>
/// <param name="UnpackMs">Into a new tensor.</param>
/// <param name="CloneMs"><c>clone()</c> and dispose.</param>
/// <param name="CopyMs"><c>copy_()</c> onto a tensor that is there.</param>
/// <param name="BytesPerElement">Stored, everything counted.</param>
/// <param name="PsnrDb">Of what comes back; the map's largest value is the peak.</param>
/// <param name="PeakExtraBytes">How far the allocator rose above its level before, during a pack that was not timed.</param>
/// <param name="PackedBytes">What pack left there.</param>
public sealed record CodecTiming(
    string Codec, string Map, long Elements, int Threads, double PackMs, double UnpackMs, double CloneMs, double CopyMs,
    double BytesPerElement, double PsnrDb, long PeakExtraBytes, long PackedBytes)
{
    /// <summary>Pack and unpack together, as a multiple of a clone.</summary>
    public double Clones => (PackMs + UnpackMs) / CloneMs;

    /// <summary>Pack and unpack together, as a multiple of a copy in place.</summary>
    public double Copies => (PackMs + UnpackMs) / CopyMs;
}

/// <summary>Times codecs on maps.</summary>
public static class CodecBenchmark
{
    /// <summary>Times a codec on a map; all four things in turn, so that they meet the same machine.</summary>
    /// <param name="codec">How the map is stored.</param>
    /// <param name="name">The map's name.</param>
    /// <param name="map">Not disposed.</param>
    /// <param name="rounds">How often; the median counts.</param>
    /// <param name="cancellation">Ends it between rounds.</param>
    /// <exception cref="InvalidDataException">The codec leaves the map as it is.</exception>
    public static CodecTiming Run(ActivationCodec codec, string name, Tensor map, int rounds, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(map);
        using var target = map.clone();
        var (pack, unpack, clone, copy) = (new double[rounds], new double[rounds], new double[rounds], new double[rounds]);
        double psnr = 0;
        long peak = 0, packedBytes = 0;
        // Until the compiler has seen what is hot, which takes it some calls and some hundred milliseconds.
        var warmingUp = Stopwatch.StartNew();
        for (var round = -WarmUps; round < rounds; round = round == -1 && warmingUp.Elapsed < WarmUp ? -1 : round + 1)
        {
            cancellation.ThrowIfCancellationRequested();
            // A meter takes time.
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
