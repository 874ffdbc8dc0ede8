using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>Packed maps as a program uses them: packed or left as they are, in files and streams.</summary>
public class PackedMapTests
{
    [Fact]
    public void A_map_is_packed_or_the_reason_is_told()
    {
        using var scope = NewDisposeScope();
        var map = randn(2, 3, 16, 16).relu_();
        Assert.True(PackedMap.TryPack(map, ActivationCodec.Dct(10), out var packed, out var why));
        using (packed)
        {
            Assert.Equal(LeftRaw.No, why);
            Assert.Equal(map.shape, packed.Shape.ToArray());
            Assert.Equal(map.shape, packed.Unpack().shape);
        }
        foreach (var (left, wanted) in ((Tensor, LeftRaw)[])[
            (empty(0), LeftRaw.Empty), (full(8, double.NaN), LeftRaw.NotFinite), (randn(3), LeftRaw.NotSmaller),
        ])
        {
            Assert.False(PackedMap.TryPack(left, ActivationCodec.Dct(2), out packed, out why));
            Assert.Null(packed);
            Assert.Equal(wanted, why);
        }
        Assert.Throws<ArgumentException>(() => PackedMap.TryPack(map, ActivationCodec.None, out _, out _));
    }

    [Fact]
    public void A_stream_gives_the_map_that_was_written_to_it_and_stays_open()
    {
        using var scope = NewDisposeScope();
        using var packed = Pipeline.Pack(randn(2, 3, 16, 16), ActivationCodec.Dct(4), out _)!;
        using var stream = new MemoryStream();
        stream.WriteByte(7);
        packed.WriteTo(stream);
        stream.Position = 1;
        using var read = PackedMap.ReadFrom(stream);
        Assert.Equal(packed.Codec, read.Codec);
        Assert.True(packed.Unpack().Equals(read.Unpack()));
        Assert.Equal(packed.ToBytes(), stream.ToArray()[1..]);
        Assert.True(stream.CanWrite);
    }

    sealed record Mirrored : Transform
    {
        public override string Name => "mirrored";
        public override long Coefficients(MapShape shape) => shape.Elements;
        public override void Forward(ReadOnlySpan<float> map, MapShape shape, Span<float> coefficients)
        {
            map.CopyTo(coefficients);
            coefficients.Reverse();
        }
        public override void Inverse(ReadOnlySpan<float> coefficients, MapShape shape, Span<float> map)
        {
            coefficients.CopyTo(map);
            map.Reverse();
        }
        public override Tensor Forward(Tensor map, MapShape shape) => map.reshape(-1).flip(0);
        public override Tensor Inverse(Tensor coefficients, MapShape shape) => coefficients.flip(0);
    }

