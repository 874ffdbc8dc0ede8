using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Machine;

/// <summary>
/// Runs work on the OpenMP team of libtorch's own operations. Between two operations libtorch's threads spin for some milliseconds, so
/// that other threads would have to share the cores with them.
/// </summary>
static unsafe class CpuTeam
{
    static readonly delegate* unmanaged[Cdecl]<delegate* unmanaged[Cdecl]<nint, void>, nint, uint, uint, void> parallel =
        (delegate* unmanaged[Cdecl]<delegate* unmanaged[Cdecl]<nint, void>, nint, uint, uint, void>)LibTorch.SymbolOrNull("GOMP_parallel");

    /// <summary>
    /// Runs <paramref name="work"/> on several threads at once, the calling thread included, and returns when all of them have returned.
    /// </summary>
    /// <remarks>An exception in one of the threads is rethrown here once all have returned.</remarks>
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

    /// <summary>
    /// Divides 0 to <paramref name="count"/> into stretches and calls <paramref name="work"/> with the start and the end of each, on as
    /// many threads as torch has.
    /// </summary>
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
    /// A queue of parts. A thread takes several neighbouring parts at a time, because two threads that write next to each other would
    /// both clear the same fresh page of 2 MiB. Where there are many parts, the threads also work far apart from each other, since the end
    /// of one thread's parts and the start of the next thread's share a page.
    /// </summary>
    public sealed class Shares(int parts, int threads)
    {
        const int MostTogether = 8;

        readonly int together = Math.Clamp(parts / (4 * threads), 1, MostTogether);
        int next;

        // How often each thread takes parts from its own stretch.
        int Length => (parts + together * threads - 1) / (together * threads);

        /// <summary>
        /// Runs <paramref name="work"/>, which takes parts until none is left, on as many threads as there are parts for.
        /// </summary>
        public void Run(Action work) => CpuTeam.Run(Math.Min(threads, parts), work);

        /// <summary>The parts that the calling thread takes, one after the other, until all are taken.</summary>
        public Taken GetEnumerator() => new(this);

        /// <summary>Enumerates the parts of one thread.</summary>
        public struct Taken(Shares shares)
        {
            int part = -1, end;

            /// <summary>The number of the current part.</summary>
            public readonly int Current => part;

            /// <summary>Takes the next part; false when none is left.</summary>
            public bool MoveNext() => ++part < end || shares.Take(out part, out end);
        }

        /// <summary>
        /// Takes the next parts: from <paramref name="first"/> up to but not including <paramref name="end"/>. The result is false when
        /// none is left.
        /// </summary>
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
