namespace Actipress.Data;

/// <summary>
/// Prepares batches in the background, a few ahead of the training, and returns them in order. The examples of a batch and their random
/// changes depend on the seed, the epoch and the position of the batch alone, not on the number of workers.
/// </summary>
public sealed record BatchLoader
{
    /// <summary>The data set of the examples.</summary>
    public required IDataSet Data { get; init; }

    /// <summary>The number of examples of a batch; the last batch of an epoch may have fewer.</summary>
    public int Batch { get; init; } = 1;

    /// <summary>The seed of the order and of the random changes.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Whether each epoch has a random order of its own; otherwise it has the order of the data set.</summary>
    public bool Shuffle { get; init; } = true;

    /// <summary>The random change of an example: augmentation, patches. Null for none.</summary>
    public Func<Example, Random, Example>? Vary { get; init; }

    /// <summary>The number of batches that are prepared at the same time, each by one thread.</summary>
    public int Workers { get; init; } = Environment.ProcessorCount;

    /// <summary>
    /// The largest number of batches that are in preparation, or finished and not taken yet. So many are held in memory beside the batch in
    /// use.
    /// </summary>
    public int Ahead { get; init; } = Environment.ProcessorCount + 1;

    /// <summary>The number of batches of an epoch.</summary>
    public int Batches => (Data.Count + Batch - 1) / Batch;

    /// <summary>The indices of an epoch's examples, in order.</summary>
    /// <param name="epoch">Any number.</param>
    public int[] Order(int epoch)
    {
        var order = Enumerable.Range(0, Data.Count).ToArray();
        if (Shuffle) new Random(HashOf(epoch, -1)).Shuffle(order);
        return order;
    }

    /// <summary>
    /// The batches of an epoch; the caller disposes each. Leaving the loop early disposes the batches that were not taken.
    /// </summary>
    /// <param name="epoch">Any number.</param>
    /// <param name="cancellation">Ends the preparation between examples, with <see cref="OperationCanceledException"/>.</param>
    /// <exception cref="InvalidDataException">
    /// An example cannot be read; the message names its case and file. The batches before it have been returned.
    /// </exception>
    public IEnumerable<Batch> Epoch(int epoch, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Batch, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Workers, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Ahead, 1);
        return Prepared(epoch, cancellation);
    }

    IEnumerable<Batch> Prepared(int epoch, CancellationToken cancellation)
    {
        var order = Order(epoch);
        var workers = new ConcurrentExclusiveSchedulerPair(TaskScheduler.Default, Workers).ConcurrentScheduler;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var ahead = new Queue<Task<Batch>>();
        try
        {
            for (var (taken, begun) = (0, 0); taken < Batches; taken++)
            {
                for (; begun < Batches && ahead.Count < Ahead; begun++)
                {
                    var number = begun;
                    ahead.Enqueue(Task.Factory.StartNew(
                        () => Make(order, epoch, number, stop.Token), stop.Token, TaskCreationOptions.DenyChildAttach, workers));
                }
                var batch = ahead.Peek().GetAwaiter().GetResult();
                ahead.Dequeue();
                yield return batch;
            }
        }
        finally
        {
            stop.Cancel();
            foreach (var task in ahead)
            {
                try { task.Wait(CancellationToken.None); }
                catch (AggregateException) { continue; }    // its reader has gone, or receives the first failure
                task.Result.Dispose();
            }
        }
    }

    Batch Make(int[] order, int epoch, int number, CancellationToken cancellation)
    {
        var examples = new Example[Math.Min(Batch, order.Length - number * Batch)];
        for (var i = 0; i < examples.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            var place = number * Batch + i;
            examples[i] = Data.ReadNamed(order[place], Vary is null ? null : example => Vary(example, new Random(HashOf(epoch, place))));
        }
        return Actipress.Data.Batch.Of(examples);
    }

    // This is the mixing function of splitmix64, because HashCode.Combine differs between processes.
    int HashOf(int epoch, int place)
    {
        var hash = 0UL;
        foreach (var number in (ReadOnlySpan<int>)[Seed, epoch, place])
        {
            hash += unchecked((ulong)number + 0x9E3779B97F4A7C15);
            hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9;
            hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EB;
            hash ^= hash >> 31;
        }
        return (int)(hash >> 33);
    }
}
