namespace Actipress.Distributed;

/// <summary>How <see cref="DataParallel"/> sends.</summary>
public sealed record DataParallelOptions
{
    /// <summary>Gradients smaller than this are gathered into buckets of this size; larger ones are sent from where they lie.</summary>
    public int BucketBytes { get; init; } = 1 << 20;

    /// <summary>Buckets that are not back yet take no more than this; a backward pass that is faster than the network waits.</summary>
    public int MostBucketBytes { get; init; } = 24 << 20;

    /// <summary>What becomes of buffers, such as the running statistics of a batch norm.</summary>
    public BuffersOfRanks Buffers { get; init; }

    internal void Check()
    {
        if (BucketBytes < 1) throw new ArgumentException($"{nameof(BucketBytes)} {BucketBytes}: wanted 1 or more.");
        if (MostBucketBytes < BucketBytes) throw new ArgumentException($"{nameof(MostBucketBytes)} {MostBucketBytes}: " +
            $"wanted {nameof(BucketBytes)}, which is {BucketBytes}, or more.");
    }
}

/// <summary>What becomes of the ranks' buffers.</summary>
public enum BuffersOfRanks
{
    /// <summary>After each backward pass each floating-point buffer that a rank has changed becomes the mean over ranks.</summary>
    Averaged,

    /// <summary>Each rank keeps its own.</summary>
    Own,
}
