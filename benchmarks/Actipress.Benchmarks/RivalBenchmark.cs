using Actipress.Encodings;
using Actipress.Selection;

namespace Actipress.Benchmarks;

/// <summary>
/// The quality at equal bytes of a map that is rebuilt from the best of Actipress's transforms, from ZFP, and from the paper's storage of a
/// DCT.
/// </summary>
/// <param name="Map">The source of the map.</param>
/// <param name="Codec">The best codec of Actipress, at the ratio that takes about the wanted bytes.</param>
/// <param name="BytesPerElement">The bytes that it took.</param>
/// <param name="PsnrDb">The PSNR of the rebuilt map. The map's largest magnitude is the peak.</param>
/// <param name="DctPsnrDb">The PSNR of <c>dct</c> with its default blocks; null where no ratio makes the map so small.</param>
/// <param name="ZfpPsnrDb">
/// The best PSNR of ZFP with at most as many bytes, at a fixed accuracy or a fixed rate; null where ZFP is not installed.
/// </param>
/// <param name="PaperPsnrDb">The PSNR of the paper's storage, 12 bytes a coefficient, with at most as many bytes.</param>
public sealed record RivalQuality(
    string Map, string Codec, double BytesPerElement, double PsnrDb, double? DctPsnrDb, double? ZfpPsnrDb, double PaperPsnrDb);

/// <summary>Compares with other ways to store a map.</summary>
public static class RivalBenchmark
{
    /// <summary>The bytes an element at which codecs are compared.</summary>
    public static IReadOnlyList<double> Sizes { get; } = [0.1, 0.15, 0.2, 0.3, 0.4, 0.5];

    // These suit maps from smooth ones at few bytes to edges and flat parts at many bytes.
    static readonly ActivationCodec[] codecs =
    [
        ActivationCodec.Dct(10), ActivationCodec.Dct(10, block: 8), ActivationCodec.Dct(10, block: 4), ActivationCodec.Wavelet("haar", 10),
    ];

    /// <summary>Measures one map at one size.</summary>
    /// <param name="name">The map's name.</param>
    /// <param name="map">The map; not disposed.</param>
    /// <param name="bytesPerElement">The wanted size.</param>
    /// <returns>Null where no ratio makes the map so small, since its exact zeros alone take more.</returns>
    public static RivalQuality? Run(string name, Tensor map, double bytesPerElement)
    {
        ArgumentNullException.ThrowIfNull(map);
        // The exact zeros of Actipress take bytes that no rival spends, so the better result of with and without them counts.
        var limit = bytesPerElement * map.NumberOfElements;
        RivalQuality? best = null;
        double? dct = null;
        foreach (var codec in codecs)
            foreach (var exactZeros in (bool[])[true, false])
            {
                if (Smallest(map, codec with { ExactZeros = exactZeros }, limit) is not { } fitting) continue;
                using var packed = Pipeline.Pack(map, fitting, out _)!;
                var psnr = Psnr(map, packed);
                if (codec == codecs[0]) dct = Math.Max(psnr, dct ?? psnr);
                if (best is null || psnr > best.PsnrDb)
                    best = new(name, $"{fitting}", packed.Bytes / (double)map.NumberOfElements, psnr, null, null, 0);
            }
        if (best is null) return null;
        var bytes = (long)Math.Round(best.BytesPerElement * map.NumberOfElements);
        var zfp = Zfp.IsThere
            ? Math.Max(
                Zfp.Best(map, bytes).PsnrDb,
                Zfp.AtRate(map, bytes) is var fixedRate && fixedRate.Bytes <= bytes ? fixedRate.PsnrDb : double.NegativeInfinity)
            : (double?)null;
        return best with { DctPsnrDb = dct, ZfpPsnrDb = zfp, PaperPsnrDb = Paper(map, bytes) };
    }

    // Finds the lowest ratio that takes at most the limit, in steps of 1 %.
    static ActivationCodec? Smallest(Tensor map, ActivationCodec codec, double limit)
    {
        double low = 1, high = 4096;
        while (high / low > 1.01)
        {
            var ratio = Math.Sqrt(low * high);
            using var packed = Pipeline.Pack(map, At(ratio), out _);
            if (packed is null || packed.Bytes > limit) low = ratio;
            else high = ratio;
        }
        // The ratio is rounded upwards, so that the map takes at most the limit.
        return high >= 4096 ? null : At(Math.Ceiling(high * 100) / 100);

        ActivationCodec At(double ratio) => codec with { Keep = new Keep.TopK(ratio), Encoding = new GridStorage() };
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
