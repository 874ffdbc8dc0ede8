using System.Diagnostics;
using Actipress.Distributed;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>
/// Training steps of several ranks, each on a batch of its own, beside the same steps of the same ranks that send nothing.
/// </summary>
/// <param name="Network">Which.</param>
/// <param name="Ranks">How many.</param>
/// <param name="Batch">Examples of each in a step.</param>
/// <param name="ApartMs">Median of rank 0's steps without sending.</param>
/// <param name="TogetherMs">Likewise, with gradients averaged.</param>
/// <param name="Ratio">Median of the rounds' ratios, together by apart.</param>
/// <param name="BackwardMs">Median of the backward passes without sending.</param>
/// <param name="Bytes">What a rank gives to be reduced in a step.</param>
/// <param name="Messages">In so many pieces.</param>
/// <param name="BufferBytes">The most that buckets took beside the gradients.</param>
/// <param name="ReducingMs">Time of all reductions of a step.</param>
/// <param name="WaitingMs">Of that, time for which the backward pass stood still.</param>
/// <param name="Hidden">The share that was hidden behind the backward pass.</param>
public sealed record RanksTiming(
    string Network, int Ranks, int Batch, double ApartMs, double TogetherMs, double Ratio, double BackwardMs, long Bytes, long Messages,
        long BufferBytes, double ReducingMs, double WaitingMs, double Hidden);

/// <summary>What it costs to average gradients.</summary>
public static class RanksBenchmark
{
    /// <summary>Times steps, some together and some apart, in turn. Every rank makes the same call.</summary>
    /// <param name="subject">Its parameters change.</param>
    /// <param name="ranks">Who trains.</param>
    /// <param name="rounds">How often in turn.</param>
    /// <param name="steps">Steps of each kind in a round.</param>
    public static RanksTiming Run(Subject subject, Ranks ranks, int rounds, int steps)
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentNullException.ThrowIfNull(ranks);
        subject.Model.train();
        using var parallel = subject.Model.DataParallel(ranks);
        using var optimizer = new Adam(subject.Model.parameters());
        var (apart, together, backward, ratios, number) = (new List<double>(), new List<double>(), new List<double>(), new List<double>(),
            ranks.Rank);
        var before = parallel.Figures;
        for (var round = -1; round < rounds; round++)
        {
            // Which comes first changes from round to round, so that a drift of the machine's speed favours neither.
            var sendsFirst = round % 2 == 0;
            var (first, second) = (Steps(sendsFirst), Steps(!sendsFirst));
            if (round < 0)
            {
                before = parallel.Figures;
                backward.Clear();
                continue;
            }
            var (with, without) = sendsFirst ? (first, second) : (second, first);
            together.Add(with);
            apart.Add(without);
            ratios.Add(with / without);
        }
        var figures = parallel.Figures;
        var passes = Math.Max(1, figures.Passes - before.Passes);
        var (reducing, waiting) = (figures.Reducing - before.Reducing, figures.Waiting - before.Waiting);
        return new(
            subject.Name, ranks.Size, subject.Batch, CodecBenchmark.Median(apart), CodecBenchmark.Median(together),
                CodecBenchmark.Median(ratios), CodecBenchmark.Median(backward),
            (figures.Bytes - before.Bytes) / passes, (figures.Messages - before.Messages) / passes, figures.BufferBytes,
                reducing.TotalMilliseconds / passes, waiting.TotalMilliseconds / passes, 1 - waiting / reducing);

        double Steps(bool sends)
        {
            var times = new double[steps];
            for (var step = 0; step < steps; step++)
            {
                using var scope = NewDisposeScope();
                var (input, target) = subject.Examples(number += ranks.Size);
                ranks.Barrier();
                var watch = Stopwatch.StartNew();
                optimizer.zero_grad();
                var loss = subject.Loss(input, target);
                var forward = watch.Elapsed.TotalMilliseconds;
                using (sends ? null : parallel.NoSync()) loss.backward();
                if (!sends) backward.Add(watch.Elapsed.TotalMilliseconds - forward);
                optimizer.step();
                times[step] = watch.Elapsed.TotalMilliseconds;
            }
            return CodecBenchmark.Median(times);
        }
    }
}

/// <summary>A network between machines, as the model of more ranks takes it.</summary>
/// <param name="Name">What it is.</param>
/// <param name="BytesASecond">In each direction, of each rank.</param>
/// <param name="Latency">Of a message.</param>
public sealed record StatedNetwork(string Name, double BytesASecond, TimeSpan Latency)
{
    /// <summary>Those of the table.</summary>
    public static IReadOnlyList<StatedNetwork> All { get; } =
    [
        new("1 Gb/s", 1.25e8, TimeSpan.FromMicroseconds(50)),
        new("10 Gb/s", 1.25e9, TimeSpan.FromMicroseconds(30)),
        new("100 Gb/s", 1.25e10, TimeSpan.FromMicroseconds(2)),
    ];

    /// <summary>
    /// The share of their time for which so many ranks train, on paper. A reduction takes 2 (n - 1) / n of its bytes at the network's speed
    /// and 2 log2 n latencies a message. What takes no longer than the backward pass is hidden behind it, except the last message, whose
    /// gradients are complete only at its end.
    /// </summary>
    /// <param name="measured">A step, its backward pass and its bytes.</param>
    /// <param name="ranks">How many.</param>
    /// <param name="faster">The factor by which each computes faster than what was measured.</param>
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
