using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>The result that <c>compress --json</c> prints.</summary>
public sealed record RoundTripResult(string Codec, long[] Shape, long InputBytes, long PackedBytes, double Mse, double PsnrDb);

/// <summary>Packs an array or a picture from a file, unpacks it, and measures the loss (as the paper's Figure 5).</summary>
public static class RoundTrip
{
    /// <param name="file">A .npy array, or a PNG or JPEG picture.</param>
    /// <param name="codec">The codec.</param>
    /// <param name="folder">The folder for the rebuilt array, and for a picture both pictures side by side; null to write nothing.</param>
    /// <param name="device">The device of packing; by default the CPU.</param>
    /// <returns>The measurements, and the files written.</returns>
    /// <exception cref="InvalidDataException">The file cannot be read, or the codec leaves it as it is.</exception>
    public static (RoundTripResult Result, IReadOnlyList<string> Written) Run(
        string file, ActivationCodec codec, string? folder, torch.Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(codec);
        if (!File.Exists(file)) throw new InvalidDataException($"No file {file}: wanted a .npy array, or a PNG or JPEG picture.");
        var isPicture = !file.EndsWith(".npy", StringComparison.OrdinalIgnoreCase);
        using var original = isPicture ? Picture.Read(file) : Npy.Read(file);
        using var map = original.to(device ?? torch.CPU);
        using var packed = Pipeline.Pack(map, codec, out var why);
        if (packed is null)
        {
            var reason = why switch
            {
                LeftRaw.Empty => "it has no elements",
                LeftRaw.NotFinite => "it holds NaN, infinities or numbers above 1e30",
                _ => $"stored this way it would not be smaller than the {original.Bytes()} bytes of a float32 map. Choose a higher ratio",
            };
            throw new InvalidDataException($"{codec} leaves {file} as it is: {reason}.");
        }
        using var unpacked = packed.Unpack();
        using var rebuilt = unpacked.cpu();
        var inputBytes = isPicture ? original.Bytes() : original.NumberOfElements * Npy.BytesOfNumber(file);
        var result = new RoundTripResult(
            $"{codec}", original.shape, inputBytes, packed.Bytes,
            Quality.Mse(original, rebuilt), Quality.Psnr(original, rebuilt, isPicture ? 255 : null));
        return (result, folder is null ? [] : Write());

        List<string> Write()
        {
            Directory.CreateDirectory(folder);
            var name = $"{Path.GetFileNameWithoutExtension(file)}.{codec}".Replace(':', '-').Replace(',', '-').Replace('=', '-');
            List<string> written = [Path.Combine(folder, name + ".npy")];
            Npy.Write(written[0], rebuilt);
            if (isPicture)
            {
                written.Add(Path.Combine(folder, name + ".png"));
                Picture.WriteSideBySide(written[1], original, rebuilt);
            }
            return written;
        }
    }
}
