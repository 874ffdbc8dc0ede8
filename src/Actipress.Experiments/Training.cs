using Actipress.Distributed;

namespace Actipress.Experiments;

/// <summary>Both runs: the result that <c>train --json</c> prints.</summary>
public sealed record TrainingResult(
    string Model, string Data, string Codec, string Layers, int Epochs, int Seed, RunResult Baseline, RunResult Compressed,
    bool Interrupted, TrainingPlan Plan, Provenance Provenance, IReadOnlyList<string>? Weights = null);

/// <summary>The progress of a training.</summary>
/// <param name="Epoch">The epoch, from 1.</param>
/// <param name="Run">baseline or compressed.</param>
/// <param name="Step">The number of steps done in this epoch.</param>
/// <param name="Steps">The number of steps of an epoch.</param>
/// <param name="Loss">The mean loss of the epoch so far.</param>
/// <param name="StepLoss">The loss of this step; NaN where <paramref name="TestScore"/> is given.</param>
/// <param name="ScoreName">The name of the score.</param>
/// <param name="TestScore">The test score, after the epoch's last step.</param>
public sealed record TrainingProgress(
    int Epoch, string Run, int Step, int Steps, double Loss, double StepLoss, string ScoreName, double? TestScore);

/// <summary>
/// Trains a network twice from the same seed, plain and with compressed activation maps, epoch by epoch in turn, so that both run under the
/// same load of the machine. Several ranks train each network together; rank 0 keeps the results and the state.
/// </summary>
public static class Training
{
    /// <param name="plan">The plan of the training.</param>
    /// <param name="data">The data of the plan.</param>
    /// <param name="results">Receives a line after each epoch of each run, and the summary; used on rank 0 only.</param>
    /// <param name="state">
    /// The file of the state, which is saved after each epoch, every minute and when interrupted, until the training is finished. An
    /// existing state is continued.
    /// </param>
    /// <param name="progress">Called after each step.</param>
    /// <param name="cancellation">Ends the training after the current step; the work so far is in the result and in the state.</param>
    /// <param name="device">The device of the networks; by default the CPU.</param>
    /// <param name="ranks">The ranks that train together; by default this process alone. Each rank makes the same call.</param>
    /// <param name="weights">The folder for the trained networks' weights; null where they are not saved.</param>
    /// <returns>The summary and the report of the last compressed step; null where not even one epoch of both runs was done.</returns>
    /// <exception cref="ArgumentException">A layer pattern matches nothing, or the plan is impossible.</exception>
    /// <exception cref="InvalidDataException">
    /// The state is damaged, or belongs to another training or another number of ranks.
    /// </exception>
    /// <exception cref="RanksException">Another rank has another plan or other data, or ended with other parameters.</exception>
    public static (TrainingResult Result, CompressionReport Report)? Run(
        TrainingPlan plan, TrainingData data, ResultsFile? results, TrainingState? state, IProgress<TrainingProgress>? progress,
        CancellationToken cancellation, torch.Device? device = null, Ranks? ranks = null, string? weights = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(data);
        var isFirst = ranks is null or { Rank: 0 };
        if (state is not null) state.Examples = data.Fingerprint();
        ranks?.Agree($"a training\n{plan.ByLines()}\n{data.Fingerprint()}");
        var provenance = Provenance.Here(device, ranks);
        using var baseline = new Learner(plan.Plain(), data.Plain(), device, ranks);
        using var compressed = new Learner(plan, data, device, ranks);
        Learner[] both = [baseline, compressed];
        state?.Load(ranks, both);
        while (both.Any(learner => learner.Epochs < plan.Epochs) && !Learner.Stops(cancellation, ranks))
        {
            var epoch = both.Min(learner => learner.Epochs);
            foreach (var learner in both.Where(learner => learner.Epochs == epoch))
            {
                if (!learner.Epoch(progress, isFirst ? () => state?.SaveNowAndThen(both) : null, cancellation)) break;
                // Ranks with different parameters would otherwise continue unnoticed.
                ranks?.Agree($"{learner.Name} after epoch {learner.Epochs} with parameters {learner.Fingerprint()}");
                if (!isFirst) continue;
                results?.Add(new
                {
                    kind = "epoch",
                    run = learner.Name,
                    epoch = learner.Epochs,
                    codec = plan.Codec,
                    plan.Layers,
                    model = plan.Model,
                    data = data.Name,
                    plan.Seed,
                    learner.Last.TestAccuracy,
                    learner.Last.TestDsc,
                    learner.Last.TrainLoss,
                });
                state?.Save(both);
            }
        }
        var epochs = both.Min(learner => learner.Epochs);
        if (isFirst && epochs < plan.Epochs) state?.Save(both);
        if (epochs == 0) return null;
        var (plain, packed) = (baseline.Result(cancellation), compressed.Result(cancellation));
        var interrupted = Learner.Stops(cancellation, ranks) || epochs < plan.Epochs;
        var saved = weights is null || !isFirst || interrupted
            ? null : both.Select(learner => learner.Write(weights, provenance)).ToArray();
        var result = new TrainingResult(
            plan.Model, data.Name, plan.Codec, plan.Layers, epochs, plan.Seed, plain, packed, interrupted, plan, provenance, saved);
        if (isFirst) results?.Add(new { kind = "train", result });
        if (isFirst && !interrupted) state?.Delete();
        return (result, compressed.Report!);
    }
}
