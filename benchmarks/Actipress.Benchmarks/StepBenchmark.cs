using System.Diagnostics;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>A training step with every layer compressed, beside the plain step of the same network in the same run.</summary>
/// <param name="Network">The network.</param>
/// <param name="Codec">The codec, as in <see cref="ActivationCodec.Parse"/>.</param>
/// <param name="PlainMs">The median time of forward pass, loss, backward pass and optimizer step without compression.</param>
/// <param name="CompressedMs">The same median time with compression.</param>
/// <param name="PlainPeakBytes">
/// The highest level of the allocator above its level before the step, in plain steps that were not timed.
/// </param>
/// <param name="CompressedPeakBytes">The same level in compressed steps.</param>
/// <param name="SavedBytes">The bytes of the activation maps as autograd saved them.</param>
/// <param name="KeptBytes">The bytes that were kept in their place.</param>
public sealed record StepTiming(
    string Network, string Codec, double PlainMs, double CompressedMs, long PlainPeakBytes, long CompressedPeakBytes, long SavedBytes,
    long KeptBytes)
{
    /// <summary>The time of the compressed step divided by that of the plain step.</summary>
    public double Ratio => CompressedMs / PlainMs;
}

/// <summary>Times whole training steps.</summary>
public static class StepBenchmark
{
    static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(2);

    /// <summary>Times plain and compressed steps in turn.</summary>
    /// <param name="subject">The network, whose parameters change.</param>
    /// <param name="codec">The codec of every layer.</param>
    /// <param name="rounds">The number of rounds.</param>
    /// <param name="steps">
    /// The number of steps of each kind in a round, two or more. The first step runs with cold caches and does not count.
    /// </param>
    /// <param name="cancellation">Ends the benchmark between steps.</param>
    public static StepTiming Run(Subject subject, ActivationCodec codec, int rounds, int steps, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(subject);
        subject.Model.train();
        using var optimizer = new Adam(subject.Model.parameters());
        var (plain, compressed, plainPeak, compressedPeak, number) = (new List<double>(), new List<double>(), 0L, 0L, 0);
        CompressionReport? report = null;
        // The first rounds warm up until the compiler has optimised the hot code.
        var warmingUp = Stopwatch.StartNew();
        for (var round = -1; round < rounds; round = round == -1 && warmingUp.Elapsed < WarmUp ? -1 : round + 1)
        {
            if (round == 0)
            {
                plain.Clear();
                compressed.Clear();
                (plainPeak, compressedPeak) = (0, 0);
            }
            Steps(plain, ref plainPeak);
            using var compression = subject.Model.CompressActivations(codec);
            Steps(compressed, ref compressedPeak);
            report = compression.Report();
        }
        return new(
            subject.Name, $"{codec}", CodecBenchmark.Median(plain), CodecBenchmark.Median(compressed), plainPeak, compressedPeak,
            report!.SavedBytes, report.KeptBytes);

        // The time of a meter grows with the number of allocations, so it watches the step that does not count.
        void Steps(List<double> times, ref long peak)
        {
            using (var meter = AllocatorMeter.Start(subject.Device)) Step(meter, ref peak);
            for (var step = 1; step < steps; step++) times.Add(Step(null, ref peak));
        }

        double Step(AllocatorMeter? meter, ref long peak)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var (input, target) = subject.Examples(number++);
            var before = meter?.LevelBytes ?? 0;
            meter?.ResetPeak();
            Devices.Synchronize(subject.Device);
            var watch = Stopwatch.StartNew();
            optimizer.zero_grad();
            using (var loss = subject.Loss(input, target)) loss.backward();
            optimizer.step();
            Devices.Synchronize(subject.Device);
            var milliseconds = watch.Elapsed.TotalMilliseconds;
            if (meter is not null) peak = Math.Max(peak, meter.PeakBytes - before);
            return milliseconds;
        }
    }
}
