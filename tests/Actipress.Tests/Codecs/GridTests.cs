using Actipress.Benchmarks;
using Actipress.Codecs;
using Actipress.Grid;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;
using Actipress.Machine;
using Actipress.Selection;
using Actipress.Transforms;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>Grid storage: every face equals the definition, and the rebuilt map is near the original.</summary>
[MeasuresMemory]
public unsafe class GridTests
{
    static readonly (string Name, MapShape Shape, Transform Transform)[] tilings =
    [
        ("whole blocks", new(3, 1, 32, 48), new Dct()),
        ("many planes", new(70, 1, 48, 48), new Dct()),
        ("ragged planes", new(5, 1, 33, 19), new Dct()),
        ("planes of 28 x 28", new(12, 1, 28, 28), new Dct()),
        ("many planes of 26 x 26", new(600, 1, 26, 26), new Dct()),
        ("planes of 8 x 8", new(33, 1, 8, 8), new Dct()),
        ("planes of 7 x 5", new(20, 1, 7, 5), new Dct()),
        ("planes of 2 x 2", new(300, 1, 2, 2), new Dct()),
        ("planes of 1 x 1", new(300, 1, 1, 1), new Dct()),
        ("lines", new(7, 1, 1, 300), new Dct()),
        ("one element", new(1, 1, 1, 1), new Dct()),
        ("volumes", new(4, 8, 16, 24), new Dct()),
        ("ragged volumes", new(2, 9, 17, 11), new Dct()),
        ("volumes of 2 x 3 x 4", new(9, 2, 3, 4), new Dct()),
        ("blocks of 8", new(3, 1, 32, 48), new Dct(8)),
        ("blocks of 8, ragged", new(5, 1, 33, 19), new Dct(8)),
        ("blocks of 8 in volumes", new(4, 8, 16, 24), new Dct(8)),
        ("blocks of 8 in ragged volumes", new(2, 9, 17, 11), new Dct(8)),
        ("blocks of 4", new(3, 1, 32, 48), new Dct(4)),
        ("blocks of 4, ragged", new(5, 1, 33, 19), new Dct(4)),
        ("blocks of 4 in volumes", new(4, 8, 16, 24), new Dct(4)),
        ("blocks of 4 in ragged volumes", new(2, 9, 17, 11), new Dct(4)),
        ("blocks of 4 in lines", new(7, 1, 1, 300), new Dct(4)),
        ("haar", new(9, 1, 24, 40), new Wavelet("haar")),
        ("haar, 1 level", new(9, 1, 24, 40), new Wavelet("haar", 1)),
        ("haar, 5 levels", new(3, 1, 64, 96), new Wavelet("haar", 5)),
        ("haar, ragged", new(5, 1, 33, 19), new Wavelet("haar")),
        ("haar, many planes of 16 x 16", new(300, 1, 16, 16), new Wavelet("haar")),
        ("haar, many planes of 26 x 26", new(100, 1, 26, 26), new Wavelet("haar")),
        ("haar, many planes of 4 x 4, 1 level", new(70, 1, 4, 4), new Wavelet("haar", 1)),
        ("haar, volumes", new(3, 8, 16, 24), new Wavelet("haar")),
        ("haar, many volumes of 8 x 12 x 8", new(40, 8, 12, 8), new Wavelet("haar")),
        ("haar, volumes of odd depth", new(9, 5, 18, 20), new Wavelet("haar")),
        ("db3", new(5, 1, 32, 48), new Wavelet("db3")),
        ("db3, rows that fill registers", new(5, 1, 48, 32), new Wavelet("db3")),
        ("db2, rows that fill registers", new(5, 1, 48, 32), new Wavelet("db2")),
        ("coif5, rows that fill registers", new(5, 1, 48, 31), new Wavelet("coif5")),
        ("db4, volumes whose rows fill registers", new(2, 8, 24, 32), new Wavelet("db4")),
        ("db3, several units", new(70, 1, 48, 40), new Wavelet("db3")),
        ("db3, a unit of two chunks", new(2, 1, 300, 280), new Wavelet("db3")),
        ("db3, ragged", new(5, 1, 33, 19), new Wavelet("db3")),
        ("db3, ragged and wide", new(5, 1, 21, 75), new Wavelet("db3", 5)),
        ("db3, planes of 8 x 8", new(33, 1, 8, 8), new Wavelet("db3")),
        ("db3, planes of 7 x 5", new(20, 1, 7, 5), new Wavelet("db3")),
        ("db3, planes of 2 x 2", new(300, 1, 2, 2), new Wavelet("db3")),
        ("db3, planes of 1 x 1", new(300, 1, 1, 1), new Wavelet("db3")),
        ("db3, rows of one element", new(6, 1, 40, 1), new Wavelet("db3")),
        ("db3, lines", new(7, 1, 1, 300), new Wavelet("db3")),
        ("db3, short lines", new(50, 1, 1, 11), new Wavelet("db3")),
        ("db3, one map", new(1, 1, 7, 9), new Wavelet("db3")),
        ("db3, volumes", new(3, 8, 16, 24), new Wavelet("db3")),
        ("db3, ragged volumes", new(2, 9, 17, 11), new Wavelet("db3")),
        ("db3, ragged and wide volumes", new(2, 5, 9, 37), new Wavelet("db3")),
        ("db3, a volume of two chunks", new(1, 34, 40, 66), new Wavelet("db3")),
        ("haar, a large volume", new(1, 66, 64, 65), new Wavelet("haar")),
        ("db3, large planes", new(2, 1, 517, 523), new Wavelet("db3", 5)),
        ("db2, ragged", new(5, 1, 33, 39), new Wavelet("db2")),
        ("coif2", new(5, 1, 32, 48), new Wavelet("coif2")),
        ("coif2, volumes of 2 x 3 x 4", new(9, 2, 3, 4), new Wavelet("coif2", 5)),
        ("coif5, planes of 3 x 34", new(4, 1, 3, 34), new Wavelet("coif5")),
        ("values", new(3, 1, 33, 70), new Identity()),
    ];

