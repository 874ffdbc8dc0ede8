using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// Tiles of 256 coefficients, each rounded to a grid that the threshold sets, stored as a bitmap of bitmaps, signs and levels: the
/// default. docs/format.md has every byte.
/// </summary>
/// <remarks>
/// With T the smallest magnitude that is kept, a coefficient y becomes the level floor(|y| / T). The ratio sets T through the
/// coefficients of a sample of tiles, so about one in ratio is kept.
/// A group of eight is 4 x 2 neighbouring coefficients (measured on a trained ResNet's maps, in ../shared/design.md: the smallest).
/// </remarks>
public sealed record Grid : Encoding
{
    /// <summary>The level from which a coefficient is stored as a number of its own: what a byte with a sign holds.</summary>
    internal const int Escape = 127;

    /// <summary>
    /// What a value is raised to that the map's own zeros must be told from: lost in rounding beside a step, yet no number near the smallest.
    /// With those a convolution's sums would fall below them, where processors are many times slower.
    /// </summary>
    internal static float Least(float smallest, float step) => Math.Max(smallest, step * (1f / (1 << 24)));

    /// <summary>
    /// The highest levels of classes: 1, 2, 3 to 4, 5 to 8, and so on. Within a class of 2^b a level is told by the b lower bits of
    /// one less than it.
    /// </summary>
    internal static ReadOnlySpan<byte> ClassTops => [1, 2, 4, 8, 16, 32, 64, Escape - 1];

    /// <summary>Magnitudes up to this leave room for the sums of a tile.</summary>
    internal const float Largest = Pipeline.Largest;

    /// <inheritdoc/>
    public override string Name => "grid";

    /// <summary>Where in a tile the i-th coefficient in the order of groups lies.</summary>
    internal static int Place(int i) => 16 * (2 * (i >> 5) + (i >> 2 & 1)) + 4 * (i >> 3 & 3) + (i & 3);

    /// <summary>The tiles of a map under a transform; null where tiles hold coefficients that were computed before.</summary>
    internal static GridTiles? Fused(Transform transform, MapShape shape) => transform switch
    {
        Identity => new GridTiles(shape, TileTransform.Identity),
        Wavelet when shape.MapElements == 1 => new GridTiles(shape, TileTransform.Identity),
        Wavelet wavelet => new GridTiles(shape, wavelet),
        Dct dct => new GridTiles(shape, TileTransform.Cosine, dct.Block),
        _ => null,
    };

    /// <summary>The tiles of a map under a codec.</summary>
    internal static GridTiles Tiles(ActivationCodec codec, MapShape shape) => Fused(codec.Transform, shape)
        ?? new GridTiles(new MapShape(1, 1, 1, checked((int)codec.Transform.Coefficients(shape))), TileTransform.Identity);

    /// <summary>Packs a map on the CPU; null where it is better left as it is.</summary>
    internal static unsafe PackedMap? Pack(Tensor map, ActivationCodec codec, MapShape shape, double mostError, out LeftRaw why)
    {
        var limits = new PackLimits(codec.EvenIfLarger ? long.MaxValue : map.Bytes(), mostError);
        if (Fused(codec.Transform, shape) is { } fused)
        {
            using var contiguous = map.contiguous();
            var packed = GridMap.Pack((void*)LibTorch.Data(contiguous), map.dtype, fused, codec.Keep, codec.ExactZeros, limits, get_num_threads(), out why);
            return packed is null ? null : new PackedMap(codec, map.shape, map.dtype, null, packed);
        }

        // A transform of the user's own runs first, in torch operations, and its coefficients fill the tiles.
        var tiles = Tiles(codec, shape);
        var (lowest, highest) = Pipeline.Range(map);
        why = LeftRaw.NotFinite;
        if (!(lowest >= -Pipeline.Largest && highest <= Pipeline.Largest)) return null;
        var zeros = codec.ExactZeros && lowest == 0 ? Pipeline.Zeros(map) : null;
        GridMap? grid;
        using (var x = Pipeline.Flat(map))
        using (var coefficients = codec.Transform.Forward(x, shape))
        using (var contiguous = coefficients.contiguous())
            grid = GridMap.Pack((void*)LibTorch.Data(contiguous), ScalarType.Float32, tiles, codec.Keep, exactZeros: false, limits with { Bytes = limits.Bytes - (zeros?.NumberOfElements ?? 0) }, get_num_threads(), out why);
        if (grid is not null) return new PackedMap(codec, map.shape, map.dtype, zeros, grid);
        zeros?.Dispose();
        return null;
    }

    internal static unsafe Tensor Unpack(GridMap grid, PackedMap packed, MapShape shape)
    {
        if (Fused(packed.Codec.Transform, shape) is { } fused)
        {
            var map = empty(packed.Shape, packed.Type);
            try
            {
                HugePages.Advise((void*)LibTorch.Data(map), map.Bytes());
                grid.Unpack((void*)LibTorch.Data(map), packed.Type, fused, get_num_threads());
                return map;
            }
            catch
            {
                map.Dispose();
                throw;
            }
        }
        var tiles = Tiles(packed.Codec, shape);
        using var coefficients = empty(tiles.Shape.Elements, float32);
        grid.Unpack((void*)LibTorch.Data(coefficients), ScalarType.Float32, tiles, get_num_threads());
        using var x = packed.Codec.Transform.Inverse(coefficients, shape);
        if (packed.Zeros is { } zeros) Pipeline.RestoreZeros(x, zeros, packed.Type, grid.Step);
        return Pipeline.InType(x, packed.Type, packed.Shape);
    }

    /// <summary>A range of a map: (maps, rows, elements of a row).</summary>
    internal static unsafe Tensor Unpack(GridMap grid, PackedMap packed, MapShape shape, MapRange range)
    {
        var tiles = Fused(packed.Codec.Transform, shape)!;
        var (whole, row) = (tiles.WholeBlocks(range), MapRange.RowElements(shape));
        var rows = empty([whole.Maps, whole.Rows, row], packed.Type);
        try
        {
            grid.Unpack((void*)LibTorch.Data(rows), packed.Type, tiles, get_num_threads(), whole);
        }
        catch
        {
            rows.Dispose();
            throw;
        }
        return range.Within(whole, rows);
    }

    internal override Tensor[] Encode(Kept kept, long coefficients) => throw new NotSupportedException("Grid storage packs whole maps.");

    internal override Tensor Decode(Tensor[] sections, long coefficients) => throw new NotSupportedException("Grid storage packs whole maps.");

    internal override float Step(Tensor[] sections) => throw new NotSupportedException("Grid storage packs whole maps.");
}
