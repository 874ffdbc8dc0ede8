using Actipress.Encodings;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

public class RebuiltSampleTests
{
    [Theory]
    [InlineData(false, 1.0)]    // 3 against -1, and 0 against 3
    [InlineData(true, 0.6)]     // a ReLU's argument below zero gives 0 for 3, and where the result is 0 its argument is not looked at
    public void The_error_is_relative_to_the_map_and_that_of_a_ReLUs_argument_is_taken_behind_the_ReLU(bool isOfArgument, double error)
    {
        using var map = tensor(new float[] { 3, 4, 0, float.NaN }).view(1, 4);
        var range = MapRange.Whole(MapShape.Of([1, 4]), 0, 1);
        var sample = RebuiltSample.Of(map, [range], _ => tensor(new float[] { -1, 4, isOfArgument ? 5 : 3, float.NaN }).view(1, 4));
        Assert.Equal([3, 4, 0, double.NaN], sample.Values);
        Assert.Equal(error, sample.RelativeError(isOfArgument), 6);
    }

    [Fact]
    public void A_large_map_is_sampled_at_places_of_every_column()
    {
        using var map = arange(1 << 20, float32).view(1 << 10, 1 << 10);
        var range = MapRange.Whole(MapShape.Of(map.shape), 0, 1 << 10);
        var sample = RebuiltSample.Of(map, [range], _ => map.clone());
        Assert.InRange(sample.Values.Count, 1 << 11, 1 << 12);
        Assert.Equal(1 << 10, sample.Values.Select(value => (long)value % (1 << 10)).Distinct().Count());
        Assert.Equal(sample.Values, sample.Rebuilt);
    }
}
