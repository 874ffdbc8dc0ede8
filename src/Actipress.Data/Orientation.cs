namespace Actipress.Data;

/// <summary>
/// The directions of a volume's axes. Each of the scanner's three directions, right, anterior and superior (RAS), is nearest to one axis of
/// the file, forwards or backwards. nibabel decides this in the same way (<c>io_orientation</c>).
/// </summary>
/// <param name="Axes">The file's axes (0 the width, 1 the height, 2 the depth) that run to the right, to the front and to the top.</param>
/// <param name="Backwards">Whether each of these axes runs in the opposite direction.</param>
public sealed record Orientation(IReadOnlyList<int> Axes, IReadOnlyList<bool> Backwards)
{
    const int MostSteps = 100;

    /// <summary>The orientation of an affine.</summary>
    /// <exception cref="InvalidDataException">The axes do not span space.</exception>
    public static Orientation Of(Affine affine)
    {
        ArgumentNullException.ThrowIfNull(affine);
        var rotation = Rotation(affine).ToArray();
        var (axes, backwards) = (new int[3], new bool[3]);
        for (var axis = 0; axis < 3; axis++)
        {
            var own = axis;
            var direction = Enumerable.Range(0, 3).MaxBy(row => Math.Abs(rotation[4 * row + own]));
            (axes[direction], backwards[direction]) = (axis, rotation[4 * direction + axis] < 0);
            rotation.AsSpan(4 * direction, 3).Clear();
        }
        return new(axes, backwards);
    }

    // The rotation or reflection nearest to the axes' directions: the polar factor, by Newton's iteration X = (X + X^-T) / 2.
    static IReadOnlyList<double> Rotation(Affine affine)
    {
        var (depth, height, width) = affine.Spacing;
        double[] spacing = [width, height, depth, 1];
        double[] x = [.. affine.Rows.Select((value, i) => i % 4 == 3 ? 0 : value / (spacing[i % 4] == 0 ? 1 : spacing[i % 4]))];
        for (var step = 0; step < MostSteps; step++)
        {
            var inverse = new Affine(x).Inverse().Rows;
            double[] next = [.. x.Select((value, i) => i % 4 == 3 ? 0 : (value + inverse[4 * (i % 4) + i / 4]) / 2)];
            var change = x.Zip(next, (old, now) => Math.Abs(old - now)).Max();
            x = next;
            if (change < 1e-14) break;
        }
        return x;
    }

    /// <summary>Whether the axes run to the right, to the front and to the top already.</summary>
    public bool IsRas => Axes is [0, 1, 2] && !Backwards.Contains(true);

    /// <summary>The inverse orientation, from RAS to the file's order.</summary>
    public Orientation Inverse()
    {
        var (axes, backwards) = (new int[3], new bool[3]);
        for (var direction = 0; direction < 3; direction++) (axes[Axes[direction]], backwards[Axes[direction]]) = (direction,
            Backwards[direction]);
        return new(axes, backwards);
    }

    /// <summary>The directions of the file's axes as text, such as LPS.</summary>
    public override string ToString()
    {
        var name = new char[3];
        for (var direction = 0; direction < 3; direction++) name[Axes[direction]] = (Backwards[direction] ? "LPI" : "RAS")[direction];
        return new(name);
    }

    /// <summary>The affine of the volume in RAS order.</summary>
    /// <param name="affine">The affine of the volume in the file's order.</param>
    /// <param name="extents">Width, height and depth as they are.</param>
    public Affine Turn(Affine affine, IReadOnlyList<int> extents)
    {
        ArgumentNullException.ThrowIfNull(affine);
        ArgumentNullException.ThrowIfNull(extents);
        var places = new double[12];
        for (var direction = 0; direction < 3; direction++)
        {
            places[4 * Axes[direction] + direction] = Backwards[direction] ? -1 : 1;
            places[4 * Axes[direction] + 3] = Backwards[direction] ? extents[Axes[direction]] - 1 : 0;
        }
        return affine.After(new(places));
    }

    /// <summary>A volume's extents in RAS order.</summary>
    /// <param name="extents">Width, height and depth as they are.</param>
    public int[] Turn(IReadOnlyList<int> extents) => [.. Axes.Select(axis => extents[axis])];

    /// <summary>A volume's numbers in RAS order: the same array where the file has this order.</summary>
    /// <param name="values">One or more volumes, one after the other; the width varies fastest.</param>
    /// <param name="extents">Width, height and depth as they are.</param>
    public T[] Turn<T>(T[] values, IReadOnlyList<int> extents)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (IsRas) return values;
        int[] strides = [1, extents[0], extents[0] * extents[1]], size = Turn(extents);
        var elements = extents[0] * extents[1] * extents[2];
        int[] steps = [.. Enumerable.Range(0, 3).Select(direction => (Backwards[direction] ? -1 : 1) * strides[Axes[direction]])];
        var first = Enumerable.Range(0, 3).Sum(direction => Backwards[direction] ? (size[direction] - 1) * strides[Axes[direction]] : 0);
        var turned = new T[values.Length];
        for (var (volume, to) = (0, 0); volume < values.Length; volume += elements)
            for (var z = 0; z < size[2]; z++)
                for (var y = 0; y < size[1]; y++)
                    for (var (x, from) = (0, volume + first + z * steps[2] + y * steps[1]); x < size[0]; x++,
                        from += steps[0]) turned[to++] = values[from];
        return turned;
    }
}
