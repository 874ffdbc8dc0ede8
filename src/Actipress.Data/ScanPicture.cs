using SkiaSharp;

namespace Actipress.Data;

/// <summary>Draws three planes of a scan side by side, with the outlines of its classes.</summary>
public static class ScanPicture
{
    const int Side = 320, Gap = 8;
    const double Tail = 0.005;

    static readonly SKColor truthColour = new(0x3D, 0xDC, 0x84), predictedColour = new(0xFF, 0x3B, 0x30), both = new(0xFF, 0xD6, 0x0A);

    /// <summary>
    /// Draws the transverse, coronal and sagittal plane through the centre of the mask, with the patient's right at the left, as
    /// radiologists do.
    /// </summary>
    /// <param name="scan">The scan, whose first channel is drawn. Its axes run to the top, the front and the right.</param>
    /// <param name="predicted">The predicted class of each voxel, outlined in red.</param>
    /// <param name="truth">
    /// The true class of each voxel, outlined in green, or in yellow where both outlines coincide; null where it is not known.
    /// </param>
    /// <returns>The bytes of a PNG.</returns>
    public static byte[] Draw(Example scan, ushort[] predicted, ushort[]? truth)
    {
        ArgumentNullException.ThrowIfNull(scan);
        ArgumentNullException.ThrowIfNull(predicted);
        var middle = Middle(truth ?? predicted, scan.Extents) ?? Middle(predicted, scan.Extents)
            ?? [.. scan.Extents.Select(extent => extent / 2)];
        var (low, high) = Range(scan.Channel(0));
        var spacing = scan.Affine?.Spacing ?? (1, 1, 1);
        double[] mm = [spacing.Depth, spacing.Height, spacing.Width];
        // The axes (down, across) of each plane.
        var planes = new[] { (1, 2), (0, 2), (0, 1) }.Select(axes => Plane(axes.Item1, axes.Item2)).ToArray();
        using var sheet = new SKBitmap(planes.Sum(plane => plane.Width) + Gap * (planes.Length - 1), planes.Max(plane => plane.Height),
            SKColorType.Rgba8888, SKAlphaType.Opaque);
        using (var canvas = new SKCanvas(sheet))
        {
            canvas.Clear(SKColors.Black);
            var left = 0;
            foreach (var plane in planes)
            {
                canvas.DrawBitmap(plane, left, 0);
                left += plane.Width + Gap;
            }
        }
        foreach (var plane in planes) plane.Dispose();
        using var png = sheet.Encode(SKEncodedImageFormat.Png, 100);
        return png.ToArray();

        // The ends of the axes (top, front, the patient's right) are at the top and at the left of the picture.
        SKBitmap Plane(int down, int across)
        {
            var (rows, columns) = (scan.Extents[down], scan.Extents[across]);
            var scale = Side / Math.Max(rows * mm[down], columns * mm[across]);
            var (height, width) = (Math.Max(1, (int)(rows * mm[down] * scale)), Math.Max(1, (int)(columns * mm[across] * scale)));
            var picture = new SKBitmap(width, height, SKColorType.Rgba8888, SKAlphaType.Opaque);
            var channel = scan.Channel(0);
            for (var y = 0; y < height; y++)
                for (var x = 0; x < width; x++)
                {
                    var voxel = Voxel(y, x);
                    var grey = (byte)Math.Clamp(255 * (channel[voxel] - low) / Math.Max(high - low, 1e-20f), 0, 255);
                    var (isPredicted, isTrue) = (IsEdge(predicted, y, x), truth is not null && IsEdge(truth, y, x));
                    picture.SetPixel(x, y, isPredicted && isTrue ? both : isPredicted ? predictedColour : isTrue ? truthColour
                        : new SKColor(grey, grey, grey));
                }
            return picture;

            int Voxel(int y, int x)
            {
                int[] place = [.. middle];
                place[down] = rows - 1 - y * rows / height;
                place[across] = columns - 1 - x * columns / width;
                return (place[0] * scan.Extents[1] + place[1]) * scan.Extents[2] + place[2];
            }

            // An outline pixel is inside a class and has a neighbour that is not.
            bool IsEdge(ushort[] labels, int y, int x) => labels[Voxel(y, x)] is > 0 and var own
                && (labels[Voxel(Math.Max(0, y - 1), x)] != own || labels[Voxel(Math.Min(height - 1, y + 1), x)] != own
                || labels[Voxel(y, Math.Max(0, x - 1))] != own || labels[Voxel(y, Math.Min(width - 1, x + 1))] != own);
        }
    }

    static int[]? Middle(ushort[] labels, IReadOnlyList<int> extents)
    {
        var (count, z, y, x) = (0L, 0L, 0L, 0L);
        for (var voxel = 0; voxel < labels.Length; voxel++)
            if (labels[voxel] != 0) (count, z, y, x) = (count + 1, z + voxel / extents[2] / extents[1], y
                + voxel / extents[2] % extents[1], x + voxel % extents[2]);
        return count == 0 ? null : [(int)(z / count), (int)(y / count), (int)(x / count)];
    }

    static (float Low, float High) Range(ReadOnlySpan<float> channel)
    {
        var sorted = channel.ToArray();
        Array.Sort(sorted);
        return (sorted[(int)(Tail * (sorted.Length - 1))], sorted[(int)((1 - Tail) * (sorted.Length - 1))]);
    }
}
