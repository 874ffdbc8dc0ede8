using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>Quality at equal bytes: what comes back of a map from this codec, from ZFP, and from the paper's storage of the same transform.</summary>
/// <param name="Map">Where the map comes from.</param>
/// <param name="Codec">At the ratio that takes about as many bytes as asked for.</param>
/// <param name="BytesPerElement">What it took.</param>
/// <param name="PsnrDb">Of what came back; the map's largest magnitude is the peak.</param>
/// <param name="ZfpPsnrDb">The best of ZFP with at most as many bytes, at a fixed accuracy or a fixed rate; null where ZFP is not installed.</param>
/// <param name="PaperPsnrDb">The paper's 12 bytes a coefficient with at most as many bytes.</param>
public sealed record RivalQuality(string Map, string Codec, double BytesPerElement, double PsnrDb, double? ZfpPsnrDb, double PaperPsnrDb);

/// <summary>Compares with other ways to store a map.</summary>
public static class RivalBenchmark
{
    /// <summary>Bytes an element at which is compared.</summary>
    public static IReadOnlyList<double> Sizes { get; } = [0.1, 0.15, 0.2, 0.3, 0.4, 0.5];

    /// <summary>Measures one map at one size.</summary>
    /// <param name="name">The map's name.</param>
    /// <param name="map">Not disposed.</param>
    /// <param name="bytesPerElement">The size.</param>
    /// <returns>Null where no ratio makes the map so small, since its exact zeros alone take more.</returns>
    public static RivalQuality? Run(string name, Tensor map, double bytesPerElement)
    {
        ArgumentNullException.ThrowIfNull(map);
        var limit = bytesPerElement * map.NumberOfElements;
        // The lowest ratio that takes no more, whole steps of 2 %.
        double low = 2, high = 4096;
        for (var trial = 0; trial < 24 && high / low > 1.02; trial++)
        {
            var ratio = Math.Sqrt(low * high);
            using var packed = Pipeline.Pack(map, ActivationCodec.Dct(ratio), out _);
            if (packed is null || packed.Bytes > limit) low = ratio;
            else high = ratio;
        }
        if (high >= 4096) return null;
        var codec = ActivationCodec.Dct(Math.Round(high, 2));
        using var best = Pipeline.Pack(map, codec, out _)!;
        var zfp = Zfp.IsThere ? Math.Max(Zfp.Best(map, best.Bytes).PsnrDb, Zfp.AtRate(map, best.Bytes) is var fixedRate && fixedRate.Bytes <= best.Bytes ? fixedRate.PsnrDb : double.NegativeInfinity) : (double?)null;
        return new(name, $"{codec}", best.Bytes / (double)map.NumberOfElements, Psnr(map, best), zfp, Paper(map, best.Bytes));
    }

    static double Paper(Tensor map, long bytes)
    {
        using var packed = Pipeline.Pack(map, ActivationCodec.Dct(12.0 * map.NumberOfElements / bytes).AsInPaper(), out _)!;
        return Psnr(map, packed);
    }

    static double Psnr(Tensor map, Packed packed)
    {
        using var back = packed.Unpack();
        return Quality.Psnr(map, back);
    }
}
