using System.Diagnostics;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>A training step with every layer compressed, beside the plain step of the same network in the same run.</summary>
/// <param name="Network">Which.</param>
/// <param name="Codec">As in <see cref="ActivationCodec.Parse"/>.</param>
/// <param name="PlainMs">Median of forward pass, loss, backward pass and optimizer step.</param>
/// <param name="CompressedMs">Likewise.</param>
/// <param name="PlainPeakBytes">How far the allocator rose above its level before the step, at most; of steps that were not timed.</param>
/// <param name="CompressedPeakBytes">Likewise.</param>
/// <param name="SavedBytes">Activation maps as autograd saved them.</param>
/// <param name="KeptBytes">What was kept in their place.</param>
public sealed record StepTiming(
    string Network, string Codec, double PlainMs, double CompressedMs, long PlainPeakBytes, long CompressedPeakBytes, long SavedBytes,
    long KeptBytes)
{
    /// <summary>Compressed by plain.</summary>
    public double Ratio => CompressedMs / PlainMs;
}

/// <summary>Times whole training steps.</summary>
public static class StepBenchmark
{
    static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(2);

    /// <summary>Times steps, some plain and some compressed in turn.</summary>
    /// <param name="subject">Its parameters change.</param>
    /// <param name="codec">For every layer.</param>
    /// <param name="rounds">How often in turn.</param>
    /// <param name="steps">Steps of each kind in a round, two or more; the first, which finds cold caches, does not count.</param>
    /// <param name="cancellation">Ends it between steps.</param>
    public static StepTiming Run(Subject subject, ActivationCodec codec, int rounds, int steps, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(subject);
        subject.Model.train();
        using var optimizer = new Adam(subject.Model.parameters());
        var (plain, compressed, plainPeak, compressedPeak, number) = (new List<double>(), new List<double>(), 0L, 0L, 0);
        CompressionReport? report = null;
        // The first rounds warm up, until the compiler has seen what is hot.
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

        // A meter takes time, the more the more is allocated: it watches the step that does not count.
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
