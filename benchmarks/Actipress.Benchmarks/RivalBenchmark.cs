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
        // What zeros cost no rival pays: the better of with and without them.
        var limit = bytesPerElement * map.NumberOfElements;
        RivalQuality? best = null;
        foreach (var exactZeros in (bool[])[true, false])
        {
            if (Smallest(map, limit, exactZeros) is not { } codec) continue;
            using var packed = Pipeline.Pack(map, codec, out _)!;
            var psnr = Psnr(map, packed);
            if (best is null || psnr > best.PsnrDb) best = new(name, $"{codec}", packed.Bytes / (double)map.NumberOfElements, psnr, null, 0);
        }
        if (best is null) return null;
        var bytes = (long)Math.Round(best.BytesPerElement * map.NumberOfElements);
        var zfp = Zfp.IsThere ? Math.Max(Zfp.Best(map, bytes).PsnrDb, Zfp.AtRate(map, bytes) is var fixedRate && fixedRate.Bytes <= bytes ? fixedRate.PsnrDb : double.NegativeInfinity) : (double?)null;
        return best with { ZfpPsnrDb = zfp, PaperPsnrDb = Paper(map, bytes) };
    }

    // The lowest ratio that takes no more, in steps of 1 %.
    static ActivationCodec? Smallest(Tensor map, double limit, bool exactZeros)
    {
        double low = 1, high = 4096;
        while (high / low > 1.01)
        {
            var ratio = Math.Sqrt(low * high);
            using var packed = Pipeline.Pack(map, Codec(ratio), out _);
            if (packed is null || packed.Bytes > limit) low = ratio;
            else high = ratio;
        }
        // Rounded upwards, so that it takes no more.
        return high >= 4096 ? null : Codec(Math.Ceiling(high * 100) / 100);

        ActivationCodec Codec(double ratio) => ActivationCodec.Dct(ratio) with { Encoding = new Grid(), ExactZeros = exactZeros };
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
