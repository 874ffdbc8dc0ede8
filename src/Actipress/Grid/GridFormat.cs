using Actipress.Codecs;

namespace Actipress.Grid;

/// <summary>The numbers of grid storage on which all of its implementations agree.</summary>
/// <remarks>
/// A group of eight is 4 x 2 neighbouring coefficients: of the shapes that were measured on a trained ResNet's maps, this one took the fewest
/// bytes.
/// </remarks>
static class GridFormat
{
    /// <summary>The level from which a coefficient is stored as a number of its own: what a byte with a sign holds.</summary>
    public const int Escape = 127;

    /// <summary>Magnitudes up to this leave room for the sums of a tile.</summary>
    public const float Largest = MapValues.Largest;

    /// <summary>
    /// The highest levels of classes: 1, 2, 3 to 4, 5 to 8, and so on. Within a class of 2^b a level is told by the b lower bits of
    /// one less than it.
    /// </summary>
    public static ReadOnlySpan<byte> ClassTops => [1, 2, 4, 8, 16, 32, 64, Escape - 1];

    /// <summary>Where in a tile the i-th coefficient in the order of groups lies.</summary>
    public static int Place(int i) => 16 * (2 * (i >> 5) + (i >> 2 & 1)) + 4 * (i >> 3 & 3) + (i & 3);

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
