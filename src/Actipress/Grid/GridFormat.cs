using Actipress.Codecs;
using Actipress.Grid.Tiles;
using Actipress.Transforms;

namespace Actipress.Grid;

/// <summary>The numbers of grid storage on which all of its implementations agree.</summary>
static class GridFormat
{
    /// <summary>Magnitudes up to this leave room for the sums of a tile.</summary>
    public const float Largest = MapValues.Largest;

    /// <summary>Whether tiles are transformed as they are packed; else they hold coefficients that were computed before.</summary>
    public static bool Covers(Transform transform) => transform is Identity or Wavelet or Dct;

    /// <summary>The tiles of a map under a transform that <see cref="Covers"/> knows.</summary>
    public static GridTiles Tiles(Transform transform, MapShape shape) => transform switch
    {
        Identity => new GridTiles(shape, TileTransform.Identity),
        Wavelet when shape.MapElements == 1 => new GridTiles(shape, TileTransform.Identity),
        Wavelet wavelet => new GridTiles(shape, wavelet),
        Dct dct => new GridTiles(shape, TileTransform.Cosine, dct.Block),
        _ => throw new ArgumentException($"No tiles under the transform '{transform.Name}': wanted st, dct or wt.", nameof(transform)),
    };

    /// <summary>The tiles of so many coefficients.</summary>
    public static GridTiles Tiles(long coefficients) => new(new MapShape(1, 1, 1, checked((int)coefficients)), TileTransform.Identity);
}
