using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>Grid storage: every face equals the definition, and what comes back is near what went in.</summary>
public unsafe class GridTests
{
    static readonly (string Name, MapShape Shape, TileTransform Transform)[] tilings =
    [
        ("whole blocks", new(3, 1, 32, 48), TileTransform.Cosine),
        ("many planes", new(70, 1, 48, 48), TileTransform.Cosine),
        ("ragged planes", new(5, 1, 33, 19), TileTransform.Cosine),
        ("planes of 28 x 28", new(12, 1, 28, 28), TileTransform.Cosine),
        ("planes of 8 x 8", new(33, 1, 8, 8), TileTransform.Cosine),
        ("planes of 7 x 5", new(20, 1, 7, 5), TileTransform.Cosine),
        ("planes of 2 x 2", new(300, 1, 2, 2), TileTransform.Cosine),
        ("planes of 1 x 1", new(300, 1, 1, 1), TileTransform.Cosine),
        ("lines", new(7, 1, 1, 300), TileTransform.Cosine),
        ("one element", new(1, 1, 1, 1), TileTransform.Cosine),
        ("volumes", new(4, 8, 16, 24), TileTransform.Cosine),
        ("ragged volumes", new(2, 9, 17, 11), TileTransform.Cosine),
        ("volumes of 2 x 3 x 4", new(9, 2, 3, 4), TileTransform.Cosine),
        ("haar", new(9, 1, 24, 40), TileTransform.Haar),
        ("values", new(3, 1, 33, 70), TileTransform.Identity),
    ];

    public static TheoryData<string> Tilings => [.. tilings.Select(tiling => tiling.Name)];

