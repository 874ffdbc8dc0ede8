namespace Actipress.Maps;

/// <summary>
/// Neighbouring maps of a tensor, or the same neighbouring rows of each of them. A row is a slice of a volume, or a line of a plane.
/// </summary>
/// <param name="First">The first map.</param>
/// <param name="Maps">The number of maps.</param>
/// <param name="FirstRow">The first row of each map.</param>
/// <param name="Rows">The number of rows.</param>
readonly record struct MapRange(long First, long Maps, int FirstRow, int Rows)
{
    /// <summary>The range of whole maps.</summary>
    public static MapRange Whole(MapShape shape, long first, long maps) => new(first, maps, 0, RowsOf(shape));

    /// <summary>The number of rows of one map.</summary>
    public static int RowsOf(MapShape shape) => shape.Depth > 1 ? shape.Depth : shape.Height;

    /// <summary>The number of elements of one row.</summary>
    public static long RowElements(MapShape shape) => shape.MapElements / RowsOf(shape);

    /// <summary>Whether the range is whole maps.</summary>
    public bool IsOfWholeMaps(MapShape shape) => FirstRow == 0 && Rows == RowsOf(shape);

    /// <summary>Narrows a row-major tensor to the range: a view (maps, rows, elements of a row), which the caller disposes.</summary>
    public Tensor Of(Tensor map)
    {
        var shape = MapShape.Of(map.shape);
        using var all = map.view(shape.Maps, RowsOf(shape), RowElements(shape));
        using var maps = all.narrow(0, First, Maps);
        return maps.narrow(1, FirstRow, Rows);
    }

    /// <summary>Narrows the values of a larger range to this range. The caller disposes the result.</summary>
    /// <param name="whole">The larger range: the same maps with more rows, or whole maps.</param>
    /// <param name="values">The values of the larger range, (maps, rows, elements of a row). This method disposes or returns them.</param>
    public Tensor Within(MapRange whole, Tensor values)
    {
        if (whole == this) return values;
        using (values)
        using (var maps = values.narrow(0, First - whole.First, Maps))
            return maps.narrow(1, FirstRow - whole.FirstRow, Rows);
    }

    /// <summary>The first element of the range.</summary>
    public long FirstElement(MapShape shape) => First * shape.MapElements + FirstRow * RowElements(shape);

    /// <summary>
    /// The number of contiguous parts of the range in the map, and the elements of each: whole maps are one part, and rows of several maps
    /// are a part for each map.
    /// </summary>
    public (long Count, long Elements) Contiguous(MapShape shape)
    {
        var count = IsOfWholeMaps(shape) ? 1 : Maps;
        return (count, Elements(shape) / count);
    }

    /// <summary>The number of elements of the range.</summary>
    public long Elements(MapShape shape) => Maps * Rows * RowElements(shape);
}
