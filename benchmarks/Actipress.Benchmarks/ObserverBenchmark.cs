using System.Diagnostics;
using Actipress.Autograd;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>
/// A training step whose operations are observed, beside the same step without: saved tensors go through hooks that keep them as they are
/// in both.
/// </summary>
/// <param name="Network">Which.</param>
/// <param name="PlainMs">Median of forward pass, loss, backward pass and optimizer step, without the observer.</param>
/// <param name="ObservedMs">Likewise, with it.</param>
/// <param name="Ratio">Median of the rounds' ratios, observed by plain.</param>
/// <param name="LowRatio">Their first quartile.</param>
/// <param name="HighRatio">Their third quartile.</param>
public sealed record ObserverTiming(string Network, double PlainMs, double ObservedMs, double Ratio, double LowRatio, double HighRatio);

/// <summary>What it costs to know which operation saves a tensor.</summary>
public static class ObserverBenchmark
{
    static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(2);

    /// <summary>Times steps, some observed and some not, in turn.</summary>
    /// <param name="subject">Its parameters change.</param>
    /// <param name="rounds">How often in turn.</param>
    /// <param name="steps">Steps of each kind in a round.</param>
    /// <param name="cancellation">Ends it between steps.</param>
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
            // Which comes first changes from round to round, so that a drift of the machine's speed favours neither.
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
