using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Grid;
using Actipress.Grid.Tiles;
using Actipress.Machine;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>
/// Every width of registers writes and reads the same as the definition of grid storage, on every awkward map in every type.
/// </summary>
public unsafe class DefinitionTests
{
    public static TheoryData<string> Codecs => [.. CodecLaws.Table.Where(text => ActivationCodec.Parse(text).Encoding is GridStorage)];

    [Theory, MemberData(nameof(Codecs))]
    public void Every_width_writes_the_definition_s_bytes_and_reads_its_values(string text)
    {
        var place = CodecLaws.Table.Index().Single(codec => codec.Item == text).Index;
        for (var i = 0; i < AwkwardMap.All.Count; i++)
        {
            using var scope = NewDisposeScope();
            var type = CodecLaws.Types[(i + place) % CodecLaws.Types.Count];
            AssertSame(ActivationCodec.Parse(text), AwkwardMap.All[i].Tensor().to(type).contiguous(), $"{AwkwardMap.All[i]}");
        }
    }

    // A wavelet divides long lines into strips, as it divides large maps.
    [Theory, InlineData("wt:haar:10"), InlineData("wt:db3:10")]
    public void Every_width_divides_long_lines_as_the_definition_does(string text)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        AssertSame(ActivationCodec.Parse(text), randn(2, 1, 150_000), "long lines");
    }

    static void AssertSame(ActivationCodec codec, Tensor map, string what)
    {
        var (type, shape) = (map.dtype, MapShape.Of(map.shape));
        Same<GridPlain>("plain");
        Same<GridLanes<Lanes4>>("4 lanes");
        Same<GridLanes<Lanes8>>("8 lanes");
        Same<GridLanes<Lanes16>>("16 lanes");

        void Same<TFace>(string face) where TFace : struct, IGridFace
        {
            var named = $"{face}, {codec} on {what} in {type}";
            var tiles = GridFormat.Tiles(codec.Transform, shape);
            var wanted = Definition.Pack(
                map.to(ScalarType.Float32).view(-1).data<float>().ToArray(), shape, codec.Transform, codec.Keep, codec.ExactZeros);
            using var packed = GridMap.Pack<TFace>(
                (void*)Actipress.Autograd.LibTorch.Data(map), type, tiles, codec.Keep, codec.ExactZeros, PackLimits.None, threads: 2,
                out _);
            Assert.Equal(wanted is null, packed is null);
            if (wanted is null) return;
            using var stream = new MemoryStream();
            using (var writer = new BinaryWriter(stream)) packed!.Write(writer);
            Assert.True(stream.ToArray().AsSpan().SequenceEqual(wanted), $"{named}: other bytes");
            var back = empty_like(map);
            packed.Unpack<TFace>((void*)Actipress.Autograd.LibTorch.Data(back), type, tiles, threads: 2);
            var values = tensor(Definition.Unpack(
                wanted, shape, codec.Transform,
                type == ScalarType.Float16 ? HalfCells.Smallest : SingleCells.Smallest)).view(map.shape);
            if (type == ScalarType.Float16) values = values.clamp(-65504, 65504);
            Assert.True(Bytes(back).SequenceEqual(Bytes(values.to(type))), $"{named}: other values");
        }
    }

    static Span<byte> Bytes(Tensor x) =>
        new((void*)Actipress.Autograd.LibTorch.Data(x), checked((int)(x.NumberOfElements * x.ElementSize)));
}
