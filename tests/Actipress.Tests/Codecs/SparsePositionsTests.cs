using Actipress.Encodings;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>How the positions of kept values are stored, and which values are kept at the threshold.</summary>
public class SparsePositionsTests
{
    // The numbers of kept values lie around each number at which bytes and a bitmap take the same space.
    [Theory, InlineData(256), InlineData(257), InlineData(1000), InlineData(4096), InlineData(5000)]
    public void Positions_take_the_fewer_bytes_of_both_forms(int elements)
    {
        using var scope = NewDisposeScope();
        var map = randn(1, 1, 1, elements);
        foreach (var kept in Enumerable.Range(1, elements / 4))
        {
            if (kept > 40 && Math.Abs(kept - elements / 8) > 40) continue;
            var ratio = elements / (kept + 0.5);
            long Bytes(string index)
            {
                var codec = ActivationCodec.Parse(FormattableString.Invariant($"st:{ratio:R},storage=compact,index={index}"));
                using var packed = Pipeline.Pack(map, codec with { EvenIfLarger = true }, out _)!;
                return packed.Bytes;
            }
            Assert.Equal(Math.Min(Bytes("byte"), Bytes("bitmap")), Bytes("auto"));
        }
    }

    [Theory]
    [InlineData(0, 5, null)]
    [InlineData(0, 6, "positions from 0 to 5, found 0 to 6")]
    [InlineData(-1, 5, "positions from 0 to 5, found -1 to 5")]
    public void A_position_beyond_the_map_is_refused(long first, long last, string? refusal)
    {
        using var scope = NewDisposeScope();
        Tensor[] sections = [tensor(new[] { 1f, 2 }), tensor(new[] { first, last })];
        if (refusal is null) Assert.Equal([1f, 0, 0, 0, 0, 2], new Coo().Decode(sections, 6).data<float>().ToArray());
        else
            Assert.Contains(
                refusal, Assert.Throws<InvalidDataException>(() => new Coo().Decode(sections, 6)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_value_at_the_threshold_is_not_above_it()
    {
        using var scope = NewDisposeScope();
        var kept = new Keep.Above(2).Select(tensor(new[] { 1f, 2, -2, 2.0000002f, -3, 0 }), 6);
        Assert.Equal([3L, 4L], kept.Positions!.data<long>().ToArray());
        Assert.Equal([2.0000002f, -3], kept.Values.data<float>().ToArray());
    }
}
