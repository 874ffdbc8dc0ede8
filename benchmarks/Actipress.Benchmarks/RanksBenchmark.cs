using System.Diagnostics;
using Actipress.Distributed;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>
/// Training steps of several ranks, each on a batch of its own, beside the same steps of the same ranks without communication. For one
/// rank alone, steps with <c>DataParallel</c> beside steps without it.
/// </summary>
/// <param name="Network">The network.</param>
/// <param name="Ranks">The number of ranks.</param>
/// <param name="Batch">The examples of each rank in a step.</param>
/// <param name="ApartMs">The median time of the steps without communication. A step's time is that of its slowest rank.</param>
/// <param name="TogetherMs">The same of the steps with averaged gradients.</param>
/// <param name="Ratio">The median of the rounds' ratios, together divided by apart.</param>
/// <param name="BackwardMs">The median time of the backward passes without communication.</param>
/// <param name="Bytes">The bytes that a rank reduces in a step.</param>
/// <param name="Messages">The number of messages in which they are reduced.</param>
/// <param name="BufferBytes">The largest number of bytes that buckets took beside the gradients.</param>
/// <param name="ReducingMs">The time of all reductions of a step, on rank 0.</param>
/// <param name="WaitingMs">
/// The part of this time for which the backward pass waited. In each pass it is that of the rank that waited least. It came last, and
/// waited for no slower one.
/// </param>
/// <param name="Hidden">The share of this time that was hidden behind the backward pass.</param>
/// <param name="PeakApartBytes">The peak of rank 0's memory in steps without communication.</param>
/// <param name="PeakTogetherBytes">The peak of rank 0's memory in steps with averaged gradients.</param>
public sealed record RanksTiming(
    string Network, int Ranks, int Batch, double ApartMs, double TogetherMs, double Ratio, double BackwardMs, long Bytes, long Messages,
    long BufferBytes, double ReducingMs, double WaitingMs, double Hidden, long PeakApartBytes, long PeakTogetherBytes);

/// <summary>The cost of averaging gradients.</summary>
public static class RanksBenchmark
{
    /// <summary>Times steps together and steps apart in turn. Every rank makes the same call.</summary>
    /// <param name="subject">The network, whose parameters change.</param>
    /// <param name="ranks">The ranks that train.</param>
    /// <param name="rounds">The number of rounds.</param>
    /// <param name="steps">The number of steps of each kind in a round.</param>
    public static RanksTiming Run(Subject subject, Ranks ranks, int rounds, int steps)
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentNullException.ThrowIfNull(ranks);
        subject.Model.train();
        using var parallel = ranks.Size > 1 ? subject.Model.DataParallel(ranks) : null;
        using var optimizer = new Adam(subject.Model.parameters());
        var (apart, together, backward, ratios, waiting) = (new List<double>(), new List<double>(), new List<double>(), new List<double>(),
            new List<double>());
        var number = ranks.Rank;
        var before = Figures();
        for (var round = -1; round < rounds; round++)
        {
            // The order changes from round to round, so that a drift of the machine's speed favours neither kind.
            var sendsFirst = round % 2 == 0;
            var (first, second) = (Steps(sendsFirst), Steps(!sendsFirst));
            if (round < 0)
            {
                before = Figures();
                backward.Clear();
                waiting.Clear();
                continue;
            }
            var (with, without) = sendsFirst ? (first, second) : (second, first);
            together.Add(with);
            apart.Add(without);
            ratios.Add(with / without);
        }
        var figures = Figures();
        var passes = Math.Max(1, figures.Passes - before.Passes);
        var measured = figures with
        {
            Reducing = figures.Reducing - before.Reducing,
            Waiting = TimeSpan.FromMilliseconds(OverRanks(ReduceOp.Min, waiting).Sum()),
        };
        return new(
            subject.Name, ranks.Size, subject.Batch, CodecBenchmark.Median(apart), CodecBenchmark.Median(together),
            CodecBenchmark.Median(ratios), CodecBenchmark.Median(backward),
            (figures.Bytes - before.Bytes) / passes, (figures.Messages - before.Messages) / passes, figures.BufferBytes,
            measured.Reducing.TotalMilliseconds / passes, measured.Waiting.TotalMilliseconds / passes, measured.Hidden, Peak(false),
            Peak(true));

        ReductionFigures Figures() => parallel?.Figures ?? default;

        double[] OverRanks(ReduceOp operation, IReadOnlyCollection<double> own)
        {
            using Tensor all = from_array(own.ToArray());
            ranks.AllReduce(all, operation);
            return all.data<double>().ToArray();
        }

        long Peak(bool sends)
        {
            using var meter = AllocatorMeter.Start();
            Steps(sends);
            return meter.PeakBytes;
        }

        double Steps(bool sends)
        {
            using var alone = parallel is null && sends ? subject.Model.DataParallel(ranks) : null;
            var times = new double[steps];
            for (var step = 0; step < steps; step++)
            {
                using var scope = NewDisposeScope();
                var (input, target) = subject.Examples(number += ranks.Size);
                ranks.Barrier();
                var waitedBefore = Figures().Waiting;
                var watch = Stopwatch.StartNew();
                optimizer.zero_grad();
                var loss = subject.Loss(input, target);
                var forward = watch.Elapsed.TotalMilliseconds;
                using (sends ? null : parallel?.NoSync()) loss.backward();
                if (!sends) backward.Add(watch.Elapsed.TotalMilliseconds - forward);
                optimizer.step();
                times[step] = watch.Elapsed.TotalMilliseconds;
                if (sends) waiting.Add((Figures().Waiting - waitedBefore).TotalMilliseconds);
            }
            return CodecBenchmark.Median(OverRanks(ReduceOp.Max, times));
        }
    }
}

/// <summary>A network between machines, for the model of more ranks.</summary>
/// <param name="Name">The name of the network.</param>
/// <param name="BytesASecond">The bandwidth in each direction of each rank.</param>
/// <param name="Latency">The latency of a message.</param>
public sealed record StatedNetwork(string Name, double BytesASecond, TimeSpan Latency)
{
    /// <summary>The networks of the table.</summary>
    public static IReadOnlyList<StatedNetwork> All { get; } =
    [
        new("1 Gb/s", 1.25e8, TimeSpan.FromMicroseconds(50)),
        new("10 Gb/s", 1.25e9, TimeSpan.FromMicroseconds(30)),
        new("100 Gb/s", 1.25e10, TimeSpan.FromMicroseconds(2)),
    ];

    /// <summary>
    /// The modelled share of their time for which the ranks train. A reduction takes 2 (n - 1) / n of its bytes at the network's speed, and
    /// 2 log2 n latencies a message. Reductions are hidden behind the backward pass as far as it lasts, except for the last message, whose
    /// gradients are complete only at its end.
    /// </summary>
    /// <param name="measured">The measured step, its backward pass and its bytes.</param>
    /// <param name="ranks">The number of ranks.</param>
    /// <param name="faster">The factor by which each rank computes faster than in the measurement.</param>
    public double Efficiency(RanksTiming measured, int ranks, double faster = 1)
    {
        ArgumentNullException.ThrowIfNull(measured);
        var (step, backward) = (measured.ApartMs / faster, measured.BackwardMs / faster);
        var message = Time(measured.Bytes / (double)measured.Messages);
        var all = measured.Messages * message;
        return step / (step + Math.Min(all, Math.Max(0, all - backward) + message));

        double Time(double bytes) =>
            1e3 * 2 * (ranks - 1) / ranks * bytes / BytesASecond + 2 * Math.Log2(ranks) * Latency.TotalMilliseconds;
    }
}
