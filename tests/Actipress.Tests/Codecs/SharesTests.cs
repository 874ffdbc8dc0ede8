using Actipress.Machine;

namespace Actipress.Tests.Codecs;

public sealed class SharesTests
{
    public static MatrixTheoryData<int, int> Cases => new([1, 2, 3, 5, 16], [1, 2, 7, 63, 64, 65, 255, 1000, 1001]);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Every_part_is_taken_once(int threads, int parts)
    {
        var shares = new CpuTeam.Shares(parts, threads);
        var taken = new List<int>();

        while (shares.Take(out var first, out var end)) taken.AddRange(Enumerable.Range(first, end - first));

        Assert.Equal(Enumerable.Range(0, parts), taken.Order());
    }
}
