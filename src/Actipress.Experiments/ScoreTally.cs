using Actipress.Distributed;

namespace Actipress.Experiments;

/// <summary>The score of one class.</summary>
/// <param name="Class">The class, from 1.</param>
/// <param name="Dsc">The mean DSC over the examples with the class; null where no example has it.</param>
/// <param name="Present">The number of examples with the class.</param>
/// <param name="Absent">The number of examples without the class, which do not count.</param>
/// <param name="FalseAlarms">The number of these in which the class was predicted.</param>
public sealed record ClassScore(int Class, double? Dsc, int Present, int Absent, int FalseAlarms);

/// <summary>
/// Sums of the scores of examples. In a segmentation a class that is absent from an example has no DSC there and is left out. By the
/// paper's formula its DSC would be 1 where it is not predicted. A network that predicts nothing would then score the share of empty masks.
/// </summary>
public sealed class ScoreTally
{
    // The constant that equation 31 adds to numerator and denominator, so that an empty mask that is predicted empty has a score of 1.
    const double Epsilon = 1e-5;

    double sum, paperSum;
    int counted, all;
    readonly List<(double Sum, int Present, int Absent, int FalseAlarms)> classes = [];

    /// <summary>The mean over the examples with a score; NaN where no example has one.</summary>
    public double Mean => sum / counted;

    /// <summary>The mean by the paper's formula, over all examples. For images it is the same.</summary>
    public double PaperMean => paperSum / all;

    /// <summary>The number of examples with a score.</summary>
    public int Counted => counted;

    /// <summary>The scores by class; empty for images.</summary>
    public IReadOnlyList<ClassScore> Classes =>
        [.. classes.Select((one, i) => new ClassScore(i + 1, one.Present == 0 ? null : one.Sum / one.Present, one.Present, one.Absent,
            one.FalseAlarms))];

    /// <summary>Adds images, by the number that is classified correctly.</summary>
    public static ScoreTally OfImages(long right, int images)
    {
        var tally = new ScoreTally();
        (tally.sum, tally.paperSum, tally.counted, tally.all) = (right, right, images, images);
        return tally;
    }

    /// <summary>Adds one example's masks.</summary>
    /// <param name="found">The predicted class of each voxel.</param>
    /// <param name="wanted">The true class of each voxel.</param>
    /// <param name="count">The number of classes, with background.</param>
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

    /// <summary>The sums over all ranks; these sums where there are no other ranks.</summary>
    /// <param name="ranks">The ranks, each of which makes the same call.</param>
    /// <param name="count">The number of classes, with background.</param>
    public ScoreTally OfAll(Ranks? ranks, int count)
    {
        if (ranks is null) return this;
        var together = new ScoreTally();
        (together.sum, together.paperSum, together.counted, together.all) =
            (ranks.Sum(sum), ranks.Sum(paperSum), (int)ranks.Sum(counted), (int)ranks.Sum(all));
        var segments = ranks.Any(classes.Count > 0);    // a rank may have no example
        for (var i = 0; segments && i < count - 1; i++)
        {
            var one = i < classes.Count ? classes[i] : default;
            together.classes.Add(
                (ranks.Sum(one.Sum), (int)ranks.Sum(one.Present), (int)ranks.Sum(one.Absent), (int)ranks.Sum(one.FalseAlarms)));
        }
        return together;
    }

    /// <summary>Adds the sums of another tally.</summary>
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
