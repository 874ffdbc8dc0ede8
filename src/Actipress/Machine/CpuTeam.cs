using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Machine;

/// <summary>
/// Runs work on the OpenMP team with which libtorch itself computes. Between two operations libtorch's threads wait busily for some
/// milliseconds; threads of our own would have to share the cores with them.
/// </summary>
static unsafe class CpuTeam
{
    static readonly delegate* unmanaged[Cdecl]<delegate* unmanaged[Cdecl]<nint, void>, nint, uint, uint, void> parallel =
        (delegate* unmanaged[Cdecl]<delegate* unmanaged[Cdecl]<nint, void>, nint, uint, uint, void>)LibTorch.SymbolOrNull("GOMP_parallel");

    /// <summary>Runs <paramref name="work"/> on some threads at once, this one included, and returns when all are done.</summary>
    /// <remarks>An exception in one of them is thrown here once all are done.</remarks>
    public static void Run(int threads, Action work)
    {
        if (threads <= 1) work();
        else if (parallel != null)
        {
            var team = new Team(work);
            var handle = GCHandle.Alloc(team);
            try { parallel(&Join, GCHandle.ToIntPtr(handle), (uint)threads, 0); }
            finally { handle.Free(); }
            if (team.Failure is { } failure) ExceptionDispatchInfo.Throw(failure);
        }
        else
            try { Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, _ => work()); }
            catch (AggregateException failures) { ExceptionDispatchInfo.Throw(failures.InnerExceptions[0]); }
    }

    /// <summary>Runs <paramref name="work"/> over the stretches of 0 to <paramref name="count"/>, each from its start to its end, on as many threads as torch has.</summary>
    public static void Each(long count, long stretch, Action<long, long> work)
    {
        var stretches = (count + stretch - 1) / stretch;
        var next = -1L;
        Run((int)Math.Min(torch.get_num_threads(), stretches), () =>
        {
            for (long i; (i = Interlocked.Increment(ref next)) < stretches;) work(i * stretch, Math.Min(count, (i + 1) * stretch));
        });
    }

    /// <summary>
    /// Parts that threads take in turn, some neighbours at a time: two threads that write side by side would each clear the same fresh
    /// page of 2 MiB. Where there are many, neighbours in time lie far apart too, since the end of one's parts and the start of the next
    /// share a page.
    /// </summary>
    public sealed class Shares(int parts, int threads)
    {
        const int MostTogether = 8;

        readonly int together = Math.Clamp(parts / (4 * threads), 1, MostTogether);
        int next;

        // Turns of each thread's stretch.
        int Length => (parts + together * threads - 1) / (together * threads);

        /// <summary>Runs <paramref name="work"/>, which takes parts until there are none, on as many threads as there are parts for.</summary>
        public void Run(Action work) => CpuTeam.Run(Math.Min(threads, parts), work);

        /// <summary>The parts that the calling thread takes, one after the other, until all are taken.</summary>
        public Taken GetEnumerator() => new(this);

        /// <summary>Parts of one thread.</summary>
        public struct Taken(Shares shares)
        {
            int part = -1, end;

            /// <summary>The part.</summary>
            public readonly int Current => part;

            /// <summary>Goes on to the next one; false where all are taken.</summary>
            public bool MoveNext() => ++part < end || shares.Take(out part, out end);
        }

        /// <summary>The next ones: from <paramref name="first"/> to before <paramref name="end"/>; false where all are taken.</summary>
        public bool Take(out int first, out int end)
        {
            do
            {
                var turn = Interlocked.Increment(ref next) - 1;
                var place = together < MostTogether ? turn : turn % threads * Length + turn / threads;
                (first, end) = (place * together, Math.Min(parts, (place + 1) * together));
                if (turn >= threads * Length) return false;
            }
            while (first >= parts);
            return true;
        }
    }

    sealed class Team(Action work)
    {
        public Exception? Failure;

        public void Work()
        {
            try { work(); }
            catch (Exception failure) { Interlocked.CompareExchange(ref Failure, failure, null); }
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Join(nint team) => ((Team)GCHandle.FromIntPtr(team).Target!).Work();
}
