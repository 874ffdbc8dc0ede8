namespace Actipress.Data;

/// <summary>A data set in the paper's three parts.</summary>
/// <param name="Train">To train on.</param>
/// <param name="Validation">To choose by.</param>
/// <param name="Test">For the last word.</param>
public sealed record Split(IDataSet Train, IDataSet Validation, IDataSet Test)
{
    /// <summary>
    /// By case: all examples of one case (slices of a patient) come to the same part. The parts depend on the seed and the cases' names
    /// alone, not on the order in which a disk lists them, and every case is in one of them.
    /// </summary>
    /// <param name="data">What to split.</param>
    /// <param name="seed">The same gives the same parts.</param>
    /// <param name="train">Share of the cases; the paper's is 0.7.</param>
    /// <param name="validation">Likewise, 0.2; the test part has the rest.</param>
    /// <exception cref="ArgumentOutOfRangeException">The shares are no shares.</exception>
    public static Split ByCase(IDataSet data, int seed, double train = 0.7, double validation = 0.2)
    {
        ArgumentNullException.ThrowIfNull(data);
        if (!(train >= 0 && validation >= 0 && train + validation <= 1))
            throw new ArgumentOutOfRangeException(nameof(train), $"The shares are {train} and {validation}: wanted two of at least 0 with a sum of at most 1.");
        var cases = Enumerable.Range(0, data.Count).ToLookup(data.Case);
        var order = cases.Select(one => one.Key).Order(StringComparer.Ordinal).ToArray();
        new Random(seed).Shuffle(order);
        var (first, second) = ((int)Math.Round(train * order.Length), (int)Math.Round((train + validation) * order.Length));
        return new(Part(order[..first]), Part(order[first..second]), Part(order[second..]));

        IDataSet Part(string[] names) => data.Subset([.. names.SelectMany(name => cases[name])]);
    }
}
