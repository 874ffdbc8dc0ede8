namespace Actipress.Data;

/// <summary>
/// The position of a volume's voxels in the scanner: (x, y, z) in mm is <c>M (i, j, k) + t</c>, with i along the width, j along the height
/// and k along the depth.
/// </summary>
/// <param name="Rows">The three rows of (M | t), 12 numbers.</param>
public sealed record Affine(IReadOnlyList<double> Rows)
{
    /// <summary>An affine whose axes are parallel to the scanner's, with this spacing.</summary>
    public static Affine Of(double x, double y, double z) => new([x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0]);

    /// <summary>The spacing along (depth, height, width), in mm.</summary>
    public (double Depth, double Height, double Width) Spacing => (Length(2), Length(1), Length(0));

    double Length(int column) =>
        Math.Sqrt(Rows[column] * Rows[column] + Rows[4 + column] * Rows[4 + column] + Rows[8 + column] * Rows[8 + column]);

    /// <summary>The position of a voxel.</summary>
    public (double X, double Y, double Z) At(double i, double j, double k)
    {
        return (Row(0), Row(4), Row(8));
        double Row(int row) => Rows[row] * i + Rows[row + 1] * j + Rows[row + 2] * k + Rows[row + 3];
    }

    /// <summary>The composition of another affine and this one, which is applied second.</summary>
    public Affine After(Affine first)
    {
        ArgumentNullException.ThrowIfNull(first);
        return new([.. from row in Enumerable.Range(0, 3)
                       from column in Enumerable.Range(0, 4)
                       select Enumerable.Range(0, 3).Sum(k => Rows[4 * row + k] * first.Rows[4 * k + column])
                           + (column == 3 ? Rows[4 * row + 3] : 0)]);
    }

    /// <summary>Whether the axes span space, so that the affine has an inverse.</summary>
    public bool SpansSpace => Determinant is var determinant && determinant != 0 && double.IsFinite(determinant);

    /// <summary>The volume of a voxel, in cubic mm.</summary>
    public double VoxelVolume => Math.Abs(Determinant);

    double Determinant => M(0, 0) * Minor(0, 0) + M(0, 1) * Minor(0, 1) + M(0, 2) * Minor(0, 2);

    double M(int row, int column) => Rows[row * 4 + column];

    double Minor(int row, int column) => M((row + 1) % 3, (column + 1) % 3) * M((row + 2) % 3, (column + 2) % 3) - M((row + 1) % 3,
        (column + 2) % 3) * M((row + 2) % 3, (column + 1) % 3);

    /// <summary>The largest distance of a grid's corners between another affine and this one, in voxels of this one.</summary>
    /// <param name="other">Another affine of the same grid.</param>
    /// <param name="extents">Width, height and depth of the grid.</param>
    /// <exception cref="InvalidDataException">The axes of this affine do not span space, and the other affine differs.</exception>
    public double Distance(Affine other, IReadOnlyList<int> extents)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (Rows.SequenceEqual(other.Rows)) return 0;
        var moved = Inverse().After(other);
        var most = 0.0;
        for (var corner = 0; corner < 8; corner++)
        {
            var (i, j, k) = ((corner & 1) * (extents[0] - 1), (corner >> 1 & 1) * (extents[1] - 1), (corner >> 2) * (extents[2] - 1));
            var (x, y, z) = moved.At(i, j, k);
            most = Math.Max(most, Math.Sqrt((x - i) * (x - i) + (y - j) * (y - j) + (z - k) * (z - k)));
        }
        return most;
    }

    /// <summary>The rows as text.</summary>
    public override string ToString()
    {
        var rows = Rows.Chunk(4).Select(row => string.Join(' ', row.Select(number => FormattableString.Invariant($"{number:0.####}"))));
        return $"[{string.Join("; ", rows)}]";
    }

    /// <summary>The affine from the scanner to voxels.</summary>
    /// <exception cref="InvalidDataException">The axes do not span space.</exception>
    public Affine Inverse()
    {
        var determinant = Determinant;
        if (!SpansSpace)
            throw new InvalidDataException($"The affine [{string.Join(", ", Rows)}] has determinant {determinant}: wanted axes that span "
                + "space. Set the volume's s-form or q-form.");
        var linear = new Affine([.. from row in Enumerable.Range(0, 3)
            from column in Enumerable.Range(0, 4)
            select column == 3 ? 0 : Minor(column, row) / determinant]);
        var (x, y, z) = linear.At(M(0, 3), M(1, 3), M(2, 3));
        return new([.. linear.Rows.Select((value, i) => i switch { 3 => -x, 7 => -y, 11 => -z, _ => value })]);
    }
}
