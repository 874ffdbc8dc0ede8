using SkiaSharp;
using static TorchSharp.torch;

namespace Actipress.Data;

/// <summary>Pictures as tensors, through SkiaSharp.</summary>
public static class Picture
{
    // Deflate makes at most 1032 bytes of one byte, and a byte has at most eight grey pixels. A JPEG's block of 64 pixels takes at least
    // one bit.
    const long MostPixelsPerByte = 8 * 1032;

    /// <summary>
    /// Reads a PNG or JPEG as float32 (1, channels, height, width) from 0 to 255; one channel where the picture is grey. The caller
    /// disposes it.
    /// </summary>
    /// <exception cref="InvalidDataException">Not a picture that can be read.</exception>
    public static Tensor Read(string path)
    {
        var (values, height, width) = Planes(path, channels: null, size: null);
        using var flat = tensor(values);
        return flat.view(1, values.Length / (height * width), height, width);
    }

    /// <summary>Reads a picture's planes, one after the other, with values from 0 to 255.</summary>
    /// <param name="path">PNG or JPEG.</param>
    /// <param name="channels">The number of channels: 1 (the luma of colours), 3, or null for the picture's own.</param>
    /// <param name="size">The size to which the picture is scaled, linearly; null for no scaling.</param>
    internal static (float[] Values, int Height, int Width) Planes(string path, int? channels, (int Height, int Width)? size)
    {
        if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted a PNG or JPEG.");
        using var codec = SKCodec.Create(path)
            ?? throw new InvalidDataException($"{path} is no picture that can be read: wanted PNG or JPEG. Get the file again.");
        if (codec.EncodedFormat is not (SKEncodedImageFormat.Png or SKEncodedImageFormat.Jpeg))
            throw new InvalidDataException($"{path} is {codec.EncodedFormat}: wanted PNG or JPEG. Convert it to one of them.");
        var bytesOfFile = new FileInfo(path).Length;
        var most = Math.Min(MostPixelsPerByte * bytesOfFile, Array.MaxLength / sizeof(int));
        if ((long)codec.Info.Width * codec.Info.Height > most)
            throw new InvalidDataException($"{path} is damaged or too large: found {codec.Info.Width} x {codec.Info.Height} pixels, "
                + $"wanted at most {most} in a file of {bytesOfFile} bytes. Get the file again.");
        using var decoded = new SKBitmap(new SKImageInfo(codec.Info.Width, codec.Info.Height, SKColorType.Rgba8888, SKAlphaType.Unpremul));
        var result = codec.GetPixels(decoded.Info, decoded.GetPixels());
        if (result != SKCodecResult.Success)
            throw new InvalidDataException($"{path} is cut short or damaged ({result}): wanted {codec.Info.Width} x {codec.Info.Height} "
                + "pixels. Get the file again.");
        using var scaled = size is { } wanted && (wanted.Width, wanted.Height) != (decoded.Width, decoded.Height)
            ? decoded.Resize(
                decoded.Info.WithSize(wanted.Width, wanted.Height), new SKSamplingOptions(SKFilterMode.Linear, SKMipmapMode.Linear))
            : null;
        var picture = scaled ?? decoded;
        var bytes = picture.GetPixelSpan();
        var count = picture.Width * picture.Height;
        var planes = channels ?? (IsGrey(bytes) ? 1 : 3);
        var values = new float[planes * count];
        for (var i = 0; i < count; i++)
        {
            var (red, green, blue) = (bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2]);
            if (planes == 1) values[i] = red == green && green == blue ? red : 0.299f * red + 0.587f * green + 0.114f * blue;
            else (values[i], values[count + i], values[2 * count + i]) = (red, green, blue);
        }
        return (values, picture.Height, picture.Width);

        static bool IsGrey(ReadOnlySpan<byte> pixels)
        {
            for (var i = 0; i < pixels.Length; i += 4)
                if (pixels[i] != pixels[i + 1] || pixels[i + 1] != pixels[i + 2]) return false;
            return true;
        }
    }

    /// <summary>Writes pictures side by side as one PNG.</summary>
    /// <param name="path">The file, which is replaced when the new one is complete.</param>
    /// <param name="pictures">The pictures, as for <see cref="SideBySide"/>.</param>
    public static void WriteSideBySide(string path, params Tensor[] pictures)
    {
        var bytes = SideBySide(pictures);
        WholeFile.Write(path, part => File.WriteAllBytes(part, bytes));
    }

    /// <summary>Draws pictures side by side. Returns the bytes of a PNG file.</summary>
    /// <param name="pictures">Each (1, channels, height, width), 0 to 255, of the same height; not disposed.</param>
    public static byte[] SideBySide(params Tensor[] pictures)
    {
        ArgumentNullException.ThrowIfNull(pictures);
        const int Gap = 8;
        var height = (int)pictures[0].shape[2];
        using var sheet = new SKBitmap(
            pictures.Sum(picture => (int)picture.shape[3]) + Gap * (pictures.Length - 1), height, SKColorType.Rgba8888, SKAlphaType.Opaque);
        sheet.Erase(SKColors.White);
        var left = 0;
        foreach (var picture in pictures)
        {
            var (channels, width) = ((int)picture.shape[1], (int)picture.shape[3]);
            using var rounded = picture.round();
            using var clamped = rounded.Clamp(0, 255);
            using var bytes = clamped.to(uint8);
            using var contiguous = bytes.contiguous();
            var values = contiguous.data<byte>().ToArray();
            for (var y = 0; y < height; y++)
                for (var x = 0; x < width; x++)
                {
                    byte At(int channel) => values[(Math.Min(channel, channels - 1) * height + y) * width + x];
                    sheet.SetPixel(left + x, y, new SKColor(At(0), At(1), At(2)));
                }
            left += width + Gap;
        }
        using var png = sheet.Encode(SKEncodedImageFormat.Png, 100);
        return png.ToArray();
    }
}