    [Theory, InlineData("st:10"), InlineData("st:10,storage=compact")]
    public void No_file_is_written_that_names_a_transform_of_a_program_s_own(string text)
    {
        using var scope = NewDisposeScope();
        using var packed = Pipeline.Pack(randn(4, 300), ActivationCodec.Parse(text) with { Transform = new Mirrored() }, out _)!;
        Assert.Equal([4, 300], packed.Unpack().shape);
        Assert.Contains("'mirrored:10", Assert.Throws<InvalidOperationException>(packed.ToBytes).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_bits_of_zeros_beside_a_transform_of_a_program_s_own_count_among_the_bytes()
    {
        using var scope = NewDisposeScope();
        var map = randn(40, 300).relu_();
        var codec = ActivationCodec.Parse("st:10") with { Transform = new Mirrored() };
        using PackedMap with = Pipeline.Pack(map, codec, out _)!, without = Pipeline.Pack(map, codec with { ExactZeros = false }, out _)!;
        Assert.Equal(map.NumberOfElements / 8, with.Bytes - without.Bytes);
        // Nothing else tells zeros once more: the same values take as many bytes without a transform.
        using PackedMap values = Pipeline.Pack(map, ActivationCodec.Parse("st:10") with { ExactZeros = false }, out _)!;
        Assert.InRange(without.Bytes, 1, values.Bytes * 1.05);
    }

    [Theory, InlineData("dct:4"), InlineData("dct:4,storage=compact"), InlineData("wt:db3:4,storage=compact"), InlineData("quant:2")]
    public void Values_at_the_limit_of_float16_stay_finite(string text)
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        // A transform's sums overshoot at such steps.
        var map = rand(2, 3, 32, 32).gt(0.5).to(ScalarType.Float32).mul(2 * 65504.0).sub(65504).to(ScalarType.Float16);
        Assert.True(map.isfinite().all().item<bool>());
        using var packed = Pipeline.Pack(map, ActivationCodec.Parse(text) with { EvenIfLarger = true }, out _)!;
        Assert.True(packed.Unpack().isfinite().all().item<bool>());
    }

    [Theory, InlineData(1), InlineData(2)]
    public void Offsets_of_levels_that_no_packing_makes_are_refused(int number)
    {
        using var scope = NewDisposeScope();
        using var packed = Pipeline.Pack(randn(2, 3, 32, 32), ActivationCodec.Dct(10), out _)!;
        var bytes = packed.ToBytes();
        // The step and the two offsets lie beside each other, the step first.
        var step = Enumerable.Range(0, bytes.Length - 12).First(at =>
            Number(at) is > 1e-4f and < 10 && Math.Abs(Number(at + 4)) is > 1e-3f and < 2 && Math.Abs(Number(at + 8)) is > 1e-3f and < 2);
        BitConverter.TryWriteBytes(bytes.AsSpan(step + 4 * number), 2.5f);
        Assert.Contains("offsets near it", Assert.Throws<InvalidDataException>(() => PackedMap.FromBytes(bytes)).Message,
            StringComparison.Ordinal);

        float Number(int at) => BitConverter.ToSingle(bytes, at);
    }

    [Theory, InlineData("dct:10"), InlineData("st:5"), InlineData("wt:haar:4"), InlineData("dct:2,storage=compact"), InlineData("quant:4")]
    public void Bytes_behind_a_map_are_refused(string text)
    {
        using var scope = NewDisposeScope();
        using var packed = Pipeline.Pack(randn(2, 3, 32, 32), ActivationCodec.Parse(text), out _)!;
        Assert.Throws<InvalidDataException>(() => PackedMap.FromBytes([.. packed.ToBytes(), 0, 0, 0, 0]));
    }

    // The fifth byte of a file is the version.
    [Theory]
    [InlineData("dct:2,storage=compact", 17, false), InlineData("dct:2,storage=paper,larger=leave", 300, false)]
    [InlineData("dct:2,block=4,storage=compact", 5, false)]
    [InlineData("dct:2,storage=compact", 16, true), InlineData("dct:2", 300, true), InlineData("st:2,storage=compact", 300, true)]
    [InlineData("wt:haar:2,storage=compact", 300, true)]
    public void A_file_of_version_1_is_read_where_it_means_the_same(string text, int width, bool isRead)
    {
        using var scope = NewDisposeScope();
        using var packed = Pipeline.Pack(randn(3, width), ActivationCodec.Parse(text) with { EvenIfLarger = true }, out _)!;
        var bytes = packed.ToBytes();
        Assert.Equal(2, bytes[4]);
        bytes[4] = 1;
        if (!isRead)
        {
            Assert.Contains(
                "pack the map again", Assert.Throws<InvalidDataException>(() => PackedMap.FromBytes(bytes)).Message,
                StringComparison.Ordinal);
            return;
        }
        using var read = PackedMap.FromBytes(bytes);
        Assert.True(packed.Unpack().Equals(read.Unpack()));
        bytes[4] = 3;
        Assert.Contains(
            "version 3", Assert.Throws<InvalidDataException>(() => PackedMap.FromBytes(bytes)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_exact_codec_keeps_every_bit()
    {
        using var scope = NewDisposeScope();
        foreach (var type in CodecLaws.Types)
            foreach (var map in AwkwardMap.All)
            {
                var x = map.Tensor().to(type);
                if (x.NumberOfElements > 4) x.view(-1)[3] = double.NaN;
                foreach (var layout in (Tensor[])[x, x.dim() < 2 ? x : x.transpose(-1, -2)])
                {
                    Assert.True(PackedMap.TryPack(layout, ActivationCodec.Exact, out var packed, out _));
                    using var read = PackedMap.FromBytes(packed.ToBytes());
                    foreach (var back in (Tensor[])[packed.Unpack(), read.Unpack()])
                    {
                        Assert.Equal(layout.shape, back.shape);
                        Assert.Equal(layout.dtype, back.dtype);
                        Assert.Equal(layout.contiguous().bytes.ToArray(), back.bytes.ToArray());
                    }
                    packed.Dispose();
                }
            }
    }
}
