using System.Diagnostics;
using Actipress.Autograd;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>
/// A training step whose operations are observed, beside the same step without the observer. In both, saved tensors pass through hooks that
/// keep them as they are.
/// </summary>
/// <param name="Network">The network.</param>
/// <param name="PlainMs">The median time of forward pass, loss, backward pass and optimizer step without the observer.</param>
/// <param name="ObservedMs">The same median time with the observer.</param>
/// <param name="Ratio">The median of the rounds' ratios, observed divided by plain.</param>
/// <param name="LowRatio">The first quartile of the ratios.</param>
/// <param name="HighRatio">The third quartile of the ratios.</param>
public sealed record ObserverTiming(string Network, double PlainMs, double ObservedMs, double Ratio, double LowRatio, double HighRatio);

/// <summary>The cost of observing which operation saves a tensor.</summary>
public static class ObserverBenchmark
{
    static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(2);

    /// <summary>Times observed and plain steps in turn.</summary>
    /// <param name="subject">The network, whose parameters change.</param>
    /// <param name="rounds">The number of rounds.</param>
    /// <param name="steps">The number of steps of each kind in a round.</param>
    /// <param name="cancellation">Ends the benchmark between steps.</param>
    public static ObserverTiming Run(Subject subject, int rounds, int steps, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(subject);
        SavedTensors.SelfCheck();
        subject.Model.train();
        using var optimizer = new Adam(subject.Model.parameters());
        var (plain, observed, ratios, number) = (new List<double>(), new List<double>(), new List<double>(), 0);
        var warmingUp = Stopwatch.StartNew();
        for (var round = -1; round < rounds; round = round == -1 && warmingUp.Elapsed < WarmUp ? -1 : round + 1)
        {
            // The order changes from round to round, so that a drift of the machine's speed favours neither kind.
            var (first, second) = (Steps(observe: round % 2 == 0), Steps(observe: round % 2 != 0));
            if (round < 0) continue;
            var (with, without) = round % 2 == 0 ? (first, second) : (second, first);
            observed.Add(with);
            plain.Add(without);
            ratios.Add(with / without);
        }
        ratios.Sort();
        return new(
            subject.Name, CodecBenchmark.Median(plain), CodecBenchmark.Median(observed), CodecBenchmark.Median(ratios),
            ratios[ratios.Count / 4], ratios[3 * ratios.Count / 4]);

        double Steps(bool observe)
        {
            var hooks = new KeepingEverything(observe);
            var times = new double[steps];
            for (var step = 0; step < steps; step++)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var (input, target) = subject.Examples(number++);
                var watch = Stopwatch.StartNew();
                optimizer.zero_grad();
                Tensor loss;
                using (SavedTensorsScope.Enter(hooks)) loss = subject.Loss(input, target);
                loss.backward();
                optimizer.step();
                times[step] = watch.Elapsed.TotalMilliseconds;
            }
            return CodecBenchmark.Median(times);
        }
    }

    sealed class KeepingEverything(bool observe) : SavedTensorHooks
    {
        public override bool WatchesOperations => observe;
        public override SavedTensor Pack(Tensor tensor) => new PassedOn(tensor);
    }
}
