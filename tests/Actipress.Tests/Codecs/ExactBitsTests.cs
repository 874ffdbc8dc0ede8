using Actipress.Encodings;
using Actipress.Maps;
using CsCheck;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

public sealed class ExactBitsTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    public void Dispose() => scope.Dispose();

    // The rows of 5 and 13 elements begin within a byte.
    [Theory, InlineData(3, 5), InlineData(7, 13), InlineData(4, 16), InlineData(2, 70_001)]
    public void A_range_is_that_of_the_whole(long maps, long elements)
    {
        var map = randn(maps, elements);
        using var bits = ExactBits.PackInside(map, -0.5f, 0.5f);
        var whole = bits.UnpackAs(2, -3);
        Assert.True(whole.equal(where(map.gt(-0.5) & map.lt(0.5), tensor(2f), tensor(-3f))).all().item<bool>());
        var shape = MapShape.Of(map.shape);
        for (long first = 0; first < maps; first++)
        {
            var range = MapRange.Whole(shape, first, maps - first);
            using var part = bits.UnpackAs(2, -3, range);
            Assert.True(part.view(-1).equal(whole.narrow(0, first, maps - first).reshape(-1)).all().item<bool>(), $"from map {first}");
        }
    }

    [Fact]
    public void Zeros_and_least_values_are_written_at_every_length() =>
        Gen.Select(Gen.Int[1, 70], Gen.Float[-1, 1], Gen.Float[0, 1]).Sample((length, highest, lowest) =>
        {
            using var each = NewDisposeScope();
            var (signs, values) = (randn(1, length), randn(1, length));
            using var bits = ExactBits.PackInside(signs, 0, float.PositiveInfinity);
            var raised = values.clamp_min(lowest);
            var expected = where(signs.gt(0) | raised.gt(highest), raised, zeros_like(values));
            bits.ZeroUnset(values, highest, lowest);
            Assert.True(expected.equal(values).all().item<bool>());
        }, iter: 300, threads: 1);
}
