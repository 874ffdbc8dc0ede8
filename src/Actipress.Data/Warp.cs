namespace Actipress.Data;

/// <summary>
/// Evaluates an example at other positions: images by (tri)linear interpolation, labels at the nearest voxel. Resampling and augmentation
/// use it.
/// </summary>
static class Warp
{
    /// <summary>Voxel (i, j, k) of the result, along width, height and depth, is the example at <c>places.At(i, j, k)</c>.</summary>
    /// <param name="example">The example to evaluate; a picture has k = 0.</param>
    /// <param name="extents">The extents of the result, with as many axes as the example.</param>
    /// <param name="places">The map from the result's voxels to the example's.</param>
    /// <param name="extend">
    /// Whether a position outside takes the nearest voxel; otherwise it takes each channel's smallest value, and class 0.
    /// </param>
    /// <param name="margin">The distance in voxels up to which a position outside takes the nearest voxel's label all the same.</param>
    public static Example To(Example example, IReadOnlyList<int> extents, Affine places, bool extend, double margin = 0)
    {
        var (depth, height, width) = ThreeOf(example.Extents);
        var (newDepth, newHeight, newWidth) = ThreeOf(extents);
        var (elements, newElements, channels) = (example.Elements, checked(newDepth * newHeight * newWidth), example.Channels);
        var isDense = example.Labels.Length == elements;
        var (image, labels) = (new float[checked(channels * newElements)], isDense ? new ushort[newElements] : example.Labels);
        var outside = Smallest(example);
        double[] toX = [.. places.Rows.Take(4)], toY = [.. places.Rows.Skip(4).Take(4)], toZ = [.. places.Rows.Skip(8)];
        Span<int> corners = stackalloc int[8];
        Span<float> weights = stackalloc float[8];
        for (var (k, to) = (0, 0); k < newDepth; k++)
            for (var j = 0; j < newHeight; j++)
                for (var i = 0; i < newWidth; i++, to++)
                {
                    var (x, y, z) = (
                        toX[0] * i + toX[1] * j + toX[2] * k + toX[3], toY[0] * i + toY[1] * j + toY[2] * k + toY[3],
                        toZ[0] * i + toZ[1] * j + toZ[2] * k + toZ[3]);
                    if (extend) (x, y, z) = (Math.Clamp(x, 0, width - 1), Math.Clamp(y, 0, height - 1), Math.Clamp(z, 0, depth - 1));
                    var (x0, y0, z0) = ((int)Math.Floor(x), (int)Math.Floor(y), (int)Math.Floor(z));
                    var (right, down, deep) = ((float)(x - x0), (float)(y - y0), (float)(z - z0));
                    var (inside, lost) = (0, 0f);
                    for (var corner = 0; corner < 8 && channels > 0; corner++)
                    {
                        var (dx, dy, dz) = (corner & 1, corner >> 1 & 1, corner >> 2);
                        var weight = (dx == 1 ? right : 1 - right) * (dy == 1 ? down : 1 - down) * (dz == 1 ? deep : 1 - deep);
                        if (weight == 0) continue;
                        var index = IndexOf(x0 + dx, y0 + dy, z0 + dz);
                        if (index < 0) lost += weight;
                        else (corners[inside], weights[inside++]) = (index, weight);
                    }
                    for (var channel = 0; channel < channels; channel++)
                    {
                        var sum = lost > 0 ? lost * outside[channel] : 0;
                        for (var corner = 0; corner < inside; corner++)
                            sum += weights[corner] * example.Image[channel * elements + corners[corner]];
                        image[channel * newElements + to] = sum;
                    }
                    if (isDense && IndexOf(Nearest(x, width), Nearest(y, height), Nearest(z, depth)) is >= 0 and var nearest)
                        labels[to] = example.Labels[nearest];
                }
        return example with { Image = image, Labels = labels, Extents = [.. extents], Affine = example.Affine?.After(places) };

        int Nearest(double at, int extent) =>
            (int)Math.Floor((at < 0 && at >= -margin ? 0 : at > extent - 1 && at <= extent - 1 + margin ? extent - 1 : at) + 0.5);

        int IndexOf(int x, int y, int z) =>
            (uint)x < (uint)width && (uint)y < (uint)height && (uint)z < (uint)depth ? (z * height + y) * width + x : -1;
    }

    /// <summary>Each channel's smallest value: air.</summary>
    public static float[] Smallest(Example example)
    {
        var smallest = new float[example.Channels];
        for (var channel = 0; channel < smallest.Length; channel++)
        {
            smallest[channel] = float.PositiveInfinity;
            foreach (var value in example.Channel(channel)) smallest[channel] = Math.Min(smallest[channel], value);
        }
        return smallest;
    }

    /// <summary>The depth, height and width; a picture's depth is 1.</summary>
    public static (int Depth, int Height, int Width) ThreeOf(IReadOnlyList<int> extents) =>
        extents.Count == 3 ? (extents[0], extents[1], extents[2]) : (1, extents[0], extents[1]);
}
