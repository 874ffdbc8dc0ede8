namespace Actipress.Data;

/// <summary>An image volume with its position in the scanner.</summary>
/// <param name="Values">The values; the first axis varies fastest, as in the file: row-major (z, y, x), or (t, z, y, x).</param>
/// <param name="Extents">The extents of x, y, z and, where there is one, t (or the modality).</param>
/// <param name="Spacing">The spacing along each axis, in the file's unit, mostly mm (s for t).</param>
/// <param name="Affine">The affine from voxels to the scanner's coordinates.</param>
public sealed record Volume(float[] Values, int[] Extents, double[] Spacing, Affine Affine)
{
    /// <summary>Whether the file says how its axes lie in the scanner. If not, the affine is the spacing alone.</summary>
    public bool HasOrientation { get; init; } = true;

    /// <summary>Makes a volume of one class a voxel, for a mask or a prediction.</summary>
    /// <param name="labels">(depth, height, width), row-major.</param>
    /// <param name="extents">Depth, height and width.</param>
    /// <param name="affine">The position of the labels: <see cref="Example.Affine"/> of the predicted example.</param>
    public static Volume OfLabels(ReadOnlySpan<ushort> labels, IReadOnlyList<int> extents, Affine affine)
    {
        ArgumentNullException.ThrowIfNull(extents);
        ArgumentNullException.ThrowIfNull(affine);
        var values = new float[labels.Length];
        for (var i = 0; i < values.Length; i++) values[i] = labels[i];
        var (depth, height, width) = affine.Spacing;
        return new(values, [extents[2], extents[1], extents[0]], [width, height, depth], affine);
    }
}
