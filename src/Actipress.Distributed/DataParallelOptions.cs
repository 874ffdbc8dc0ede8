namespace Actipress.Distributed;

/// <summary>How <see cref="DataParallel"/> sends gradients.</summary>
public sealed record DataParallelOptions
{
    /// <summary>The size of a bucket in bytes. Smaller gradients are gathered into buckets; larger gradients are sent in place.</summary>
    public int BucketBytes { get; init; } = 1 << 20;

    /// <summary>The largest number of bytes of buckets in transit. A backward pass that is faster than the network waits.</summary>
    public int MostBucketBytes { get; init; } = 24 << 20;

    /// <summary>The treatment of buffers, such as the running statistics of a batch norm.</summary>
    public BuffersOfRanks Buffers { get; init; }

    internal void Check()
    {
        if (BucketBytes < 1) throw new ArgumentException($"{nameof(BucketBytes)} {BucketBytes}: wanted 1 or more.");
        if (MostBucketBytes < BucketBytes) throw new ArgumentException($"{nameof(MostBucketBytes)} {MostBucketBytes}: " +
            $"wanted {nameof(BucketBytes)}, which is {BucketBytes}, or more.");
    }
}

/// <summary>The treatment of the ranks' buffers.</summary>
public enum BuffersOfRanks
{
    /// <summary>After each backward pass each floating-point buffer that a rank has changed becomes the mean over ranks.</summary>
    Averaged,

    /// <summary>Each rank keeps its own buffers.</summary>
    Own,
}
