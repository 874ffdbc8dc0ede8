using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class StatisticsTests
{
    [Theory]
    [InlineData(double.NaN)]
    [InlineData(7, 7.0)]
    [InlineData(2, 9.0, 1.0, 2.0)]
    [InlineData(2.5, 2.0, 3.0)]
    [InlineData(4, 100.0, 3.0, 1.0, 5.0)]
    [InlineData(double.PositiveInfinity, 1.0, double.PositiveInfinity, double.PositiveInfinity)]
    public void The_median_is_the_middle_one_or_the_mean_of_the_middle_two(double wanted, params double[] values) =>
        Assert.Equal(wanted, Statistics.Median(values));

    [Fact]
    public void The_standard_error_is_the_samples_deviation_by_the_root_of_its_number()
    {
        Assert.Equal((3.0, Math.Sqrt((4 + 1 + 9) / 2.0 / 3)), Statistics.Mean([1, 2, 6]));
        Assert.Equal((2.0, double.NaN), Statistics.Mean([2]));
        Assert.Equal((double.NaN, double.NaN), Statistics.Mean([]));
        Assert.Equal((5.0, 0.0), Statistics.Mean([5, 5]));
    }
}
