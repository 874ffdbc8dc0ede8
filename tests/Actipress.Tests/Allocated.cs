namespace Actipress.Tests;

/// <summary>
/// Bytes that some code takes of the allocator. The process has one allocator: what the runtime's compiler takes meanwhile, or a finalizer
/// frees, is in a few of several tries.
/// </summary>
static class Allocated
{
    const int Tries = 5;

    /// <summary>The median of several tries, for a bound on either side.</summary>
    public static long Usually(Func<long> bytes) => Tried(bytes)[Tries / 2];

    /// <summary>The least of several tries, for a bound above.</summary>
    public static long AtLeast(Func<long> bytes) => Tried(bytes)[0];

    /// <summary>Bytes of the allocator, and tensors, that are there once finalizers have run: to compare with those of later.</summary>
    public static (long Native, long Tensors) Level()
    {
        AllocatorMeter.Settle();
        return (AllocatorMeter.CurrentBytes, Tensor.TotalCount);
    }

    static long[] Tried(Func<long> bytes)
    {
        AllocatorMeter.Settle();
        return [.. Enumerable.Range(0, Tries).Select(_ => bytes()).Order()];
    }

    /// <summary>How far the level rises above its start while <paramref name="work"/> runs, and what it returns is disposed.</summary>
    public static long Peak(Func<IDisposable?> work)
    {
        using var meter = AllocatorMeter.Start();
        var before = AllocatorMeter.CurrentBytes;
        using (work()) return meter.PeakBytes - before;
    }
}
