using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Selection;
using CsCheck;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>
/// The laws that every codec obeys on every awkward map. The class is one list of laws, each run over the table of codecs.
/// </summary>
[MeasuresMemory]
public sealed class CodecLaws : IDisposable
{
    // The maps are too small for more than one thread, and threads that wait in a busy loop are slow on a machine with other work.
    readonly int threads = get_num_threads();

    public CodecLaws() => set_num_threads(1);

    public void Dispose() => set_num_threads(threads);

    /// <summary>The codecs that every law runs over.</summary>
    public static IReadOnlyList<string> Table { get; } =
    [
        // These use the default storage, a grid.
        "st:1", "st:2", "st:4", "st:10", "st:100", "dct:1", "dct:2", "dct:4", "dct:10", "dct:100", "wt:haar:2", "wt:haar:4", "wt:haar:10",
        "wt:haar:100", "wt:db3:2", "wt:db3:10", "wt:db3:100", "dct:2.5,block=8", "dct:10,block=4", "dct:20,block=4", "wt:haar:6,levels=1",
        "wt:db3:4,levels=5", "wt:sym4:10,zeros=none", "wt:coif2:1000", "st:10,zeros=none", "dct:10,zeros=none", "wt:haar:10,zeros=none",
        "dct:1.5", "wt:haar:1", "wt:db3:1.2", "quant:8", "quant:4", "quant:2", "half", "bf16", "half,zeros=exact", "st:1,storage=compact",
        "dct:1.5,storage=compact", "st:10,storage=compact", "dct:10,storage=compact", "wt:haar:10,storage=compact",
        "wt:db3:10,storage=compact", "st:10,index=byte", "st:10,index=bitmap", "st:3,values=float16", "dct:3,values=bfloat16",
        "st:1,values=float32", "dct:4,values=float32,zeros=none", "dct:10,storage=paper", "dct:10,storage=paper,zeros=exact",
        "st:1,storage=paper", "wt:db2:1,storage=paper",
    ];

    /// <summary>The types that maps may have.</summary>
    public static IReadOnlyList<ScalarType> Types { get; } =
    [
        ScalarType.Float32, ScalarType.Float64, ScalarType.Float16, ScalarType.BFloat16,
    ];

    public static TheoryData<string> Codecs => [.. Table];

    [Theory, MemberData(nameof(Codecs))]
    public void What_is_packed_comes_back_in_shape_type_and_sign(string text)
    {
        var codec = ActivationCodec.Parse(text);
        foreach (var type in Types)
            foreach (var map in AwkwardMap.All)
            {
                using var scope = NewDisposeScope();
                var x = map.Tensor().to(type);
                using var packed = Pipeline.Pack(x, codec, out var why);
                if (packed is null)
                {
                    Assert.True(
                        why is LeftRaw.NotSmaller || (type == ScalarType.Float16 && why == LeftRaw.NotFinite),
                        $"{text} on {map} in {type}: {why}");
                    continue;
                }
                Assert.True(codec.EvenIfLarger || packed.Bytes < x.NumberOfElements * x.ElementSize, $"{text} on {map}");
                var back = packed.Unpack();
                Assert.Equal(x.shape, back.shape);
                Assert.Equal(x.dtype, back.dtype);
                Assert.True(back.isfinite().all().item<bool>(), $"{text} on {map} in {type}");
                if (packed.HasExactZeros)
                {
                    Assert.True(back.eq(0).Equals(x.eq(0)), $"{text} on {map} in {type}: other zeros");
                    Assert.True(back.ge(0).all().item<bool>(), $"{text} on {map} in {type}: a negative value");
                }
                using var same = PackedMap.FromBytes(packed.ToBytes());
                Assert.True(same.Unpack().Equals(back), $"{text} on {map}: other values from a file");
                Assert.Equal(packed.Bytes, same.Bytes);
            }
    }

