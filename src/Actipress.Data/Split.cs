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
        var (cases, order) = Shuffled(data, seed);
        var (first, second) = ((int)Math.Round(train * order.Length), (int)Math.Round((train + validation) * order.Length));
        return new(Part(data, cases, order[..first]), Part(data, cases, order[first..second]), Part(data, cases, order[second..]));
    }

    /// <summary>
    /// Splits by case for a cross-validation: the fold's cases are the test part, the others the training part. Each case is in the test
    /// part of exactly one fold, and the folds' sizes differ by at most one case.
    /// </summary>
    /// <param name="data">The data set to split.</param>
    /// <param name="seed">The same seed gives the same folds, whatever the order in which a disk lists the cases.</param>
    /// <param name="fold">The fold.</param>
    /// <exception cref="InvalidDataException">There are fewer cases than folds.</exception>
    public static Split ByFold(IDataSet data, int seed, Fold fold)
    {
        ArgumentNullException.ThrowIfNull(data);
        var (cases, order) = Shuffled(data, seed);
        if (order.Length < fold.Count)
            throw new InvalidDataException($"{data.Name} has {order.Length} cases: wanted one at least for each of {fold.Count} folds.");
        var parts = order.Index().ToLookup(one => one.Index % fold.Count == fold.Number - 1, one => one.Item);
        return new(Part(data, cases, parts[false]), Part(data, cases, []), Part(data, cases, parts[true]));
    }

    static (ILookup<string, int> Cases, string[] Order) Shuffled(IDataSet data, int seed)
    {
        var cases = Enumerable.Range(0, data.Count).ToLookup(data.Case);
        var order = cases.Select(one => one.Key).Order(StringComparer.Ordinal).ToArray();
        new Random(seed).Shuffle(order);
        return (cases, order);
    }

    static IDataSet Part(IDataSet data, ILookup<string, int> cases, IEnumerable<string> names) =>
        data.Subset([.. names.SelectMany(name => cases[name])]);
}
