using SkiaSharp;
using static TorchSharp.torch;

namespace Actipress.Data;

/// <summary>Pictures as tensors, through SkiaSharp.</summary>
public static class Picture
{
    /// <summary>Reads a PNG or JPEG as float32 (1, channels, height, width) from 0 to 255; one channel where the picture is grey. The caller disposes it.</summary>
    /// <exception cref="InvalidDataException">Not a picture that can be read.</exception>
    public static Tensor Read(string path)
    {
        using var picture = SKBitmap.Decode(path) ?? throw new InvalidDataException($"{path} is no picture that can be read: wanted PNG or JPEG.");
        var pixels = picture.Pixels;
        var channels = pixels.All(pixel => pixel.Red == pixel.Green && pixel.Green == pixel.Blue) ? 1 : 3;
        var values = new float[channels * pixels.Length];
        for (var i = 0; i < pixels.Length; i++)
            for (var channel = 0; channel < channels; channel++)
                values[channel * pixels.Length + i] = channel switch { 0 => pixels[i].Red, 1 => pixels[i].Green, _ => pixels[i].Blue };
        using var flat = tensor(values);
        return flat.view(1, channels, picture.Height, picture.Width);
    }

    /// <summary>Writes pictures side by side as one PNG.</summary>
    /// <param name="path">The file, which is replaced when the new one is complete.</param>
    /// <param name="pictures">Each (1, channels, height, width), 0 to 255, of the same height; not disposed.</param>
    public static void WriteSideBySide(string path, params Tensor[] pictures)
    {
        ArgumentNullException.ThrowIfNull(pictures);
        const int Gap = 8;
        var height = (int)pictures[0].shape[2];
        using var sheet = new SKBitmap(pictures.Sum(picture => (int)picture.shape[3]) + Gap * (pictures.Length - 1), height, SKColorType.Rgba8888, SKAlphaType.Opaque);
        sheet.Erase(SKColors.White);
        var left = 0;
        foreach (var picture in pictures)
        {
            var (channels, width) = ((int)picture.shape[1], (int)picture.shape[3]);
            using var rounded = picture.round();
            using var clamped = rounded.clamp(0, 255);
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
        using (var file = File.Create(path + ".part")) png.SaveTo(file);
        File.Move(path + ".part", path, overwrite: true);
    }
}
