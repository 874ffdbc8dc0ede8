namespace Actipress.Data;

/// <summary>Preprocessing of spacing: images are interpolated trilinearly, and labels are taken at the nearest voxel.</summary>
public static class Resample
{
    /// <summary>
    /// Resamples to a spacing, about the same centre. An extent of n becomes n times the old spacing divided by the new, rounded, at least
    /// 1.
    /// </summary>
    /// <param name="volume">A volume with an affine.</param>
    /// <param name="depth">The spacing along the depth, in mm.</param>
    /// <param name="height">The spacing along the height, in mm.</param>
    /// <param name="width">The spacing along the width, in mm.</param>
    /// <exception cref="InvalidDataException">The volume has no affine, or an affine without spacing.</exception>
    public static Example ToSpacing(this Example volume, double depth, double height, double width)
    {
        ArgumentNullException.ThrowIfNull(volume);
        if (!(depth > 0 && height > 0 && width > 0))
            throw new ArgumentOutOfRangeException(
                nameof(depth), $"The spacing is {depth} x {height} x {width} mm: wanted more than 0 of each.");
        var old = volume.Affine?.Spacing ?? throw NoAffine(volume);
        if (!(old.Depth > 0 && old.Height > 0 && old.Width > 0))
            throw new InvalidDataException($"{volume.Case} has a spacing of {old.Depth} x {old.Height} x {old.Width} mm: wanted more than "
                + "0 of each. Set the file's affine.");
        double[] steps = [depth / old.Depth, height / old.Height, width / old.Width];
        var extents = volume.Extents.Zip(steps, (extent, step) => Math.Max(1, (int)Math.Round(extent / step))).ToArray();
        var first = Enumerable.Range(0, 3).Select(axis => ((volume.Extents[axis] - 1) - (extents[axis] - 1) * steps[axis]) / 2).ToArray();
        return Warp.To(volume, extents, new([steps[2], 0, 0, first[2], 0, steps[1], 0, first[1], 0, 0, steps[0], first[0]]), extend: true);
    }

    /// <summary>
    /// Resamples onto the grid of another volume by their positions in the scanner, such as a prediction onto the original scan.
    /// </summary>
    /// <param name="volume">A volume with an affine. Outside it, the image has its smallest value, and labels are class 0.</param>
    /// <param name="extents">Depth, height and width of the grid.</param>
    /// <param name="affine">The affine of the grid.</param>
    /// <param name="margin">
    /// The number of the volume's voxels by which labels reach beyond its outermost voxels, whose centres lie inside its border.
    /// </param>
    /// <exception cref="InvalidDataException">The volume has no affine.</exception>
    public static Example Onto(this Example volume, IReadOnlyList<int> extents, Affine affine, double margin = 0)
    {
        ArgumentNullException.ThrowIfNull(volume);
        return Warp.To(volume, extents, (volume.Affine ?? throw NoAffine(volume)).Inverse().After(affine), extend: false, margin) with
        {
            Affine = affine,
        };
    }

    /// <summary>
    /// The largest distance, in voxels of the result, of a voxel of a scan from the voxels of <see cref="ToSpacing"/>'s result. The result
    /// has the same centre and a rounded extent, so that its border lies up to half a voxel inside or outside that of the scan, on both
    /// sides together; the centre of a voxel of any size lies up to half a voxel inside the border.
    /// </summary>
    public const double BeyondSpacing = 0.75;

    static InvalidDataException NoAffine(Example example) =>
        new($"{example.Case} has no affine, so its spacing is unknown: wanted a volume from a file, or one with an affine set.");
}
