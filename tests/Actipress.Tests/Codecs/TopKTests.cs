using Actipress.Selection;

namespace Actipress.Tests.Codecs;

public sealed class TopKTests
{
    // The lengths lie around a vector, a pair of vectors and a thread's part. There are few distinct magnitudes, so that many tie.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(33)]
    [InlineData(1001)]
    public void The_threshold_is_the_kth_largest_magnitude_for_every_k(int length)
    {
        var random = new Random(length);
        float[][] all =
        [
            [.. Enumerable.Range(0, length).Select(_ => random.NextSingle() - 0.5f)],
            [.. Enumerable.Range(0, length).Select(_ => random.Next(-3, 4) / 4f)],
            [.. Enumerable.Range(0, length).Select(i => MathF.ScaleB(i % 2 == 0 ? 1 : -1, i % 200 - 140))],
        ];
        foreach (var coefficients in all)
        {
            var sorted = coefficients.Select(MathF.Abs).OrderDescending().ToArray();
            for (var k = 1; k <= length; k++) Assert.Equal(sorted[k - 1], TopK.Threshold(coefficients, k));
        }
    }

    // Each thread counts its part, and the counts are added before the next bits are examined.
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public unsafe void What_threads_count_is_added(int threads)
    {
        var random = new Random(5);
        var coefficients = Enumerable.Range(0, 100_003).Select(_ => random.NextSingle() - 0.5f).ToArray();
        var sorted = coefficients.Select(MathF.Abs).OrderDescending().ToArray();
        fixed (float* first = coefficients)
            foreach (var k in (int[])[1, 2, 1000, 16_384, 50_000, 100_002, 100_003])
                Assert.Equal(sorted[k - 1], TopK.Threshold(new CoefficientsInMemory(first, coefficients.Length, threads), k));
    }

    // Each value has a tally of its own, independent of the machine's threads.
    [Fact]
    public void Tallies_of_one_value_each_add_up()
    {
        float[] coefficients = [1, -4, 2, 0.5f, -2, 3, 0.25f];
        var sorted = coefficients.Select(MathF.Abs).OrderDescending().ToArray();
        for (var k = 1; k <= coefficients.Length; k++) Assert.Equal(sorted[k - 1], TopK.Threshold(new OneByOne(coefficients), k));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(4)]
    public void A_k_that_is_no_place_is_refused(long k) =>
        Assert.Equal("k", Assert.Throws<ArgumentOutOfRangeException>(() => TopK.Threshold([1, 2, 3], k)).ParamName);

    [Theory]
    [InlineData(0, 10, 0)]
    [InlineData(1, 10, 1)]
    [InlineData(19, 10, 1)]
    [InlineData(20, 10, 2)]
    [InlineData(21, 10.5, 2)]
    public void K_is_the_floor_of_n_over_ratio_but_one_at_least(long elements, double ratio, long k) =>
        Assert.Equal(k, TopK.Count(elements, ratio));

    readonly struct OneByOne(float[] coefficients) : ICoefficients
    {
        public ReadOnlySpan<int> Digits => [TopK.FirstBits, TopK.SecondBits, TopK.ThirdBits];

        public void Each<TTally>(Func<TTally> begin, Action<TTally> end) where TTally : ITally
        {
            foreach (var coefficient in coefficients)
            {
                var tally = begin();
                tally.See([coefficient]);
                end(tally);
            }
        }
    }
}
