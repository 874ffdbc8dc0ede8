using Actipress.Saving;

namespace Actipress.Tests.Saving;

public sealed class NeedTests
{
    // The needs are in order from the least strict. Of two of them the later answers both.
    static readonly Need[] byStrictness = [Need.Smooth, Need.Factor, Need.Steep, Need.Saturating, Need.Weight, Need.Exact];

    [Fact]
    public void The_stricter_of_two_kinds_of_values_answers_both()
    {
        for (var a = 0; a < byStrictness.Length; a++)
            for (var b = 0; b < byStrictness.Length; b++)
                Assert.Equal(byStrictness[Math.Max(a, b)], Need.Both(byStrictness[a], byStrictness[b]));
    }

    [Fact]
    public void Values_answer_what_asks_for_none()
    {
        foreach (var without in (Need[])[Need.Shape, Need.Sign, new Need.Inside(0, 6)])
        {
            Assert.Equal(without, Need.Both(without, without));
            foreach (var values in (Need[])[Need.Linear, Need.Smooth, Need.Factor, Need.Normalised])
                Assert.Equal((values, values), (Need.Both(without, values), Need.Both(values, without)));
        }
    }

    [Fact]
    public void Other_kinds_of_values_together_are_smooth_and_different_bounds_together_exact()
    {
        Assert.Equal(Need.Smooth, Need.Both(Need.Linear, Need.Normalised));
        Assert.Equal(Need.Factor, Need.Both(Need.Linear, Need.Factor));
        Assert.Equal(Need.Exact, Need.Both(Need.Sign, new Need.Inside(0, 6)));
        Assert.Equal(Need.Exact, Need.Both(Need.Saturating, Need.Angle));
        Assert.Equal((Need.Score, Need.Angle), (Need.Both(Need.Score, Need.Steep), Need.Both(Need.Linear, Need.Angle)));
    }
}