    [Theory, InlineData("st:1,storage=paper", 0), InlineData("st:1,values=float32", 0), InlineData("dct:1,storage=paper", 1e-5)]
    [InlineData("wt:db3:1,storage=paper", 1e-5)]
    public void Ratio_1_in_exact_mode_gives_the_map_back(string text, double tolerance)
    {
        var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
        foreach (var map in AwkwardMap.All)
        {
            using var scope = NewDisposeScope();
            var x = map.Tensor();
            using var packed = Pipeline.Pack(x, codec, out _)!;
            var largest = x.abs().max().item<float>();
            var error = packed.Unpack().sub(x).abs_().max().item<float>();
            Assert.True(error <= tolerance * largest + 1.2e-38, $"{text} on {map}: {error}");
        }
    }

    [Theory, InlineData("half", ScalarType.Float16), InlineData("bf16", ScalarType.BFloat16)]
    public void Sixteen_bits_are_the_nearest_value_of_a_type_with_the_maps_range(string text, ScalarType type)
    {
        foreach (var map in AwkwardMap.All)
        {
            using var scope = NewDisposeScope();
            var x = map.Tensor();
            using var packed = Pipeline.Pack(x, ActivationCodec.Parse(text), out _)!;
            Assert.Equal(2 * x.NumberOfElements, packed.Bytes);
            var isInRange = x.abs().max().ToDouble() <= finfo(type).max;
            Assert.True(packed.Unpack().Equals(x.to(isInRange ? type : ScalarType.BFloat16).to(float32)), $"{text} on {map}");
        }
    }

    [Theory, InlineData(double.NaN), InlineData(double.PositiveInfinity), InlineData(double.NegativeInfinity), InlineData(3e38)]
    [InlineData(-1e300)]
    public void What_a_transform_would_spread_is_left_raw(double value)
    {
        using var scope = NewDisposeScope();
        foreach (var (shape, type) in ((long[], ScalarType)[])[
            ([2, 3, 16, 16], ScalarType.Float32), ([2, 3, 19, 13], ScalarType.BFloat16), ([1, 2, 5, 9, 10], ScalarType.Float16),
            ([7, 301], ScalarType.Float64),
        ])
            foreach (var at in (long[])[0, 131, -1])
            {
                var x = randn(shape).relu_().to(type);
                x.view(-1)[at] = value;
                foreach (var text in Table)
                {
                    Assert.Null(Pipeline.Pack(x, ActivationCodec.Parse(text), out var why));
                    Assert.Equal(LeftRaw.NotFinite, why);
                }
            }
    }

    [Fact]
    public void A_layer_counts_its_maps_that_were_left_raw()
    {
        using var scope = NewDisposeScope();
        foreach (var text in (string[])["dct:10", "wt:haar:10", "wt:db3:10", "st:10", "quant:4", "dct:10,storage=compact"])
        {
            var model = nn.Sequential(("tanh", nn.Tanh()), ("again", nn.Tanh()));
            using var compression = model.CompressActivations(ActivationCodec.Parse(text));
            var x = randn([4, 4, 16, 16], requires_grad: true);
            using (no_grad()) x[0, 0, 0, 0] = float.NaN;
            var y = model.call(x);
            Assert.All(compression.Report().Layers, layer => Assert.Equal(1, layer.NotFinite));
            compression.Backward(y.sum());
        }
    }

    [Fact]
    public void An_empty_map_is_left_raw()
    {
        foreach (var shape in (long[][])[
            [0], [0, 7], [3, 0], [0, 3, 16, 16], [2, 0, 16, 16], [2, 3, 0, 16], [2, 3, 16, 0], [1, 2, 0, 4, 4], [2, 2, 2, 2, 2, 0],
        ])
            foreach (var text in Table)
            {
                using var x = empty(shape);
                Assert.Null(Pipeline.Pack(x, ActivationCodec.Parse(text), out var why));
                Assert.Equal(LeftRaw.Empty, why);
            }
    }

