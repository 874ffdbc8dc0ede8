namespace Actipress.Maps;

/// <summary>Neighbouring maps of a tensor, or the same neighbouring rows of each; a row is a slice of a volume, and a line of a plane.</summary>
/// <param name="First">The first map.</param>
/// <param name="Maps">How many.</param>
/// <param name="FirstRow">The first row of each.</param>
/// <param name="Rows">How many.</param>
readonly record struct MapRange(long First, long Maps, int FirstRow, int Rows)
{
    /// <summary>Whole maps.</summary>
    public static MapRange Whole(MapShape shape, long first, long maps) => new(first, maps, 0, RowsOf(shape));

    /// <summary>Rows of one map.</summary>
    public static int RowsOf(MapShape shape) => shape.Depth > 1 ? shape.Depth : shape.Height;

    /// <summary>Elements of one row.</summary>
    public static long RowElements(MapShape shape) => shape.MapElements / RowsOf(shape);

    /// <summary>Whether the maps are whole.</summary>
    public bool IsOfWholeMaps(MapShape shape) => FirstRow == 0 && Rows == RowsOf(shape);

    /// <summary>The range of a row-major tensor: (maps, rows, elements of a row), a view that the caller disposes.</summary>
    public Tensor Of(Tensor map)
    {
        var shape = MapShape.Of(map.shape);
        using var all = map.view(shape.Maps, RowsOf(shape), RowElements(shape));
        using var maps = all.narrow(0, First, Maps);
        return maps.narrow(1, FirstRow, Rows);
    }

    /// <summary>The range out of a larger one, for the caller to dispose.</summary>
    /// <param name="whole">The larger one: of the same maps, or of whole maps.</param>
    /// <param name="values">Its values, (maps, rows, elements of a row); disposed, or returned.</param>
    public Tensor Within(MapRange whole, Tensor values)
    {
        if (whole == this) return values;
        using (values)
        using (var maps = values.narrow(0, First - whole.First, Maps))
            return maps.narrow(1, FirstRow - whole.FirstRow, Rows);
    }

    /// <summary>The first element of the range.</summary>
    public long FirstElement(MapShape shape) => First * shape.MapElements + FirstRow * RowElements(shape);

    /// <summary>Elements of the range.</summary>
    public long Elements(MapShape shape) => Maps * Rows * RowElements(shape);
}
