
namespace Actipress.Data;

/// <summary>
/// Examples to train or test on, in a stated order. Reading the same index twice gives the same example, from any thread.
/// </summary>
public interface IDataSet
{
    /// <summary>The name in reports.</summary>
    string Name { get; }

    /// <summary>The number of examples.</summary>
    int Count { get; }

    /// <summary>The number of channels of a pixel or voxel: colours, or modalities of a scanner.</summary>
    int Channels { get; }

    /// <summary>The number of classes: labels are below it. In segmentation 0 is background.</summary>
    int Classes { get; }

    /// <summary>Whether each pixel or voxel has a label of its own; otherwise an example has one label.</summary>
    bool IsSegmentation { get; }

    /// <summary>The extents of every example, (height, width) or (depth, height, width); null where they differ.</summary>
    IReadOnlyList<int>? Extents { get; }

    /// <summary>The source of an example: a file's or patient's name, which is the same in every run.</summary>
    /// <param name="index">From 0.</param>
    string Case(int index);

    /// <summary>Reads an example, from memory or from its files.</summary>
    /// <param name="index">From 0.</param>
    /// <exception cref="InvalidDataException">A file is missing or of another format; the message says which file, and where.</exception>
    Example Read(int index);
}

/// <summary>Makes data sets of other data sets.</summary>
public static class DataSets
{
    /// <summary>A data set of some of the examples, in this order.</summary>
    /// <param name="data">The data set of the examples.</param>
    /// <param name="indices">The indices of the examples in the data set.</param>
    public static IDataSet Subset(this IDataSet data, IReadOnlyList<int> indices) => new Part(data, indices);

    /// <summary>A data set whose examples pass a function at each read: preprocessing.</summary>
    /// <param name="data">The data set of the examples.</param>
    /// <param name="prepare">Must return the same result for the same example; called from any thread.</param>
    /// <param name="extents">The extents of every result, where they are known.</param>
    public static IDataSet Select(this IDataSet data, Func<Example, Example> prepare, IReadOnlyList<int>? extents = null) =>
        new Prepared(data, prepare, extents);

    /// <summary>Reads every example once, on all cores, and keeps it in memory.</summary>
    /// <param name="data">A data set that fits in memory.</param>
    /// <param name="cancellation">Ends it between examples.</param>
    /// <exception cref="InvalidDataException">An example cannot be read; the message names its case.</exception>
    public static IDataSet InMemory(this IDataSet data, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        var examples = new Example[data.Count];
        Each(data, index => examples[index] = data.ReadNamed(index), cancellation);
        return new Kept(data, examples);
    }

    /// <summary>A data set of the examples that can be read, for a run without the others.</summary>
    /// <param name="data">All examples; each is read once.</param>
    /// <param name="refused">The cases that cannot be read, with the reason.</param>
    /// <param name="cancellation">Ends it between examples.</param>
    public static IDataSet Readable(
        this IDataSet data, out IReadOnlyList<(string Case, string Reason)> refused, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        var reasons = new string?[data.Count];
        Each(data, index =>
        {
            try { data.Read(index); }
            catch (Exception failure) when (failure is InvalidDataException or IOException or UnauthorizedAccessException)
            {
                reasons[index] = failure.Message;
            }
        }, cancellation);
        refused = [.. Enumerable.Range(0, data.Count).Where(index => reasons[index] is not null)
            .Select(index => (data.Case(index), reasons[index]!))];
        return data.Subset([.. Enumerable.Range(0, data.Count).Where(index => reasons[index] is null)]);
    }

    /// <summary>Reads an example and applies the function; a failure names the case.</summary>
    internal static Example ReadNamed(this IDataSet data, int index, Func<Example, Example>? change = null)
    {
        try { return data.Read(index) is var example && change is null ? example : change(example); }
        catch (Exception failure) when (failure is not OperationCanceledException)
        {
            throw new InvalidDataException($"Case {data.Case(index)} of {data.Name} cannot be "
                + $"{(change is null ? "read" : "read or prepared")}: {failure.Message}", failure);
        }
    }

    static void Each(IDataSet data, Action<int> read, CancellationToken cancellation)
    {
        try { Parallel.For(0, data.Count, new ParallelOptions { CancellationToken = cancellation }, read); }
        catch (AggregateException failures) { throw failures.InnerExceptions[0]; }
    }

    sealed record Part(IDataSet Data, IReadOnlyList<int> Indices) : IDataSet
    {
        public string Name => Data.Name;
        public int Count => Indices.Count;
        public int Channels => Data.Channels;
        public int Classes => Data.Classes;
        public bool IsSegmentation => Data.IsSegmentation;
        public IReadOnlyList<int>? Extents => Data.Extents;
        public string Case(int index) => Data.Case(Indices[index]);
        public Example Read(int index) => Data.Read(Indices[index]);
    }

    sealed record Prepared(IDataSet Data, Func<Example, Example> Prepare, IReadOnlyList<int>? Extents) : IDataSet
    {
        public string Name => Data.Name;
        public int Count => Data.Count;
        public int Channels => Data.Channels;
        public int Classes => Data.Classes;
        public bool IsSegmentation => Data.IsSegmentation;
        public string Case(int index) => Data.Case(index);
        public Example Read(int index) => Prepare(Data.Read(index));
    }

    sealed class Kept(IDataSet data, Example[] examples) : IDataSet
    {
        public string Name => data.Name;
        public int Count => examples.Length;
        public int Channels => data.Channels;
        public int Classes => data.Classes;
        public bool IsSegmentation => data.IsSegmentation;
        public IReadOnlyList<int>? Extents { get; } =
            examples.Length > 0 && examples.All(example => example.Extents.SequenceEqual(examples[0].Extents)) ? examples[0].Extents : null;
        public string Case(int index) => examples[index].Case;
        public Example Read(int index) => examples[index];
    }
}