    [Theory, MemberData(nameof(Codecs))]
    public void The_layout_in_memory_does_not_matter(string text)
    {
        using var scope = NewDisposeScope();
        var (x, volume) = (randn(2, 8, 20, 24).relu_(), randn([2, 4, 5, 9, 10]));
        (Tensor Plain, Tensor Other)[] layouts =
        [
            (x, ChannelsLast(x)),
            (x.to(bfloat16), ChannelsLast(x.to(bfloat16))),
            (volume, ChannelsLast(volume)),
            (x, x.transpose(2, 3).contiguous().transpose(2, 3)),
            (x, cat([x, x], 3)[TensorIndex.Ellipsis, ..24]),
            (x[0].repeat(3, 1, 1, 1), x[0].expand(3, 8, 20, 24)),
        ];
        var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
        foreach (var (plain, other) in layouts)
        {
            Assert.False(other.is_contiguous());
            using var expected = Pipeline.Pack(plain, codec, out _)!;
            using var packed = Pipeline.Pack(other, codec, out var why);
            Assert.Equal(LeftRaw.No, why);
            Assert.Equal(expected.ToBytes(), packed!.ToBytes());
        }

        static Tensor ChannelsLast(Tensor x) => x.flatten(2).transpose(1, 2).contiguous().transpose(1, 2).unflatten(2, x.shape[2..]);
    }

    [Theory, MemberData(nameof(Codecs))]
    public void Neither_the_map_nor_what_is_packed_changes(string text)
    {
        using var scope = NewDisposeScope();
        foreach (var type in Types)
        {
            var x = randn(2, 3, 20, 24).relu_().to(type);
            var before = x.clone();
            using var packed = Pipeline.Pack(x, ActivationCodec.Parse(text) with { EvenIfLarger = true }, out _)!;
            var bytes = packed.ToBytes();
            packed.Unpack().zero_();
            Assert.Equal(bytes, packed.ToBytes());
            Assert.True(x.Equals(before));
        }
    }

    // Packing takes the packed bytes, some chunks and the sample, and the workspace of a large map under a wavelet.
    [Theory]
    [InlineData("st:10", 4, 64, 128, 128), InlineData("dct:10", 4, 64, 128, 128), InlineData("wt:haar:10", 4, 64, 128, 128)]
    [InlineData("wt:db3:10", 4, 64, 128, 128)]
    [InlineData("dct:10", 4, 64, 4, 64, 64), InlineData("wt:haar:10", 4, 64, 8, 8, 256), InlineData("wt:db3:10", 1, 2, 64, 256, 128)]
    [InlineData("wt:haar:10", 1, 1, 2048, 2048)]
    [InlineData("wt:haar:10", 1 << 22), InlineData("wt:db3:10", 1 << 22), InlineData("wt:coif5:10,levels=5", 1 << 22)]
    [InlineData("wt:db3:10", 32, 1 << 17), InlineData("wt:haar:10", 1 << 19, 8), InlineData("wt:db3:10", 1 << 12, 32, 32)]
    public void Packing_takes_2_MiB_beside_the_packed_bytes_and_a_wavelet_s_large_map(string text, params int[] shape)
    {
        const long MiB = 1 << 20;
        set_num_threads(threads);
        var codec = ActivationCodec.Parse(text);
        using var x = randn([.. shape.Select(extent => (long)extent)]).relu_();
        Assert.Equal(16 * MiB, x.NumberOfElements * x.ElementSize);
        long bytes;
        using (var packed = Pipeline.Pack(x, codec, out _)!) bytes = packed.Bytes;
        Assert.InRange(
            Allocated.Usually(() => Allocated.Peak(() => Pipeline.Pack(x, codec, out _))), bytes,
            bytes + 2 * MiB + GridTests.OfLargeMap(codec, x.shape));
    }

