namespace Actipress.Experiments;

/// <summary>Statistics of several measurements of the same quantity.</summary>
public static class Statistics
{
    /// <summary>The median: the middle number, or the mean of the middle two; NaN where there are none.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length == 0 ? double.NaN : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>
    /// The mean, and its standard error: the sample's standard deviation, divided by the root of the number of measurements; NaN for fewer
    /// than two.
    /// </summary>
    public static (double Mean, double StandardError) Mean(IReadOnlyCollection<double> values)
    {
        ArgumentNullException.ThrowIfNull(values);
        var mean = values.Count == 0 ? double.NaN : values.Average();
        return (mean, values.Count < 2
            ? double.NaN : Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1) / values.Count));
    }
}
