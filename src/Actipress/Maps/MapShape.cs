namespace Actipress;

/// <summary>
/// The division of a tensor into maps for a transform: <see cref="Maps"/> independent maps of <see cref="Depth"/> x <see cref="Height"/> x
/// <see cref="Width"/> elements, one after the other in row-major order.
/// </summary>
/// <remarks>
/// (n, c, d, h, w) is n*c volumes; (n, c, h, w) is n*c planes; (n, t, f), tokens by features, is n planes of t x f; (n, f) is
/// n lines of f features; a tensor of higher rank is volumes over its last three axes.
/// </remarks>
/// <param name="Maps">Number of independent maps (batch times channels).</param>
/// <param name="Depth">Slices of a volume; 1 for planes and lines.</param>
/// <param name="Height">Rows of a plane; 1 for lines.</param>
/// <param name="Width">Elements of a row.</param>
public readonly record struct MapShape(long Maps, int Depth, int Height, int Width)
{
    /// <summary>The number of elements of one map.</summary>
    public long MapElements => (long)Depth * Height * Width;

    /// <summary>The number of elements of all maps together: the paper's N.</summary>
    public long Elements => Maps * MapElements;

    /// <summary>The number of spatial axes: 3 for volumes, 2 for planes, 1 for lines.</summary>
    public int SpatialRank => Depth > 1 ? 3 : Height > 1 ? 2 : 1;

    /// <summary>The maps in a tensor of this shape.</summary>
    public static MapShape Of(ReadOnlySpan<long> shape) => shape.Length switch
    {
        0 => new(1, 1, 1, 1),
        1 => new(1, 1, 1, checked((int)shape[0])),
        2 => new(shape[0], 1, 1, checked((int)shape[1])),
        3 => new(shape[0], 1, checked((int)shape[1]), checked((int)shape[2])),
        4 => new(shape[0] * shape[1], 1, checked((int)shape[2]), checked((int)shape[3])),
        _ => new(Product(shape[..^3]), checked((int)shape[^3]), checked((int)shape[^2]), checked((int)shape[^1])),
    };

    static long Product(ReadOnlySpan<long> extents)
    {
        long product = 1;
        foreach (var extent in extents) product = checked(product * extent);
        return product;
    }
}