    // A processor may be a hundred times slower near the smallest numbers, and so is each convolution of a backward pass on them.
    [Theory, InlineData("st:10"), InlineData("dct:10"), InlineData("wt:haar:10"), InlineData("wt:db3:10"), InlineData("quant:2")]
    [InlineData("st:10,storage=compact"), InlineData("dct:10,values=float16"), InlineData("st:10,values=float32")]
    public void What_is_kept_apart_from_zero_is_far_above_the_smallest_numbers(string text)
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        foreach (var type in (ScalarType[])[ScalarType.Float32, ScalarType.Float64, ScalarType.BFloat16])
        {
            var x = randn(8, 4, 32, 48).relu_().to(type);
            using var packed = Pipeline.Pack(x, ActivationCodec.Parse(text), out _)!;
            var back = packed.Unpack();
            Assert.True(back.ne(0).Equals(x.ne(0)));
            Assert.InRange(back.masked_select(x.ne(0)).min().to(float64).item<double>(), 1e-9, 1);
        }
    }

    [Fact]
    public void Any_map_comes_back_in_its_shape_with_its_zeros_and_no_more_error_than_its_coefficients_have_energy() =>
        Gen.Select(
            Gen.Int[0, Table.Count - 1], Gen.Int[0, Types.Count - 1], Gen.Long[1, 40].Array[1, 6], Gen.Bool, Gen.Double[-4, 4], Gen.Int)
            .Sample((codec, type, extents, relu, magnitude, seed) =>
            {
                const long Most = 10_000;
                for (var axis = 0; Elements(extents) > Most; axis = (axis + 1) % extents.Length) extents[axis] = (extents[axis] + 1) / 2;
                using var scope = NewDisposeScope();
                manual_seed(seed);
                var values = randn(extents).mul(Math.Pow(10, magnitude));
                var x = (relu ? values.relu() : values).to(Types[type]);
                var what = $"{Table[codec]} on ({string.Join(", ", extents)}) in {Types[type]}";
                using var packed = Pipeline.Pack(x, ActivationCodec.Parse(Table[codec]) with { EvenIfLarger = true }, out var why);
                Assert.True(why == LeftRaw.No, $"{what}: {why}");
                var back = packed!.Unpack();
                Assert.Equal(x.shape, back.shape);
                Assert.Equal(x.dtype, back.dtype);
                Assert.True(back.isfinite().all().item<bool>(), what);
                if (packed.HasExactZeros) Assert.True(back.eq(0).Equals(x.eq(0)), $"{what}: other zeros");
                // A wavelet's coefficients have more energy than an odd map, because it repeats the last elements.
                var coefficients = ActivationCodec.Parse(Table[codec]).Transform.Forward(MapValues.Flat(x), MapShape.Of(x.shape));
                double error = Energy(back.to(float64).sub(x.to(float64))), energy = Energy(coefficients.to(float64));
                var raised = x.NumberOfElements * Math.Pow(finfo(Types[type]).tiny, 2);    // values that are raised to differ from zero
                Assert.True(error <= 1.1 * energy + raised, $"{what}: an error of {error} where the coefficients have {energy}");

                static long Elements(long[] extents) => extents.Aggregate(1L, (a, b) => a * b);
                static double Energy(Tensor x) => x.square().sum().item<double>();
            }, iter: 1000, threads: 1);

    // The maps are smooth, which transforms are made for: a wave in each map, and a little noise.
    [Theory, InlineData("dct:2", 45), InlineData("dct:10", 38), InlineData("wt:haar:2", 33), InlineData("wt:db3:2", 40)]
    [InlineData("st:2", 9)]
    public void A_smooth_map_comes_back_well(string text, double decibels)
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        foreach (var (height, width) in ((int, int)[])[(32, 48), (33, 19), (28, 28)])
        {
            var rows = linspace(0, 3, height).view(-1, 1);
            var columns = linspace(0, 2, width);
            var x = rows.add(columns).add(arange(6).view(6, 1, 1)).sin().add(randn(6, height, width).mul(0.003)).unsqueeze(0);
            using var packed = Pipeline.Pack(x, ActivationCodec.Parse(text), out _)!;
            var psnr = Quality.Psnr(x, packed.Unpack());
            Assert.True(psnr > decibels, $"{height} x {width}: {psnr} dB");
        }
    }

    [Fact]
    public void Nothing_is_left_behind()
    {
        using var scope = NewDisposeScope();
        var x = randn(2, 8, 20, 24).relu_();
        foreach (var text in Table)
        {
            var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
            Pipeline.Pack(x, codec, out _)!.Dispose();
            var before = Tensor.TotalCount;
            using (var packed = Pipeline.Pack(x, codec, out _)!)
            using (packed.Unpack()) { }
            Assert.True(Tensor.TotalCount == before, $"{text}: {Tensor.TotalCount - before} tensors more");
        }
        var (_, indices) = nn.functional.max_pool2d_with_indices(x, [2L, 2]);
        var rest = Tensor.TotalCount;
        using (var packed = ExactIndices.Pack(indices)!)
        using (packed.Unpack()) { }
        Assert.Equal(rest, Tensor.TotalCount);
    }

    [Fact]
    public void The_0_largest_are_none()
    {
        var positions = new long[] { 7 };
        TopK.Select([1, 2, 3], 0, [], []);
        TopK.Select([1, 2, 3], 0, positions, [5]);
        Assert.Equal([7], positions);
    }

    [Fact]
    public void Top_k_keeps_the_largest_and_of_equals_the_first() =>
        Gen.Select(Gen.Float[-3, 3].Select(x => MathF.Round(x * 4) / 4).Array[1, 500], Gen.Double[0, 1]).Sample((values, share) =>
        {
            var k = 1 + (long)(share * (values.Length - 1));
            var expected = Enumerable.Range(0, values.Length).OrderByDescending(i => Math.Abs(values[i])).ThenBy(i => i).Take((int)k)
                .Order().Select(i => (long)i).ToArray();
            var (positions, kept) = (new long[k], new float[k]);
            TopK.Select(values, k, positions, kept);
            Assert.Equal(expected, positions);
            Assert.Equal([.. expected.Select(i => values[i])], kept);

            using var scope = NewDisposeScope();
            var byTorch = TopK.SelectByTorch(tensor(values), k);
            Assert.Equal(expected, byTorch.Positions!.data<long>().ToArray());
            Assert.Equal(kept, byTorch.Values.data<float>().ToArray());
        }, iter: 300);

    [Fact]
    public void Faces_of_bits_and_of_quantisation_write_the_same_bytes()
    {
        foreach (var map in AwkwardMap.All)
        {
            using var scope = NewDisposeScope();
            var x = map.Tensor().view(-1);
            var positive = x.gt(0);
            var bits = ExactBits.ToBits(positive);
            Assert.True(bits.Equals(ExactBits.ToBitsByTorch(positive)), $"bits of {map}");
            Assert.True(positive.Equals(ExactBits.FromBits(bits, x.NumberOfElements)));
            Assert.True(positive.Equals(ExactBits.FromBitsByTorch(bits, x.NumberOfElements)));
            foreach (var quantized in (Quantized[])[new(8), new(4), new(2)])
            {
                using var plain = Pipeline.Pack(
                    x, ActivationCodec.Quantized(quantized.Bits) with { ExactZeros = false, EvenIfLarger = true }, out var why);
                if (plain is null)
                {
                    Assert.NotEqual(LeftRaw.NotSmaller, why);
                    continue;
                }
                var byTorch = quantized.EncodeByTorch(x, (x.NumberOfElements + 255) / 256);
                Assert.True(((Sections)plain.Stored).Encoded[0].Equals(byTorch[0]), $"scales of {map}");
                Assert.True(((Sections)plain.Stored).Encoded[1].Equals(byTorch[1]), $"codes of {map} in {quantized.Bits} bits");
                Assert.True(
                    plain.Unpack().allclose(quantized.DecodeByTorch(byTorch[0], byTorch[1], x.NumberOfElements), 1e-6, 0),
                    $"values of {map}");
            }
        }
    }

    [Fact]
    public void Quantisation_stores_no_sign_of_a_zero()
    {
        using var zeros = torch.zeros(8, 256);
        using var signed = zeros.neg();
        foreach (var bits in (int[])[8, 4, 2])
        {
            using var plain = Pipeline.Pack(zeros, ActivationCodec.Quantized(bits), out _)!;
            using var withSigns = Pipeline.Pack(signed, ActivationCodec.Quantized(bits), out _)!;
            Assert.Equal(plain.ToBytes(), withSigns.ToBytes());
        }
    }

    [Theory, InlineData(-1), InlineData(0), InlineData(1)]
    public void Quantisation_keeps_zeros_bits_only_where_there_are_zeros_and_nothing_below(int third)
    {
        using var map = ones(8, 256);
        map[5, 7] = 3;
        map[0, 3] = third;
        using var packed = Pipeline.Pack(map, ActivationCodec.Quantized(4), out _)!;
        using var without = Pipeline.Pack(map, ActivationCodec.Quantized(4) with { ExactZeros = false }, out _)!;
        Assert.Equal(third == 0 ? 8 * 256 / 8 : 0, packed.Bytes - without.Bytes);
    }

    [Fact]
    public void Stochastic_rounding_is_right_on_average()
    {
        using var scope = NewDisposeScope();
        var x = full(1 << 16, 0.3f);
        x[TensorIndex.Slice(step: 256)] = 0;
        x[TensorIndex.Slice(start: 1, step: 256)] = 1;
        var quantized = new Quantized(2);
        using var packed = Pipeline.Pack(x, ActivationCodec.Quantized(2), out _)!;
        Assert.Equal(x.mean().item<float>(), packed.Unpack().mean().item<float>(), 2e-3);
        Assert.Equal(
            x.mean().item<float>(),
            quantized.Decode(quantized.Encode(new Kept(null, x), x.NumberOfElements), x.NumberOfElements).mean().item<float>(), 2e-3);
    }

    [Fact]
    public void Pooling_indices_come_back_exactly_in_few_bits()
    {
        using var scope = NewDisposeScope();
        var planes = randn(8, 16, 30, 26);
        var volumes = randn([4, 8, 10, 12, 8]);
        (string Name, Tensor Indices, double BytesEach)[] pools =
        [
            ("2 x 2", nn.functional.max_pool2d_with_indices(planes, [2, 2]).indices, 0.3),
            ("3 x 3, stride 2, padded", nn.functional.max_pool2d_with_indices(planes, [3, 3], [2, 2], [1, 1]).indices, 1.1),
            (
                "2 x 2, ceil", nn.functional.max_pool2d_with_indices(planes[TensorIndex.Ellipsis, ..25], [2, 2], ceil_mode: true).indices,
                0.3),
            ("2 x 2 x 2", nn.functional.max_pool3d_with_indices(volumes, [2, 2, 2]).indices, 1.1),
            ("2 x 2 x 2 of slices of 4096", nn.functional.max_pool3d_with_indices(randn([8, 2, 4, 64, 64]), [2, 2, 2]).indices, 1.1),
            ("adaptive", nn.functional.adaptive_max_pool2d_with_indices(planes, [7, 5]).Indices, 1.3),
            ("one map", nn.functional.max_pool2d_with_indices(randn(1, 1, 30, 26), [2, 2]).indices, 4.1),
        ];
        foreach (var (name, indices, bytesEach) in pools)
        {
            using var packed = ExactIndices.Pack(indices)!;
            Assert.True(packed.Unpack().Equals(indices), name);
            Assert.True(
                packed.Bytes <= bytesEach * indices.NumberOfElements,
                $"{name}: {packed.Bytes / (double)indices.NumberOfElements} bytes an index");
        }
        Assert.Null(ExactIndices.Pack(randint(0, 1L << 40, [4, 100])));
    }

    // The lengths of rows are no multiple of a vector's length, and windows reach into the next row or are cut off by the edge.
    [Fact]
    public void Pooling_indices_of_every_window_come_back_exactly()
    {
        set_num_threads(threads);
        using var scope = NewDisposeScope();
        var (packed, raw) = (0, new List<string>());
        foreach (var width in (long[])[7, 8, 31, 32, 33, 64, 65])
            foreach (var (channels, height) in ((long, long)[])[(1, 9), (5, 12), (64, 31)])
            {
                var planes = randn(2, channels, height, width);
                foreach (var window in (long[])[1, 2, 3, 5, 7])
                    foreach (var stride in (long[])[1, 2, 3])
                        foreach (var dilation in (long[])[1, 2])
                            foreach (var ceil in (bool[])[false, true])
                            {
                                var (reach, padding) = (dilation * (window - 1), window / 2);
                                if (reach >= Math.Min(height, width) + 2 * padding) continue;
                                using var inner = NewDisposeScope();
                                var indices = nn.functional.max_pool2d_with_indices(
                                    planes, [window, window], [stride, stride], [padding, padding], [dilation, dilation], ceil).indices;
                                Check(indices, $"{window}, stride {stride}, dilation {dilation}{(ceil ? ", ceil" : "")} of {channels} x "
                                    + $"{height} x {width}");
                            }
            }
        foreach (var window in (long[])[2, 3])
            foreach (var stride in (long[])[1, 2, 3])
            {
                using var inner = NewDisposeScope();
                var pooled = nn.functional.max_pool3d_with_indices(
                    randn([2, 3, 7, 9, 31]), [window, window, window], [stride, stride, stride], [1, 1, 1]);
                Check(pooled.indices, $"{window} cubed, stride {stride}");
            }
        Assert.True(packed > 900 && raw.Count < packed / 10, $"{packed} packed, these not: {string.Join("; ", raw)}");

        void Check(Tensor indices, string what)
        {
            using var few = ExactIndices.Pack(indices);
            if (few is null)
            {
                raw.Add(what);
                return;
            }
            packed++;
            Assert.True(few.Unpack().Equals(indices), what);
            Assert.True(few.Bytes < indices.NumberOfElements * sizeof(long), what);
        }
    }

    // These numbers of differences to the first index of a place need codes of 0, 1, 2, 4 or 8 bits, and one needs more than a byte.
    [Theory]
    [InlineData(1, 0), InlineData(2, 1), InlineData(3, 2), InlineData(4, 2), InlineData(5, 4), InlineData(16, 4), InlineData(17, 8)]
    [InlineData(64, 8), InlineData(65, 8), InlineData(66, 8), InlineData(256, 8), InlineData(257, null)]
    public void Indices_take_the_bits_that_tell_their_differences_apart(int distinct, int? bitsEach)
    {
        using var scope = NewDisposeScope();
        const int Maps = 600, Places = 37;
        var differences = arange(Maps * Places, int64).mul(7).remainder(distinct).view(Maps, Places);
        differences[0].zero_();
        var indices = differences.add(arange(Places, int64).mul(1000));
        Assert.Equal(distinct, differences.unique().output.NumberOfElements);
        using var packed = ExactIndices.Pack(indices.view(Maps, 1, Places));
        if (bitsEach is not { } bits)
        {
            Assert.Null(packed);
            return;
        }
        Assert.True(packed!.Unpack().Equals(indices.view(Maps, 1, Places)));
        Assert.Equal((Places + distinct) * sizeof(int) + (Maps * Places * bits + 7) / 8, packed.Bytes);
    }

    [Theory, InlineData((1L << 22) - 1, true), InlineData(1L << 22, false), InlineData(int.MaxValue, false), InlineData(-1, false)]
    public void Indices_too_far_apart_to_be_a_poolings_are_left_raw(long farthest, bool isPacked)
    {
        using var indices = zeros([64, 1, 8], int64);
        using (var last = indices[63, 0]) last.fill_(farthest);
        using var packed = ExactIndices.Pack(indices);
        Assert.Equal(isPacked, packed is not null);
        if (packed is null) return;
        using var back = packed.Unpack();
        Assert.True(back.Equals(indices));
    }

    [Fact]
    public void Mse_and_psnr_are_the_papers()
    {
        using var scope = NewDisposeScope();
        var (x, y) = (tensor(new[] { 0f, 3f, 4f, 8f }), tensor(new[] { 0f, 3f, 2f, 8f }));
        Assert.Equal(1, Quality.Mse(x, y), 12);
        Assert.Equal(10 * Math.Log10(64), Quality.Psnr(x, y), 12);
        Assert.Equal(10 * Math.Log10(255.0 * 255), Quality.Psnr(x, y, 255), 12);
        Assert.Equal(double.PositiveInfinity, Quality.Psnr(x, x));
    }
}
