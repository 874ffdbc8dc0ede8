namespace Actipress.Data;

/// <summary>
/// Where the voxels of a volume lie: (x, y, z) of the scanner in mm is <c>M (i, j, k) + t</c>, with i along the width, j the height and k
/// the depth.
/// </summary>
/// <param name="Rows">The three rows of (M | t), 12 numbers.</param>
public sealed record Affine(IReadOnlyList<double> Rows)
{
    /// <summary>Axes along the scanner's, at these distances.</summary>
    public static Affine Of(double x, double y, double z) => new([x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0]);

    /// <summary>Distances of neighbours along (depth, height, width), in mm.</summary>
    public (double Depth, double Height, double Width) Spacing => (Length(2), Length(1), Length(0));

    double Length(int column) => Math.Sqrt(Rows[column] * Rows[column] + Rows[4 + column] * Rows[4 + column] + Rows[8 + column] * Rows[8 + column]);

    /// <summary>A voxel's place.</summary>
    public (double X, double Y, double Z) At(double i, double j, double k)
    {
        return (Row(0), Row(4), Row(8));
        double Row(int row) => Rows[row] * i + Rows[row + 1] * j + Rows[row + 2] * k + Rows[row + 3];
    }

    /// <summary>That of a volume whose voxel (0, 0, 0) is this one's (i, j, k), and whose steps are so many of this one's.</summary>
    public Affine From(double i, double j, double k, double stepI = 1, double stepJ = 1, double stepK = 1)
    {
        var (x, y, z) = At(i, j, k);
        return new([Rows[0] * stepI, Rows[1] * stepJ, Rows[2] * stepK, x, Rows[4] * stepI, Rows[5] * stepJ, Rows[6] * stepK, y, Rows[8] * stepI, Rows[9] * stepJ, Rows[10] * stepK, z]);
    }

    /// <summary>From the scanner to voxels.</summary>
    /// <exception cref="InvalidDataException">The axes do not span space.</exception>
    public Affine Inverse()
    {
        double M(int row, int column) => Rows[row * 4 + column];
        double Minor(int row, int column) => M((row + 1) % 3, (column + 1) % 3) * M((row + 2) % 3, (column + 2) % 3) - M((row + 1) % 3, (column + 2) % 3) * M((row + 2) % 3, (column + 1) % 3);
        var determinant = M(0, 0) * Minor(0, 0) + M(0, 1) * Minor(0, 1) + M(0, 2) * Minor(0, 2);
        if (determinant == 0 || !double.IsFinite(determinant)) throw new InvalidDataException($"The affine [{string.Join(", ", Rows)}] has determinant {determinant}: wanted axes that span space. Set the volume's s-form or q-form.");
        var linear = new Affine([.. from row in Enumerable.Range(0, 3) from column in Enumerable.Range(0, 4) select column == 3 ? 0 : Minor(column, row) / determinant]);
        var (x, y, z) = linear.At(M(0, 3), M(1, 3), M(2, 3));
        return new([.. linear.Rows.Select((value, i) => i switch { 3 => -x, 7 => -y, 11 => -z, _ => value })]);
    }
}
