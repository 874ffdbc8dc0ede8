using System.Diagnostics;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>A training step with every layer compressed, beside the plain step of the same network in the same run.</summary>
/// <param name="Network">Which.</param>
/// <param name="Codec">As in <see cref="ActivationCodec.Parse"/>.</param>
/// <param name="PlainMs">Median of forward pass, loss, backward pass and optimizer step.</param>
/// <param name="CompressedMs">Likewise.</param>
/// <param name="PlainPeakBytes">How far the allocator rose above its level before the step, at most.</param>
/// <param name="CompressedPeakBytes">Likewise.</param>
/// <param name="SavedBytes">Activation maps as autograd saved them.</param>
/// <param name="KeptBytes">What was kept in their place.</param>
public sealed record StepTiming(string Network, string Codec, double PlainMs, double CompressedMs, long PlainPeakBytes, long CompressedPeakBytes, long SavedBytes, long KeptBytes)
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
    /// <param name="steps">Steps of each kind in a round; the first, which finds cold caches, does not count.</param>
    /// <param name="cancellation">Ends it between steps.</param>
    public static StepTiming Run(Subject subject, ActivationCodec codec, int rounds, int steps, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(subject);
        subject.Model.train();
        using var meter = AllocatorMeter.Start(subject.Device);
        using var optimizer = optim.Adam(subject.Model.parameters(), 1e-3);
        var (plain, compressed, number) = (new List<(double Milliseconds, long Peak)>(), new List<(double Milliseconds, long Peak)>(), 0);
        CompressionReport? report = null;
        // The first rounds warm up, until the compiler has seen what is hot.
        var warmingUp = Stopwatch.StartNew();
        for (var round = -1; round < rounds; round = round == -1 && warmingUp.Elapsed < WarmUp ? -1 : round + 1)
        {
            if (round == 0)
            {
                plain.Clear();
                compressed.Clear();
            }
            plain.AddRange(Steps());
            using var compression = subject.Model.CompressActivations(codec);
            compressed.AddRange(Steps());
            report = compression.Report();
        }
        return new(
            subject.Name, $"{codec}", CodecBenchmark.Median(plain.Select(step => step.Milliseconds)), CodecBenchmark.Median(compressed.Select(step => step.Milliseconds)),
            plain.Max(step => step.Peak), compressed.Max(step => step.Peak), report!.SavedBytes, report.KeptBytes);

        IEnumerable<(double Milliseconds, long Peak)> Steps() => Enumerable.Range(0, steps).Select(_ => Step(number++)).ToArray().Skip(1);

        (double Milliseconds, long Peak) Step(int round)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var (input, target) = subject.Examples(round);
            var before = meter.LevelBytes;
            meter.ResetPeak();
            Devices.Synchronize(subject.Device);
            var watch = Stopwatch.StartNew();
            optimizer.zero_grad();
            using (var loss = subject.Loss(input, target)) loss.backward();
            optimizer.step();
            Devices.Synchronize(subject.Device);
            return (watch.Elapsed.TotalMilliseconds, meter.PeakBytes - before);
        }
    }
}
