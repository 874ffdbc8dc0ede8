namespace Actipress.Data;

/// <summary>Preprocessing of spacing: images by trilinear interpolation, labels at the nearest voxel.</summary>
public static class Resample
{
    /// <summary>To this distance of neighbours, about the same middle; an extent of n becomes n times old by new spacing, rounded, at least 1.</summary>
    /// <param name="volume">With an affine.</param>
    /// <param name="depth">In mm.</param>
    /// <param name="height">Likewise.</param>
    /// <param name="width">Likewise.</param>
    /// <exception cref="InvalidDataException">It has no affine, or one without spacing.</exception>
    public static Example ToSpacing(this Example volume, double depth, double height, double width)
    {
        ArgumentNullException.ThrowIfNull(volume);
        if (!(depth > 0 && height > 0 && width > 0))
            throw new ArgumentOutOfRangeException(nameof(depth), $"The spacing is {depth} x {height} x {width} mm: wanted more than 0 of each.");
        var old = volume.Affine?.Spacing ?? throw NoAffine(volume);
        if (!(old.Depth > 0 && old.Height > 0 && old.Width > 0))
            throw new InvalidDataException($"{volume.Case} has a spacing of {old.Depth} x {old.Height} x {old.Width} mm: wanted more than 0 of each. Set the file's affine.");
        double[] steps = [depth / old.Depth, height / old.Height, width / old.Width];
        var extents = volume.Extents.Zip(steps, (extent, step) => Math.Max(1, (int)Math.Round(extent / step))).ToArray();
        var first = Enumerable.Range(0, 3).Select(axis => ((volume.Extents[axis] - 1) - (extents[axis] - 1) * steps[axis]) / 2).ToArray();
        return Warp.To(volume, extents, new([steps[2], 0, 0, first[2], 0, steps[1], 0, first[1], 0, 0, steps[0], first[0]]), extend: true);
    }

    /// <summary>Onto the grid of another volume, wherever both lie in the scanner: a prediction back onto the scan as it was.</summary>
    /// <param name="volume">With an affine; where it does not reach, the image has its smallest value and the labels class 0.</param>
    /// <param name="extents">Depth, height and width of the grid.</param>
    /// <param name="affine">Of the grid.</param>
    /// <exception cref="InvalidDataException">It has no affine.</exception>
    public static Example Onto(this Example volume, IReadOnlyList<int> extents, Affine affine)
    {
        ArgumentNullException.ThrowIfNull(volume);
        return Warp.To(volume, extents, (volume.Affine ?? throw NoAffine(volume)).Inverse().After(affine), extend: false) with { Affine = affine };
    }

    static InvalidDataException NoAffine(Example example) => new($"{example.Case} has no affine, so its spacing is unknown: wanted a volume from a file, or one with an affine set.");
}
