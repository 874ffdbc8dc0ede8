using Actipress.Maps;
using CsCheck;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>A range of a packed map equals that range of the whole map to the bit.</summary>
public sealed class RangeTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    public void Dispose() => scope.Dispose();

    static readonly long[][] shapes =
    [
        [3, 2, 32, 48], [9, 7, 26, 26], [5, 33, 33, 19], [64, 20, 7, 5], [40, 30, 2, 2], [20, 300], [6, 50, 1, 1], [2, 3, 65, 48],
        [2, 2, 24, 40, 40], [1, 5, 9, 17, 11], [3, 3, 2, 3, 4], [2, 1, 33, 70, 9], [1, 4, 200, 210], [3, 1000], [2, 3, 300, 310],
    ];

    public static TheoryData<string, ScalarType, bool> Rows => new MatrixTheoryData<string, ScalarType, bool>(
        ["dct:10", "dct:4,block=8", "dct:3,block=4", "st:5", "quant:2", "quant:4", "quant:8"],
        [ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float64], [false, true]);

    [Theory]
    [MemberData(nameof(Rows))]
    public void A_range_is_that_of_the_whole(string codec, ScalarType type, bool afterRelu)
    {
        foreach (var lengths in shapes)
        {
            using var each = NewDisposeScope();
            var map = randn(lengths);
            if (afterRelu) map = map.relu();
            map = map.to(type);
            using var packed = Pipeline.Pack(map, ActivationCodec.Parse(codec), out _)!;
            Assert.True(packed.HasRanges);
            var shape = MapShape.Of(lengths);
            var whole = packed.Unpack().view(shape.Maps, MapRange.RowsOf(shape), -1);
            foreach (var range in (MapRange[])[MapRange.Whole(shape, 0, shape.Maps), MapRange.Whole(shape, shape.Maps - 1, 1)])
                Check(range);
            Gen.Select(
                Gen.Long[0, shape.Maps - 1], Gen.Long[1, shape.Maps], Gen.Int[0, MapRange.RowsOf(shape) - 1],
                Gen.Int[1, MapRange.RowsOf(shape)], Gen.Bool)
                .Sample((first, maps, row, rows, ofWhole) =>
                {
                    maps = Math.Min(maps, shape.Maps - first);
                    Check(ofWhole
                        ? MapRange.Whole(shape, first, maps) : new(first, maps, row, Math.Min(rows, MapRange.RowsOf(shape) - row)));
                }, iter: 20, threads: 1);

            void Check(MapRange range)
            {
                using var within = NewDisposeScope();
                var expected = whole.narrow(0, range.First, range.Maps).narrow(1, range.FirstRow, range.Rows);
                var found = packed.Unpack(range);
                Assert.Equal(expected.shape, found.shape);
                Assert.True(expected.equal(found).all().item<bool>(), $"{string.Join('x', lengths)} {range}");
            }
        }
    }

    [Theory]
    [InlineData("dct:10")]
    [InlineData("quant:2")]
    public void A_range_takes_no_more_memory_than_its_own_rows(string codec)
    {
        using var map = randn(64, 16, 64, 64);
        using var packed = Pipeline.Pack(map, ActivationCodec.Parse(codec), out _)!;
        var shape = MapShape.Of(map.shape);
        var bytes = Allocated.AtLeast(() => Allocated.Peak(() => packed.Unpack(MapRange.Whole(shape, 512, 64))));
        Assert.InRange(bytes, 1L << 20, (1L << 20) + (1 << 19));
    }

    [Fact]
    public void Damage_in_a_range_is_refused()
    {
        using var map = randn(8, 16, 64, 64);
        using var packed = Pipeline.Pack(map, ActivationCodec.Dct(10), out _)!;
        var bytes = packed.ToBytes();
        new Span<byte>(bytes, bytes.Length - 400, 300).Fill(0xFF);
        using var damaged = PackedMap.FromBytes(bytes);
        using var sound = damaged.Unpack(MapRange.Whole(MapShape.Of(map.shape), 0, 16));
        Assert.Throws<InvalidDataException>(() => damaged.Unpack(MapRange.Whole(MapShape.Of(map.shape), 112, 16)));
    }
}
