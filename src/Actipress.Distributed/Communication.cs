using System.Collections.Concurrent;

namespace Actipress.Distributed;

/// <summary>
/// The communication thread: the only thread on which a process exchanges data with other ranks, one operation after the other. Its
/// operations run while other threads compute, and the MPI library need not support calls from several threads.
/// </summary>
sealed class Communication
{
    readonly BlockingCollection<Pending> asked = [];
    Exception? broken;

    public Communication() => new Thread(Work) { IsBackground = true, Name = "actipress ranks" }.Start();

    /// <summary>An operation of the communication thread, for which another thread may wait.</summary>
    public sealed class Pending(Action action)
    {
        readonly ManualResetEventSlim done = new();
        Exception? failure;

        public void Run(ref Exception? broken)
        {
            try
            {
                if (broken is not null) throw new RanksException($"Ranks cannot talk any more: {broken.Message}", broken);
                action();
            }
            catch (Exception thrown)
            {
                failure = thrown;
                if (thrown is not RanksException { IsShared: true }) broken ??= thrown;
            }
            done.Set();
        }

        /// <summary>Waits until the operation is done.</summary>
        /// <exception cref="RanksException">The operation failed.</exception>
        public void Wait()
        {
            done.Wait();
            if (failure is RanksException told) throw new RanksException(told.Message, told) { IsShared = told.IsShared };
            if (failure is PlatformNotSupportedException refused) throw new PlatformNotSupportedException(refused.Message, refused);
            if (failure is not null) throw new RanksException($"Talking with other ranks failed: {failure.Message}", failure);
        }
    }

    /// <summary>Queues an operation behind those that were queued before.</summary>
    public Pending Begin(Action action)
    {
        var pending = new Pending(action);
        asked.Add(pending);
        return pending;
    }

    /// <summary>Queues an operation, and waits until it is done.</summary>
    /// <exception cref="RanksException">The operation failed.</exception>
    public void Run(Action action) => Begin(action).Wait();

    void Work()
    {
        foreach (var pending in asked.GetConsumingEnumerable()) pending.Run(ref broken);
    }
}