    static float[] Values(MapShape shape, bool relu)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, (int)shape.Elements).Select(i =>
        {
            var value = (float)(Math.Sin(i * 0.05) + 0.3 * (random.NextDouble() - random.NextDouble()) + (i % 997 == 0 ? 40 : 0));
            return relu ? Math.Max(0, value) : value;
        })];
    }

    static (byte[] Bytes, float[] Back) Through<TFace>(float[] values, GridTiles tiles, double ratio, int threads) where TFace : struct, IGridFace
    {
        fixed (float* map = values)
        {
            using var packed = GridMap.Pack<TFace>(map, ScalarType.Float32, tiles, new Keep.TopK(ratio), exactZeros: true, long.MaxValue, threads, out var why)!;
            Assert.Equal(LeftRaw.No, why);
            using var stream = new MemoryStream();
            using var writer = new BinaryWriter(stream);
            packed.Write(writer);
            using var read = GridMap.Read(stream.ToArray(), tiles);
            var back = new float[values.Length];
            fixed (float* to = back) read.Unpack<TFace>(to, ScalarType.Float32, tiles, threads);
            return (stream.ToArray(), back);
        }
    }

    [Theory, MemberData(nameof(Tilings))]
    public void Every_face_writes_the_bytes_and_values_of_the_definition(string name)
    {
        var (_, shape, transform) = tilings.Single(tiling => tiling.Name == name);
        var tiles = new GridTiles(shape, transform);
        foreach (var relu in (bool[])[false, true])
            foreach (var ratio in (double[])[1, 3, 10, 200])
            {
                var values = Values(shape, relu);
                var definition = Through<GridDefinition>(values, tiles, ratio, 1);
                (string, (byte[] Bytes, float[] Back))[] faces =
                [
                    ("4 lanes", Through<GridLanes<Lanes4>>(values, tiles, ratio, 1)),
                    ("8 lanes", Through<GridLanes<Lanes8>>(values, tiles, ratio, 2)),
                    ("16 lanes", Through<GridLanes<Lanes16>>(values, tiles, ratio, 3)),
                ];
                foreach (var (face, (bytes, back)) in faces)
                {
                    Assert.True(bytes.AsSpan().SequenceEqual(definition.Bytes), $"{face}, ratio {ratio}: other bytes");
                    Assert.True(back.AsSpan().SequenceEqual(definition.Back), $"{face}, ratio {ratio}: other values");
                }
            }
    }

    [Theory, MemberData(nameof(Tilings))]
    public void A_tiles_transform_keeps_the_energy_and_inverts(string name)
    {
        var (_, shape, transform) = tilings.Single(tiling => tiling.Name == name);
        var tiles = new GridTiles(shape, transform);
        var values = Values(shape, relu: false);
        float* x = stackalloc float[256], y = stackalloc float[256], before = stackalloc float[256];
        double energy = 0, transformed = 0, error = 0;
        fixed (float* map = values)
            for (var tile = 0L; tile < tiles.Count; tile++)
            {
                GridMover<SingleCells>.Gather(tiles, tile, map, x);
                for (var i = 0; i < 256; i++) before[i] = x[i];
                GridDefinition.Forward(x, y, transform, tiles.RegionOf(tile));
                for (var i = 0; i < 256; i++) transformed += (double)y[i] * y[i];
                GridDefinition.Inverse(y, x, transform, tiles.RegionOf(tile), ~0u);
                for (var i = 0; i < 256; i++) error = Math.Max(error, Math.Abs(x[i] - before[i]));
            }
        foreach (var value in values) energy += (double)value * value;
        Assert.Equal(1, transformed / energy, 1e-5);
        Assert.True(error < 1e-4, $"{error}");
    }

    // 1024 tiles, of which one in 16 is sampled: where one value differs, most of these places are not seen beforehand.
    [Theory, InlineData("st:10"), InlineData("dct:10"), InlineData("wt:haar:10")]
    public void What_the_sample_missed_is_packed_all_the_same(string text)
    {
        var codec = ActivationCodec.Parse(text);
        using var scope = NewDisposeScope();
        var positive = rand(1, 64, 64, 64).add_(1);
        foreach (var tile in (long[])[0, 300, 701, 1023])
        {
            Tensor With(Tensor map, float value)
            {
                var x = map.clone();
                x.view(-1)[256 * tile + 17] = value;
                return x;
            }
            var zero = With(positive, 0);
            using var withZero = Pipeline.Pack(zero, codec, out _)!;
            Assert.True(withZero.HasExactZeros);
            Assert.True(withZero.Unpack().eq(0).Equals(zero.eq(0)));

            using var withNegative = Pipeline.Pack(With(positive.sub(1.5f).relu_(), -1), codec, out _)!;
            Assert.False(withNegative.HasExactZeros);
            using var spike = Pipeline.Pack(With(positive, 1e6f), codec, out _)!;
            Assert.InRange(spike.Unpack().view(-1)[256 * tile + 17].item<float>(), 0.9e6f, 1.1e6f);
            using var alone = Pipeline.Pack(With(zeros(1, 64, 64, 64), 1), codec, out _)!;
            Assert.InRange(alone.Unpack().max().item<float>(), 0.9f, 1.1f);

            Assert.Null(Pipeline.Pack(With(positive, float.NaN), codec, out var why));
            Assert.Equal(LeftRaw.NotFinite, why);
        }
    }

    [Fact]
    public void The_tiles_hold_the_coefficients_of_the_transforms()
    {
        (Transform Whole, MapShape Shape)[] cases = [(new Dct(), new(5, 1, 33, 19)), (new Dct(), new(2, 9, 17, 11)), (new Wavelet("haar"), new(9, 1, 24, 40))];
        float* x = stackalloc float[256], y = stackalloc float[256];
        foreach (var (whole, shape) in cases)
        {
            var tiles = new GridTiles(shape, Grid.Fused(whole, shape)!.Value);
            var values = Values(shape, relu: false);
            var expected = new float[whole.Coefficients(shape)];
            whole.Forward(values, shape, expected);
            var found = new List<float>();
            fixed (float* map = values)
                for (var tile = 0L; tile < tiles.Count; tile++)
                {
                    GridMover<SingleCells>.Gather(tiles, tile, map, x);
                    GridDefinition.Forward(x, y, tiles.Transform, tiles.RegionOf(tile));
                    for (var i = 0; i < 256; i++) found.Add(Math.Abs(y[i]));
                }
            var (wanted, got) = (expected.Select(Math.Abs).OrderDescending().ToArray(), found.OrderDescending().Take(expected.Length).ToArray());
            for (var i = 0; i < wanted.Length; i++) Assert.Equal(wanted[i], got[i], 1e-3);
        }
    }
}
