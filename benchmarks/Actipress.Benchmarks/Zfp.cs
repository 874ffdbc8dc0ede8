using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>
/// ZFP (Lindstrom 2014), a compressor of floating-point arrays, in its fixed-accuracy mode, which gives the best quality for its bytes. The
/// library is Debian's libzfp1 1.0, and only benchmarks call it.
/// </summary>
public static unsafe class Zfp
{
    const string Library = "libzfp.so.1";
    const int Float = 3;    // zfp_type_float

    /// <summary>Whether the library is installed.</summary>
    public static bool IsThere { get; } = NativeLibrary.TryLoad(Library, out _);

    /// <summary>Finds the best quality of ZFP in at most this number of bytes.</summary>
    /// <param name="map">
    /// The map, contiguous float32 and not disposed. ZFP compresses (n, c, h, w) as an array of n c h rows, and (n, c, d, h, w) as one of n
    /// c d slices.
    /// </param>
    /// <param name="bytes">The largest number of bytes.</param>
    /// <returns>The PSNR against the map's largest magnitude, and the bytes that ZFP took.</returns>
    public static (double PsnrDb, long Bytes) Best(Tensor map, double bytes)
    {
        ArgumentNullException.ThrowIfNull(map);
        using var magnitudes = map.abs();
        double largest = magnitudes.max().item<float>(), low = largest * 1e-6, high = largest * 16;    // tolerances
        var best = (PsnrDb: double.NegativeInfinity, Bytes: 0L);
        for (var trial = 0; trial < 40; trial++)
        {
            // ZFP rounds the tolerance to a power of two, so few trials differ.
            var tolerance = Math.Sqrt(low * high);
            var (back, taken) = RoundTrip(map, tolerance);
            using (back)
            {
                if (taken > bytes) low = tolerance;
                else
                {
                    high = tolerance;
                    var psnr = Quality.Psnr(map, back);
                    if (psnr > best.PsnrDb) best = (psnr, taken);
                }
            }
        }
        return best;
    }

    /// <summary>Finds the best quality at a fixed number of bits a value, in ZFP's fixed-rate mode.</summary>
    /// <param name="map">The map, as in <see cref="Best"/>.</param>
    /// <param name="bytes">The largest number of bytes.</param>
    public static (double PsnrDb, long Bytes) AtRate(Tensor map, double bytes)
    {
        var (back, taken) = RoundTrip(map, null, 8 * bytes / map.NumberOfElements);
        using (back) return (Quality.Psnr(map, back), taken);
    }

    static (Tensor Back, long Bytes) RoundTrip(Tensor map, double? tolerance, double rate = 0)
    {
        var shape = map.shape;
        var volumes = shape.Length >= 5;
        var (x, y) = ((nuint)shape[^1], volumes ? (nuint)shape[^2] : (nuint)(map.NumberOfElements / shape[^1]));
        var z = (nuint)(map.NumberOfElements / ((long)x * (long)y));
        var back = empty_like(map);
        fixed (float* from = map.data<float>().ToArray())
        fixed (float* to = new float[map.NumberOfElements])
        {
            var buffer = new byte[map.NumberOfElements * sizeof(float) * 2 + 4096];
            fixed (byte* memory = buffer)
            {
                var stream = stream_open(memory, (nuint)buffer.Length);
                var zfp = zfp_stream_open(stream);
                if (tolerance is { } t) zfp_stream_set_accuracy(zfp, t);
                else zfp_stream_set_rate(zfp, rate, Float, volumes ? 3u : 2u, 0);
                var field = volumes ? zfp_field_3d(from, Float, x, y, z) : zfp_field_2d(from, Float, x, y);
                zfp_stream_rewind(zfp);
                var taken = zfp_compress(zfp, field);
                zfp_field_set_pointer(field, to);
                zfp_stream_rewind(zfp);
                if (taken == 0 || zfp_decompress(zfp, field) == 0)
                    throw new InvalidDataException("ZFP could not compress and decompress the map.");
                zfp_field_free(field);
                zfp_stream_close(zfp);
                stream_close(stream);
                using var flat = tensor(new ReadOnlySpan<float>(to, (int)map.NumberOfElements).ToArray());
                using var shaped = flat.view(shape);
                back.copy_(shaped);
                return (back, (long)taken);
            }
        }
    }

    [DllImport(Library)] static extern void* stream_open(void* buffer, nuint bytes);
    [DllImport(Library)] static extern void stream_close(void* stream);
    [DllImport(Library)] static extern void* zfp_stream_open(void* stream);
    [DllImport(Library)] static extern void zfp_stream_close(void* zfp);
    [DllImport(Library)] static extern void zfp_stream_rewind(void* zfp);
    [DllImport(Library)] static extern double zfp_stream_set_accuracy(void* zfp, double tolerance);
    [DllImport(Library)] static extern double zfp_stream_set_rate(void* zfp, double rate, int type, uint dims, int align);
    [DllImport(Library)] static extern void* zfp_field_2d(void* pointer, int type, nuint nx, nuint ny);
    [DllImport(Library)] static extern void* zfp_field_3d(void* pointer, int type, nuint nx, nuint ny, nuint nz);
    [DllImport(Library)] static extern void zfp_field_set_pointer(void* field, void* pointer);
    [DllImport(Library)] static extern void zfp_field_free(void* field);
    [DllImport(Library)] static extern nuint zfp_compress(void* zfp, void* field);
    [DllImport(Library)] static extern nuint zfp_decompress(void* zfp, void* field);
}
