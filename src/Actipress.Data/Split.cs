namespace Actipress.Data;

/// <summary>A data set in the paper's three parts.</summary>
/// <param name="Train">The part for training.</param>
/// <param name="Validation">The part for choices.</param>
/// <param name="Test">The part for the final result.</param>
public sealed record Split(IDataSet Train, IDataSet Validation, IDataSet Test)
{
    /// <summary>
    /// Splits by case: all examples of one case (slices of a patient) are in the same part. The parts depend on the seed and the names of
    /// the cases alone, not on the order in which a disk lists them. Every case is in exactly one part.
    /// </summary>
    /// <param name="data">The data set to split.</param>
    /// <param name="seed">The same seed gives the same parts.</param>
    /// <param name="train">The share of cases for training; the paper's is 0.7.</param>
    /// <param name="validation">The share of cases for validation; the paper's is 0.2. The test part has the rest.</param>
    /// <exception cref="ArgumentOutOfRangeException">A share is negative, or the shares exceed 1.</exception>
    public static Split ByCase(IDataSet data, int seed, double train = 0.7, double validation = 0.2)
    {
        ArgumentNullException.ThrowIfNull(data);
        if (!(train >= 0 && validation >= 0 && train + validation <= 1))
            throw new ArgumentOutOfRangeException(
                nameof(train), $"The shares are {train} and {validation}: wanted two of at least 0 with a sum of at most 1.");
        var cases = Enumerable.Range(0, data.Count).ToLookup(data.Case);
        var order = cases.Select(one => one.Key).Order(StringComparer.Ordinal).ToArray();
        new Random(seed).Shuffle(order);
        var (first, second) = ((int)Math.Round(train * order.Length), (int)Math.Round((train + validation) * order.Length));
        return new(Part(order[..first]), Part(order[first..second]), Part(order[second..]));

        IDataSet Part(string[] names) => data.Subset([.. names.SelectMany(name => cases[name])]);
    }
}
