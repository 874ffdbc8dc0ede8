using Actipress.Accounting;
using CsCheck;

namespace Actipress.Tests.Accounting;

public sealed class LargestThatFitsTests
{
    [Fact]
    public void The_largest_size_within_the_bound_is_found_whatever_the_bytes_grow_like()
    {
        Gen.Select(Gen.Int[0, 50].Array[1, 60], Gen.Int[1, 5].Array[60], Gen.Int[-10, 2000], Gen.Int[0, 3], Gen.Int[1, 70], Gen.Int[1, 70])
            .Sample((rises, grows, bound, least, first, second) =>
            {
                var taken = Sums(rises);
                var search = new LargestThatFits(size => taken[size - least], size => Sums(grows)[size - least])
                {
                    Least = least,
                    Most = least + rises.Length - 1,
                    Start = (first, first == second ? second + 1 : second),
                };
                var wanted = least - 1 + taken.Count(bytes => bytes <= bound);
                // Steps of equal bytes are no order: any size within the bound behind which the next does not fit is right.
                Assert.Equal(wanted, search.Within(bound));
            });

        static long[] Sums(int[] rises)
        {
            long sum = 0;
            return [.. rises.Select(rise => sum += rise)];
        }
    }

    [Fact]
    public void A_straight_line_takes_four_predictions_and_each_size_is_predicted_once()
    {
        var asked = new List<long>();
        var search = new LargestThatFits(size => { asked.Add(size); return 1000 + 7 * size; }, size => size) { Start = (16, 32) };
        Assert.Equal(999_857, search.Within(7_000_000));
        Assert.Equal([16, 32, 999_857, 999_858], asked);
        Assert.Equal(0, search.Within(1006));
        Assert.Equal(1, search.Within(1007));
        Assert.Equal(asked.Distinct(), asked);
    }

    [Fact]
    public void Sizes_that_are_alike_are_not_told_apart()
    {
        var asked = new List<long>();
        // The line through small sizes promises 10 times too much; that of larger ones is another.
        var search = new LargestThatFits(size => { asked.Add(size); return size < 100 ? size : 10 * size - 900; }, size => size)
        {
            Start = (16, 32),
            Alike = 0.02,
        };
        Assert.InRange(search.Within(100_000), 9_890, 10_090);
        Assert.InRange(asked.Count, 4, 6);
    }

    [Fact]
    public void No_guess_exceeds_what_fits_by_more_than_the_growth()
    {
        var asked = new List<long>();
        var search = new LargestThatFits(Cube, size => Math.Pow(size, 3)) { Growth = 8 };
        Assert.Equal(170, search.Within(4_920_000));    // 170 cubed is 4,913,000
        Assert.Equal([1, 2, 4, 8, 16, 32, 64, 128, 170, 171], asked);

        long Cube(long size)
        {
            asked.Add(size);
            return size * size * size;
        }
    }
}
