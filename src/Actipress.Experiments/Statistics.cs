namespace Actipress.Experiments;

/// <summary>What is said of several measurements of the same thing.</summary>
public static class Statistics
{
    /// <summary>The middle one, or the mean of the middle two; NaN of none.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length == 0 ? double.NaN : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>The mean, and its standard error: the sample's standard deviation by the root of their number; NaN for fewer than two.</summary>
    public static (double Mean, double StandardError) Mean(IReadOnlyCollection<double> values)
    {
        ArgumentNullException.ThrowIfNull(values);
        var mean = values.Count == 0 ? double.NaN : values.Average();
        return (mean, values.Count < 2 ? double.NaN : Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1) / values.Count));
    }
}
