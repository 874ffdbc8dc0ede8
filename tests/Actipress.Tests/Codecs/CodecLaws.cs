using CsCheck;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>What holds for every codec on every awkward map.</summary>
public class CodecLaws
{
    static readonly string[] codecs =
    [
        "st:1", "st:10", "dct:1", "dct:10", "dct:2.5,block=8", "wt:haar:10", "wt:db3:4,levels=5", "wt:coif2:1000", "quant:8", "quant:4", "quant:2",
        "st:10,index=byte", "st:10,index=bitmap", "st:3,values=float16", "dct:4,values=float32,zeros=none", "dct:10,storage=paper", "st:1,storage=paper", "wt:db2:1,storage=paper",
    ];

    static readonly ScalarType[] types = [ScalarType.Float32, ScalarType.Float64, ScalarType.Float16, ScalarType.BFloat16];

    public static TheoryData<string> Codecs => [.. codecs];

    [Theory, MemberData(nameof(Codecs))]
    public void What_is_packed_comes_back_in_shape_type_and_sign(string text)
    {
        var codec = ActivationCodec.Parse(text);
        foreach (var type in types)
            foreach (var map in AwkwardMap.All)
            {
                using var scope = NewDisposeScope();
                var x = map.Tensor().to(type);
                using var packed = Pipeline.Pack(x, codec, out var why);
                if (packed is null)
                {
                    Assert.True(why is LeftRaw.NotSmaller || (type == ScalarType.Float16 && why == LeftRaw.NotFinite), $"{text} on {map} in {type}: {why}");
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
                using var same = PackedMap.Read(packed.ToBytes());
                Assert.True(same.Unpack().Equals(back), $"{text} on {map}: other values from a file");
                Assert.Equal(packed.Bytes, same.Bytes);
            }
    }

    [Theory, InlineData("st:1,storage=paper", 0), InlineData("st:1,values=float32", 0), InlineData("dct:1,storage=paper", 1e-5), InlineData("wt:db3:1,storage=paper", 1e-5)]
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

    [Theory, InlineData(float.NaN), InlineData(float.PositiveInfinity), InlineData(float.NegativeInfinity), InlineData(3e38f)]
    public void What_a_transform_would_spread_is_left_raw(float value)
    {
        using var scope = NewDisposeScope();
        var x = randn(2, 3, 16, 16);
        x[1, 1, 3, 3] = value;
        foreach (var text in codecs)
        {
            Assert.Null(Pipeline.Pack(x, ActivationCodec.Parse(text), out var why));
            Assert.Equal(LeftRaw.NotFinite, why);
        }
    }

    [Fact]
    public void An_empty_map_is_left_raw()
    {
        using var x = empty(0, 3, 16, 16);
        Assert.Null(Pipeline.Pack(x, ActivationCodec.Dct(10), out var why));
        Assert.Equal(LeftRaw.Empty, why);
    }

    [Theory, MemberData(nameof(Codecs))]
    public void The_layout_in_memory_does_not_matter(string text)
    {
        using var scope = NewDisposeScope();
        var x = randn(2, 8, 20, 24);
        var channelsLast = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
        var strided = cat([x, x], 3)[TensorIndex.Ellipsis, ..24];
        var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
        using var plain = Pipeline.Pack(x, codec, out _)!;
        foreach (var other in (Tensor[])[channelsLast, strided])
        {
            Assert.False(other.is_contiguous());
            using var packed = Pipeline.Pack(other, codec, out _)!;
            Assert.Equal(plain.ToBytes(), packed.ToBytes());
        }
    }

    [Fact]
    public void Nothing_is_left_behind()
    {
        using var scope = NewDisposeScope();
        var x = randn(2, 8, 20, 24).relu_();
        foreach (var text in codecs)
        {
            var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
            Pipeline.Pack(x, codec, out _)!.Dispose();
            var before = Tensor.TotalCount;
            using (var packed = Pipeline.Pack(x, codec, out _)!)
            using (packed.Unpack()) { }
            Assert.True(Tensor.TotalCount == before, $"{text}: {Tensor.TotalCount - before} tensors more");
        }
    }

    [Fact]
    public void Top_k_keeps_the_largest_and_of_equals_the_first() =>
        Gen.Select(Gen.Float[-3, 3].Select(x => MathF.Round(x * 4) / 4).Array[1, 500], Gen.Double[0, 1]).Sample((values, share) =>
        {
            var k = 1 + (long)(share * (values.Length - 1));
            var expected = Enumerable.Range(0, values.Length).OrderByDescending(i => Math.Abs(values[i])).ThenBy(i => i).Take((int)k).Order().Select(i => (long)i).ToArray();
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
                var plain = quantized.Encode(new Kept(null, x), x.NumberOfElements);
                var byTorch = quantized.EncodeByTorch(x, (x.NumberOfElements + 255) / 256);
                Assert.True(plain[0].Equals(byTorch[0]), $"scales of {map}");
                Assert.True(plain[1].Equals(byTorch[1]), $"codes of {map} in {quantized.Bits} bits");
                Assert.True(quantized.Decode(plain, x.NumberOfElements).allclose(quantized.DecodeByTorch(plain[0], plain[1], x.NumberOfElements), 1e-6, 0), $"values of {map}");
            }
        }
    }

    [Fact]
    public void Stochastic_rounding_is_right_on_average()
    {
        using var scope = NewDisposeScope();
        var x = full(1 << 16, 0.3f);
        x[TensorIndex.Slice(step: 256)] = 0;
        x[TensorIndex.Slice(start: 1, step: 256)] = 1;
        var quantized = new Quantized(2);
        var mean = quantized.Decode(quantized.Encode(new Kept(null, x), x.NumberOfElements), x.NumberOfElements).mean().item<float>();
        Assert.Equal(x.mean().item<float>(), mean, 2e-3);
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
            ("2 x 2, ceil", nn.functional.max_pool2d_with_indices(planes[TensorIndex.Ellipsis, ..25], [2, 2], ceil_mode: true).indices, 0.3),
            ("2 x 2 x 2", nn.functional.max_pool3d_with_indices(volumes, [2, 2, 2]).indices, 1.1),
            ("adaptive", nn.functional.adaptive_max_pool2d_with_indices(planes, [7, 5]).Indices, 1.3),
            ("one map", nn.functional.max_pool2d_with_indices(randn(1, 1, 30, 26), [2, 2]).indices, 4.1),
        ];
        foreach (var (name, indices, bytesEach) in pools)
        {
            using var packed = ExactIndices.Pack(indices)!;
            Assert.True(packed.Unpack().Equals(indices), name);
            Assert.True(packed.Bytes <= bytesEach * indices.NumberOfElements, $"{name}: {packed.Bytes / (double)indices.NumberOfElements} bytes an index");
        }
        Assert.Null(ExactIndices.Pack(randint(0, 1L << 40, [4, 100])));
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
