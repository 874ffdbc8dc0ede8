using Actipress.Distributed;

namespace Actipress.Experiments;

/// <summary>How one class was segmented.</summary>
/// <param name="Class">From 1.</param>
/// <param name="Dsc">Mean over the examples in which it is; null where it is in none.</param>
/// <param name="Present">In how many it is.</param>
/// <param name="Absent">In how many it is not: they do not count.</param>
/// <param name="FalseAlarms">In how many of these it was found all the same.</param>
public sealed record ClassScore(int Class, double? Dsc, int Present, int Absent, int FalseAlarms);

/// <summary>
/// Scores of examples, summed. Of a segmentation a class that is not in an example has no DSC there and is left out: were it 1 where it is
/// rightly not found, as the paper's formula has it, a network that finds nothing would score whatever share of the masks is empty.
/// </summary>
public sealed class ScoreTally
{
    // Equation 31: added above and below, so that a mask that is empty and predicted empty has a score of 1.
    const double Epsilon = 1e-5;

    double sum, paperSum;
    int counted, all;
    readonly List<(double Sum, int Present, int Absent, int FalseAlarms)> classes = [];

    /// <summary>Mean over the examples that have a score; NaN where none has.</summary>
    public double Mean => sum / counted;

    /// <summary>Mean by the paper's formula, over all examples: of images the same.</summary>
    public double PaperMean => paperSum / all;

    /// <summary>Examples that have a score.</summary>
    public int Counted => counted;

    /// <summary>Class by class; none of images.</summary>
    public IReadOnlyList<ClassScore> Classes =>
        [.. classes.Select((one, i) => new ClassScore(i + 1, one.Present == 0 ? null : one.Sum / one.Present, one.Present, one.Absent,
            one.FalseAlarms))];

    /// <summary>Adds images, so many of them rightly classified.</summary>
    public static ScoreTally OfImages(long right, int images)
    {
        var tally = new ScoreTally();
        (tally.sum, tally.paperSum, tally.counted, tally.all) = (right, right, images, images);
        return tally;
    }

    /// <summary>Adds one example's masks.</summary>
    /// <param name="found">A class a voxel.</param>
    /// <param name="wanted">Likewise.</param>
    /// <param name="count">Of classes, background included.</param>
    public void Add<T>(ReadOnlySpan<T> found, ReadOnlySpan<T> wanted, int count) where T : System.Numerics.IBinaryInteger<T>
    {
        Span<long> common = new long[count], ofFound = new long[count], ofWanted = new long[count];
        for (var voxel = 0; voxel < wanted.Length; voxel++)
        {
            var (u, v) = (int.CreateChecked(found[voxel]), int.CreateChecked(wanted[voxel]));
            ofFound[u]++;
            ofWanted[v]++;
            if (u == v) common[u]++;
        }
        var (present, dice, paper) = (0, 0.0, 0.0);
        while (classes.Count < count - 1) classes.Add(default);
        for (var label = 1; label < count; label++)
        {
            var both = ofFound[label] + ofWanted[label];
            paper += (2 * common[label] + Epsilon) / (both + Epsilon);
            var one = classes[label - 1];
            if (ofWanted[label] == 0) one = one with { Absent = one.Absent + 1, FalseAlarms = one.FalseAlarms + (both > 0 ? 1 : 0) };
            else
            {
                var own = 2.0 * common[label] / both;
                (present, dice) = (present + 1, dice + own);
                one = one with { Sum = one.Sum + own, Present = one.Present + 1 };
            }
            classes[label - 1] = one;
        }
        (all, paperSum) = (all + 1, paperSum + paper / (count - 1));
        if (present > 0) (counted, sum) = (counted + 1, sum + dice / present);
    }

    /// <summary>Those of all ranks together; these where there are none.</summary>
    /// <param name="ranks">Each makes the same call.</param>
    /// <param name="count">Of classes, background included.</param>
    public ScoreTally OfAll(Ranks? ranks, int count)
    {
        if (ranks is null) return this;
        var together = new ScoreTally();
        (together.sum, together.paperSum, together.counted, together.all) = (ranks.Sum(sum), ranks.Sum(paperSum), (int)ranks.Sum(counted), (int)ranks.Sum(all));
        var segments = ranks.Any(classes.Count > 0);    // a rank may have had no example
        for (var i = 0; segments && i < count - 1; i++)
        {
            var one = i < classes.Count ? classes[i] : default;
            together.classes.Add((ranks.Sum(one.Sum), (int)ranks.Sum(one.Present), (int)ranks.Sum(one.Absent), (int)ranks.Sum(one.FalseAlarms)));
        }
        return together;
    }

    /// <summary>Adds those of others.</summary>
    public void Add(ScoreTally other)
    {
        ArgumentNullException.ThrowIfNull(other);
        (sum, paperSum, counted, all) = (sum + other.sum, paperSum + other.paperSum, counted + other.counted, all + other.all);
        while (classes.Count < other.classes.Count) classes.Add(default);
        for (var i = 0; i < other.classes.Count; i++)
        {
            var (one, more) = (classes[i], other.classes[i]);
            classes[i] = (one.Sum + more.Sum, one.Present + more.Present, one.Absent + more.Absent, one.FalseAlarms + more.FalseAlarms);
        }
    }
}
