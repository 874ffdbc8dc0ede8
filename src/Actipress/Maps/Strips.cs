namespace Actipress.Maps;

/// <summary>
/// Divides a tensor of maps into strips of about 65,536 neighbouring elements, and into pieces of several strips. A strip is several small
/// maps, or some rows of one large map; it ends where the blocks of every codec end.
/// </summary>
readonly struct Strips
{
    /// <summary>The most elements of a piece, unless a strip is larger.</summary>
    public const long PieceElements = 1 << 20;

    const long Elements = 1 << 16;

    // The number of rows that the blocks of every codec divide.
    const int RowsOfBlocks = 16, RowsOfSample = 4;

    const int MostSamples = 32;

    readonly MapShape shape;
    readonly long maps;    // in a strip
    readonly int rows;

    public Strips(MapShape shape)
    {
        (this.shape, maps, rows) = (shape, Math.Max(1, Elements / shape.MapElements), MapRange.RowsOf(shape));
        if (shape.MapElements > Elements)
            rows = (int)Math.Clamp(
                Elements / MapRange.RowElements(shape) / RowsOfBlocks * RowsOfBlocks, Math.Min(RowsOfBlocks, rows), rows);
        OfMap = (MapRange.RowsOf(shape) + rows - 1) / rows;
        Count = OfMap == 1 ? (shape.Maps + maps - 1) / maps : shape.Maps * OfMap;
    }

    /// <summary>The number of strips.</summary>
    public long Count { get; }

    // The number of strips of one map; 1 where a strip is whole maps.
    int OfMap { get; }

    /// <summary>The most elements of a strip.</summary>
    public long MostElements => maps * rows * MapRange.RowElements(shape);

    MapRange this[long strip] => OfMap == 1
        ? MapRange.Whole(shape, strip * maps, Math.Min(maps, shape.Maps - strip * maps))
        : new(strip / OfMap, 1, (int)(strip % OfMap) * rows, Math.Min(rows, MapRange.RowsOf(shape) - (int)(strip % OfMap) * rows));

    /// <summary>The strip that begins at an element, and its range.</summary>
    public (long Strip, MapRange Range) Of(long firstElement)
    {
        var (map, within) = Math.DivRem(firstElement, shape.MapElements);
        var strip = OfMap == 1 ? map / maps : map * OfMap + within / MapRange.RowElements(shape) / rows;
        return (strip, this[strip]);
    }

    /// <summary>Divides the whole tensor into pieces of whole strips, one after the other.</summary>
    /// <param name="elements">The most elements of a piece, unless a strip is larger.</param>
    public IEnumerable<MapRange> Pieces(long elements = PieceElements)
    {
        var (whole, all) = (shape, this);
        if (OfMap == 1 || whole.MapElements <= elements)
        {
            var many = Math.Max(maps, elements / whole.MapElements / maps * maps);
            for (long first = 0; first < whole.Maps; first += many)
                yield return MapRange.Whole(whole, first, Math.Min(many, whole.Maps - first));
            yield break;
        }
        var together = Math.Max(1, (int)(elements / MostElements));
        for (long map = 0; map < whole.Maps; map++)
            for (var strip = 0; strip < all.OfMap; strip += together)
            {
                var first = all[map * all.OfMap + strip];
                yield return first with { Rows = Math.Min(together * all.rows, MapRange.RowsOf(whole) - first.FirstRow) };
            }
    }

    /// <summary>Some small ranges, spread evenly over the tensor.</summary>
    public IEnumerable<MapRange> Samples()
    {
        var few = Math.Min(MostSamples, OfMap == 1 ? Math.Min(Count, PieceElements / Elements) : Count);
        for (long i = 0; i < few; i++)
        {
            var range = this[i * Count / few];
            yield return OfMap == 1 ? range : range with { Rows = Math.Min(RowsOfSample, range.Rows) };
        }
    }

    /// <summary>Extends a range to whole strips.</summary>
    public MapRange Cover(MapRange range)
    {
        if (OfMap == 1)
        {
            var first = range.First / maps * maps;
            return MapRange.Whole(shape, first, Math.Min(shape.Maps, (range.First + range.Maps + maps - 1) / maps * maps) - first);
        }
        var row = range.FirstRow / rows * rows;
        var end = Math.Min(MapRange.RowsOf(shape), (range.FirstRow + range.Rows + rows - 1) / rows * rows);
        return range with { FirstRow = row, Rows = end - row };
    }
}
