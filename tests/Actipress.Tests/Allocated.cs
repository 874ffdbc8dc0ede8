using Actipress.Machine;

namespace Actipress.Tests;

/// <summary>
/// Measures the bytes that some code allocates. The process has one allocator, so the runtime's compiler or a finalizer may change the
/// level in a few of several tries.
/// </summary>
static class Allocated
{
    const int Tries = 5;

    /// <summary>The median of several tries, for a bound on both sides.</summary>
    public static long Usually(Func<long> bytes) => Tried(bytes)[Tries / 2];

    /// <summary>The least of several tries, for an upper bound.</summary>
    public static long AtLeast(Func<long> bytes) => Tried(bytes)[0];

    /// <summary>The bytes of the allocator and the number of tensors after finalizers have run, for comparison with later values.</summary>
    public static (long Native, long Tensors) Level()
    {
        AllocatorMeter.Settle();
        return (AllocatorMeter.CurrentBytes, Tensor.TotalCount);
    }

    /// <summary>
    /// What rounds of some work leave behind: the least of three windows of so many rounds each, after as many that are not measured. What
    /// leaks grows in each window; the runtime's compiler and the allocators' own stores grow in one now and then.
    /// </summary>
    public static (long Native, long Tensors) Growth(int rounds, Action round)
    {
        var (native, tensors) = (long.MaxValue, long.MaxValue);
        Run();
        for (var window = 0; window < 3; window++)
        {
            var before = Level();
            Run();
            var after = Level();
            (native, tensors) = (Math.Min(native, after.Native - before.Native), Math.Min(tensors, after.Tensors - before.Tensors));
        }
        return (native, tensors);

        void Run()
        {
            for (var i = 0; i < rounds; i++) round();
        }
    }

    /// <summary>Skips a bound that holds for oneDNN's usual kernels where others are chosen, which hold more.</summary>
    public static void ByUsualConvolutions()
    {
        if (Environment.GetEnvironmentVariable(HiddenCaches.Variable) is { } kernels)
            Assert.Skip($"{HiddenCaches.Variable}={kernels} chooses convolutions that hold more.");
    }

    static long[] Tried(Func<long> bytes)
    {
        AllocatorMeter.Settle();
        return [.. Enumerable.Range(0, Tries).Select(_ => bytes()).Order()];
    }

    /// <summary>The highest level above the start while <paramref name="work"/> runs and its result is disposed.</summary>
    public static long Peak(Func<IDisposable?> work)
    {
        using var meter = AllocatorMeter.Start();
        var before = AllocatorMeter.CurrentBytes;
        using (work()) return meter.PeakBytes - before;
    }
}