    public static TheoryData<string> Tilings => [.. tilings.Select(tiling => tiling.Name)];

    static (MapShape Shape, Transform Transform, GridTiles Tiles) Tiling(string name)
    {
        var (_, shape, transform) = tilings.Single(tiling => tiling.Name == name);
        return (shape, transform, GridFormat.Tiles(transform, shape));
    }

    static float[] Values(MapShape shape, bool relu)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, (int)shape.Elements).Select(i =>
        {
            var value = (float)(Math.Sin(i * 0.05) + 0.3 * (random.NextDouble() - random.NextDouble()) + (i % 997 == 0 ? 40 : 0));
            return relu ? Math.Max(0, value) : value;
        })];
    }

    static (byte[] Bytes, float[] Back) Through<TFace>(float[] values, GridTiles tiles, double ratio, int threads)
        where TFace : struct, IGridFace
    {
        fixed (float* map = values)
        {
            using var packed = GridMap.Pack<TFace>(
                map, ScalarType.Float32, tiles, new Keep.TopK(ratio), exactZeros: true, PackLimits.None, threads, out var why)!;
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
        var (shape, transform, tiles) = Tiling(name);
        foreach (var relu in (bool[])[false, true])
            foreach (var ratio in (double[])[1, 3, 10, 200])
            {
                var values = Values(shape, relu);
                var bytesWanted = Definition.Pack(values, shape, transform, new Keep.TopK(ratio), exactZeros: true)!;
                (byte[] Bytes, float[] Back) definition =
                    (bytesWanted, Definition.Unpack(bytesWanted, shape, transform, SingleCells.Smallest));
                (string, (byte[] Bytes, float[] Back))[] faces =
                [
                    ("plain", Through<GridPlain>(values, tiles, ratio, 1)),
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

    [Theory]
    [InlineData("haar", 3, 1, 300, 280), InlineData("db3", 3, 1, 300, 280), InlineData("db3", 5, 1, 517, 333)]
    [InlineData("coif5", 3, 1, 700, 768)]
    [InlineData("haar", 3, 34, 40, 66), InlineData("db3", 3, 34, 41, 67), InlineData("db2", 5, 41, 47, 39)]
    [InlineData("coif5", 5, 40, 64, 64), InlineData("db4", 4, 1, 1000, 90)]
    [InlineData("db3", 3, 66, 1, 1100), InlineData("db3", 5, 2, 300, 200), InlineData("haar", 5, 33, 45, 67)]
    [InlineData("haar", 3, 1, 333, 281), InlineData("db3", 3, 70_000, 1, 1)]
    [InlineData("db3", 3, 300, 300, 1), InlineData("db2", 5, 3, 500, 300), InlineData("db3", 3, 1, 70_000, 1)]
    [InlineData("haar", 3, 1, 1, 70_001), InlineData("db3", 3, 1, 1, 300_000), InlineData("db2", 5, 1, 1, 131_077)]
    [InlineData("coif5", 5, 1, 1, 99_999), InlineData("db4", 1, 1, 1, 65_540)]
    public void Large_maps_have_the_same_bytes_and_values_whoever_works_on_them(string family, int levels, int depth, int height, int width)
    {
        var shape = new MapShape(2, depth, height, width);
        var tiles = GridFormat.Tiles(new Wavelet(family, levels), shape);
        Assert.True(tiles.Wavelet!.IsLarge);
        foreach (var relu in (bool[])[false, true])
        {
            var values = Values(shape, relu);
            var definition = Through<GridPlain>(values, tiles, 3, 1);
            foreach (var threads in (int[])[1, 2, 7])
            {
                var (bytes, back) = Through<GridLanes<Lanes16>>(values, tiles, 3, threads);
                Assert.True(bytes.AsSpan().SequenceEqual(definition.Bytes), $"{threads} threads: other bytes");
                Assert.True(back.AsSpan().SequenceEqual(definition.Back), $"{threads} threads: other values");
            }
        }
    }

    // Returns the coefficients in the tiles of a map, and the map rebuilt from them.
    static (float[] Coefficients, float[] Back) Through<TFace>(float[] values, GridTiles tiles) where TFace : struct, IGridFace
    {
        var coefficients = new List<float>();
        var back = new float[values.Length];
        fixed (float* map = values, to = back)
            if (tiles.Wavelet is { IsLarge: true } large)
            {
                using var team = new GridTeam<TFace>(large, threads: 1, inPlace: true, divides: false);
                for (var index = 0L; index < large.Units; index++)
                {
                    team.Forward(map + index * large.Elements);
                    coefficients.AddRange(new Span<float>(team.Coefficients, large.Coefficients));
                    team.Inverse(to + index * large.Elements, null);
                }
            }
            else if (tiles.Wavelet is { } wavelet)
            {
                using var unit = new GridUnit<TFace>(wavelet);
                for (var index = 0L; index < wavelet.Units; index++)
                {
                    var (first, maps) = (index * wavelet.MapsPerUnit * wavelet.Elements, wavelet.Maps(index));
                    for (var start = 0; start < maps; start += wavelet.Together)
                    {
                        var together = Math.Min(wavelet.Together, maps - start);
                        new Span<float>(map + first + start * wavelet.Elements, together * wavelet.Elements)
                            .CopyTo(new Span<float>(unit.Values, together * wavelet.Elements));
                        unit.Forward(unit.Values, start, together, maps);
                    }
                    coefficients.AddRange(new Span<float>(unit.Coefficients, maps * wavelet.Coefficients));
                    for (var start = 0; start < maps; start += wavelet.Together)
                    {
                        var together = Math.Min(wavelet.Together, maps - start);
                        unit.Inverse(unit.Values, start, together, maps);
                        new Span<float>(unit.Values, together * wavelet.Elements)
                            .CopyTo(new Span<float>(to + first + start * wavelet.Elements, together * wavelet.Elements));
                    }
                }
            }
            else
            {
                float* x = stackalloc float[256], y = stackalloc float[256];
                var (read, written) = (new GridWalk(tiles, 0), new GridWalk(tiles, 0));
                for (; read.Tile < tiles.Count; read.Next(), written.Next())
                {
                    GridMover<SingleCells>.Gather(ref read, map, x);
                    TFace.Forward(x, 16, x, y, tiles.Transform, read.Region);
                    coefficients.AddRange(new Span<float>(y, 256));
                    TFace.Inverse(y, x, tiles.Transform, read.Region, ~0u);
                    GridMover<SingleCells>.Scatter(ref written, x, to);
                }
            }
        return ([.. coefficients], back);
    }

    [Theory, MemberData(nameof(Tilings))]
    public void Tiles_keep_the_energy_and_give_the_map_back(string name)
    {
        var (shape, transform, tiles) = Tiling(name);
        var values = Values(shape, relu: false);
        var (coefficients, back) = Through<GridPlain>(values, tiles);
        // A wavelet adds energy where it pads an odd axis.
        if (transform.Coefficients(shape) == shape.Elements)
            Assert.Equal(1, coefficients.Sum(y => (double)y * y) / values.Sum(x => (double)x * x), 1e-5);
        var error = values.Zip(back, (x, y) => Math.Abs(x - y)).Max();
        Assert.True(error < 1e-4, $"{error}");
    }

    [Theory, MemberData(nameof(Tilings))]
    public void Tiles_hold_the_coefficients_of_the_transform(string name)
    {
        var (shape, transform, tiles) = Tiling(name);
        var values = Values(shape, relu: false);
        var (found, _) = Through<GridPlain>(values, tiles);
        var wanted = new List<float>();
        var perUnit = tiles.Wavelet?.MapsPerUnit ?? shape.Maps;
        for (var first = 0L; first < shape.Maps; first += perUnit)
        {
            var part = shape with { Maps = Math.Min(perUnit, shape.Maps - first) };
            var coefficients = new float[transform.Coefficients(part)];
            transform.Forward(values.AsSpan((int)(first * shape.MapElements), (int)part.Elements), part, coefficients);
            wanted.AddRange(coefficients);
        }
        AreHeld(wanted, found, inOrder: tiles.Transform != TileTransform.Cosine);
    }

    // Tiles of blocks have an order of their own, and padding.
    static void AreHeld(List<float> wanted, float[] found, bool inOrder)
    {
        if (!inOrder) (wanted, found) = ([.. wanted.Select(Math.Abs).OrderDescending()], [.. found.Select(Math.Abs).OrderDescending()]);
        Assert.All(found[wanted.Count..], fill => Assert.Equal(0, fill));
        for (var i = 0; i < wanted.Count; i++)
            Assert.True(Math.Abs(wanted[i] - found[i]) < 1e-3, $"coefficient {i}: {found[i]}, wanted {wanted[i]}");
    }

    [Theory, InlineData("st:10"), InlineData("dct:10"), InlineData("dct:1"), InlineData("dct:1.5"), InlineData("dct:10,block=4")]
    [InlineData("wt:haar:10"), InlineData("wt:db3:10"), InlineData("wt:coif5:10,levels=5")]
    public void A_pack_takes_its_result_a_MiB_a_thread_and_of_a_wavelet_s_large_map_one(string text)
    {
        var codec = ActivationCodec.Parse(text);
        foreach (var shape in (long[][])[
            [16, 64, 64, 64], [32, 128, 28, 28], [64, 1024, 7, 7], [8, 32, 150, 130], [16, 16, 16, 33, 32], [1, 4, 96, 96, 96],
            [1, 16, 64, 64, 64], [1, 2, 128, 128, 128], [1, 2, 1500, 1400],
        ])
        {
            using var x = randn(shape).relu_();
            var beside = Allocated.AtLeast(() => Beside(x));
            Assert.True(
                beside <= (Math.Max(2, get_num_threads()) << 20) + OfLargeMap(codec, shape),
                $"{text} on {string.Join(" x ", shape)}: {beside} bytes");
        }

        long Beside(Tensor x)
        {
            using var meter = AllocatorMeter.Start();
            var before = AllocatorMeter.CurrentBytes;
            using var packed = Pipeline.Pack(x, codec, out _)!;
            return meter.PeakBytes - before - packed.Bytes;
        }
    }

    [Theory, InlineData("st:10", 1), InlineData("dct:10", 1), InlineData("wt:haar:10", 2), InlineData("wt:db3:10", 3)]
    public void Unpacking_takes_the_result_few_MiB_and_of_a_wavelet_s_large_map_one(string text, int mebibytes)
    {
        var codec = ActivationCodec.Parse(text);
        foreach (var shape in (long[][])[
            [16, 64, 64, 64], [1, 4, 96, 96, 96], [1, 16, 64, 64, 64], [1, 2, 128, 128, 128], [1, 2, 1500, 1400],
        ])
        {
            using var x = randn(shape).relu_();
            using var packed = Pipeline.Pack(x, codec, out _)!;
            var beside = Allocated.AtLeast(() => Allocated.Peak(packed.Unpack)) - x.NumberOfElements * sizeof(float);
            Assert.True(
                beside <= (mebibytes * Math.Max(2, get_num_threads()) / 2 << 20) + OfLargeMap(codec, shape),
                $"{text} on {string.Join(" x ", shape)}: {beside} bytes");
        }
    }

    /// <summary>
    /// The workspace of a map that is a wavelet unit by itself: its coefficients, the low bands of its levels, and buffers of the length of
    /// a row.
    /// </summary>
    internal static long OfLargeMap(ActivationCodec codec, long[] extents)
    {
        var shape = MapShape.Of(extents);
        if (codec.Transform is not Wavelet || shape.MapElements <= 1 << 16) return 0;
        // Maps of at most 2^18 coefficients have a thread each.
        var threads = shape.MapElements <= 1 << 18 ? Math.Max(2, get_num_threads()) : 1;
        return sizeof(float) * threads * (shape.MapElements * 4 / 3 + (shape.MapElements == shape.Width ? 5L * shape.Width : 0));
    }

    [Theory, InlineData("dct:1"), InlineData("dct:1.01"), InlineData("wt:db3:1"), InlineData("wt:haar:1")]
    public void Towards_ratio_1_a_map_is_nearer_than_8_bit_integers_bring_it_and_keeps_to_13_bits(string text)
    {
        using var scope = NewDisposeScope();
        var normal = randn(4, 16, 64, 64);
        var smooth = normal.cumsum(-1).cumsum(-2);
        foreach (var (name, map) in ((string, Tensor)[])[("normal", normal), ("smooth", smooth), ("smooth, after a relu", smooth.relu())])
        {
            using var packed = Pipeline.Pack(map, ActivationCodec.Parse(text), out _)!;
            using var integers = Pipeline.Pack(map, ActivationCodec.Parse($"{text},storage=compact"), out _)!;
            var (psnr, psnrOfIntegers) = (Quality.Psnr(map, packed.Unpack()), Quality.Psnr(map, integers.Unpack()));
            Assert.True(
                packed.Bytes < 1.65 * map.NumberOfElements,
                $"{text}, {name}: {packed.Bytes / (double)map.NumberOfElements} bytes an element");
            Assert.True(psnr > psnrOfIntegers, $"{text}, {name}: {psnr} dB beside {psnrOfIntegers}");
        }
    }

    [Theory]
    [InlineData("wt:haar:10", "resnet20.relu", 2, new[] { 512L, 700 }), InlineData("wt:db3:10", "resnet20.relu", 3, new[] { 300L, 400 })]
    [InlineData("wt:db3:4", "resnet20.layer1.1.conv1", 2, new[] { 512L, 512 })]
    [InlineData("wt:haar:10", "unet3d.down1.conv2", 4, new[] { 64L, 64, 64 })]
    [InlineData("wt:db3:10", "unet3d.up1.relu1", 3, new[] { 50L, 60, 70 })]
    [InlineData("wt:coif5:10", "unet3d.down1.relu1", 2, new[] { 20L, 70, 70 })]
    public void Of_a_large_map_about_one_coefficient_in_the_ratio_is_kept(string text, string name, int maps, long[] extents)
    {
        var codec = ActivationCodec.Parse(text);
        using var map = RealMaps.ReadLarge(name, maps, extents);
        using var packed = Pipeline.Pack(map, codec, out _)!;
        var wavelet = GridFormat.Tiles(codec.Transform, MapShape.Of(map.shape)).Wavelet!;
        Assert.True(wavelet.IsLarge);
        using var team = new GridTeam<GridLanes<Lanes16>>(wavelet, threads: 1, inPlace: true, divides: true);
        long kept = 0;
        fixed (float* values = map.data<float>().ToArray())
            for (var i = 0; i < maps; i++)
            {
                team.Forward(values + (long)i * wavelet.Elements);
                foreach (var c in new Span<float>(team.Coefficients, wavelet.Coefficients))
                    if (Math.Abs(c) >= ((GridOnCpu)packed.Stored).Grid.Step) kept++;
            }
        Assert.InRange(kept * ((Keep.TopK)codec.Keep).Ratio / map.NumberOfElements, 0.85, 1.15);
    }

    // There are 1024 tiles, of which one in 16 is sampled, or two large maps, of which strips are sampled. One value differs, and the
    // sample contains it at few of these positions.
    [Theory, InlineData("st:10", 64, 64, 64), InlineData("dct:10", 64, 64, 64), InlineData("wt:haar:10", 64, 64, 64)]
    [InlineData("wt:haar:10", 2, 512, 256)]
    public void What_the_sample_missed_is_packed_all_the_same(string text, int channels, int height, int width)
    {
        var codec = ActivationCodec.Parse(text);
        using var scope = NewDisposeScope();
        var positive = rand(1, channels, height, width).add_(1);
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
            using var alone = Pipeline.Pack(With(zeros(1, channels, height, width), 1), codec, out _)!;
            Assert.InRange(alone.Unpack().max().item<float>(), 0.9f, 1.1f);

            Assert.Null(Pipeline.Pack(With(positive, float.NaN), codec, out var why));
            Assert.Equal(LeftRaw.NotFinite, why);
        }
    }
}
