namespace Actipress.Data;

/// <summary>Preprocessing of extents: cuts boxes out of an image and its labels, and pads them.</summary>
public static class Cut
{
    /// <summary>Cuts out a box. Where the box reaches outside, labels are class 0.</summary>
    /// <param name="example">The example to cut from.</param>
    /// <param name="from">The first voxel of the box, (height, width) or (depth, height, width); may be negative.</param>
    /// <param name="extents">The size of the box, (height, width) or (depth, height, width).</param>
    /// <param name="outside">The image's value outside; null for each channel's smallest value.</param>
    public static Example Box(this Example example, IReadOnlyList<int> from, IReadOnlyList<int> extents, float? outside = null)
    {
        ArgumentNullException.ThrowIfNull(example);
        if (from.Count != example.Extents.Count || extents.Count != example.Extents.Count || extents.Any(extent => extent < 1))
            throw new ArgumentException($"A box of {string.Join(" x ", extents)} at {string.Join(", ", from)} was asked of {example.Case} "
                + $"with {string.Join(" x ", example.Extents)}: wanted as many numbers, and extents of at least 1.", nameof(extents));
        var (depth, height, width) = Warp.ThreeOf(example.Extents);
        var (newDepth, newHeight, newWidth) = Warp.ThreeOf(extents);
        var (z0, y0, x0) = from.Count == 3 ? (from[0], from[1], from[2]) : (0, from[0], from[1]);
        var (elements, newElements) = (example.Elements, checked(newDepth * newHeight * newWidth));
        var image = new float[checked(example.Channels * newElements)];
        var labels = example.Labels.Length == elements ? new ushort[newElements] : example.Labels;
        var (left, right) = (Math.Max(0, -x0), Math.Min(newWidth, width - x0));
        var isInside = z0 >= 0 && y0 >= 0 && left == 0 && z0 + newDepth <= depth && y0 + newHeight <= height && right == newWidth;
        if (!isInside)
            foreach (var (channel, smallest) in Warp.Smallest(example).Index())
                image.AsSpan(channel * newElements, newElements).Fill(outside ?? smallest);
        for (var z = Math.Max(0, -z0); z < Math.Min(newDepth, depth - z0); z++)
            for (var y = Math.Max(0, -y0); y < Math.Min(newHeight, height - y0) && left < right; y++)
            {
                var (row, newRow) = (((z + z0) * height + y + y0) * width + left + x0, (z * newHeight + y) * newWidth + left);
                for (var channel = 0; channel < example.Channels; channel++)
                    Array.Copy(example.Image, channel * elements + row, image, channel * newElements + newRow, right - left);
                if (labels != example.Labels) Array.Copy(example.Labels, row, labels, newRow, right - left);
            }
        return example with
        {
            Image = image,
            Labels = labels,
            Extents = [.. extents],
            Affine = example.Affine?.After(new([1, 0, 0, x0, 0, 1, 0, y0, 0, 0, 1, z0])),
        };
    }

    /// <summary>Cuts or pads to a size, about the centre.</summary>
    /// <param name="example">The example to fit.</param>
    /// <param name="extents">(height, width) or (depth, height, width).</param>
    /// <param name="outside">The image's value in the padding; null for each channel's smallest value.</param>
    public static Example Fit(this Example example, IReadOnlyList<int> extents, float? outside = null)
    {
        ArgumentNullException.ThrowIfNull(example);
        return example.Extents.SequenceEqual(extents)
            ? example : example.Box([.. example.Extents.Zip(extents, (own, wanted) => (own - wanted) / 2)], extents, outside);
    }

    /// <summary>Pads to at least a size, about the centre. Larger extents stay.</summary>
    public static Example PadTo(this Example example, IReadOnlyList<int> extents)
    {
        ArgumentNullException.ThrowIfNull(example);
        return example.Fit([.. example.Extents.Zip(extents, Math.Max)]);
    }

    /// <summary>
    /// Cuts to the smallest box that holds every voxel with a channel above a threshold. Returns the whole example where no voxel is.
    /// </summary>
    /// <param name="example">The example to cut.</param>
    /// <param name="above">The threshold; null for each channel's smallest value.</param>
    /// <param name="margin">The number of voxels to add around the box, within the image.</param>
    public static Example CropToForeground(this Example example, float? above = null, int margin = 0)
    {
        ArgumentNullException.ThrowIfNull(example);
        var (depth, height, width) = Warp.ThreeOf(example.Extents);
        var thresholds = Warp.Smallest(example).Select(smallest => above ?? smallest).ToArray();
        int[] first = [depth, height, width], last = [-1, -1, -1];
        for (var channel = 0; channel < example.Channels; channel++)
        {
            var values = example.Channel(channel);
            for (var (z, at) = (0, 0); z < depth; z++)
                for (var y = 0; y < height; y++)
                    for (var x = 0; x < width; x++, at++)
                        if (values[at] > thresholds[channel])
                        {
                            (first[0], first[1], first[2]) = (Math.Min(first[0], z), Math.Min(first[1], y), Math.Min(first[2], x));
                            (last[0], last[1], last[2]) = (Math.Max(last[0], z), Math.Max(last[1], y), Math.Max(last[2], x));
                        }
        }
        if (last[0] < 0) return example;
        int[] all = [depth, height, width];
        var from = Enumerable.Range(0, 3).Select(axis => Math.Max(0, first[axis] - margin)).ToArray();
        var extents = Enumerable.Range(0, 3).Select(axis => Math.Min(all[axis], last[axis] + margin + 1) - from[axis]).ToArray();
        return example.Box(from[^example.Extents.Count..], extents[^example.Extents.Count..]);
    }
}
