using Actipress.Distributed;

namespace Actipress.Experiments;

/// <summary>Both runs, as <c>train --json</c> prints them.</summary>
public sealed record TrainingResult(
    string Model, string Data, string Codec, string Layers, int Epochs, int Seed, RunResult Baseline, RunResult Compressed, bool Interrupted, TrainingPlan Plan, Provenance Provenance,
    IReadOnlyList<string>? Weights = null);

/// <summary>Where training stands.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Run">baseline or compressed.</param>
/// <param name="Step">Steps done in this epoch.</param>
/// <param name="Steps">Steps of an epoch.</param>
/// <param name="Loss">Mean of the epoch so far.</param>
/// <param name="StepLoss">Of this step; NaN where <paramref name="TestScore"/> is told.</param>
/// <param name="ScoreName">What the score is.</param>
/// <param name="TestScore">After the epoch's last step.</param>
public sealed record TrainingProgress(int Epoch, string Run, int Step, int Steps, double Loss, double StepLoss, string ScoreName, double? TestScore);

/// <summary>
/// Trains a network twice from the same seed, as it is and with compressed activation maps, epoch by epoch in turn so that both see
/// the same machine. Several ranks train each of them together; rank 0 keeps the results and the state.
/// </summary>
public static class Training
{
    /// <param name="plan">What to train.</param>
    /// <param name="data">What the plan asks for.</param>
    /// <param name="results">Gets a line after each epoch of each run, and the summary; rank 0's alone.</param>
    /// <param name="state">Where the state is kept, after each epoch, each minute and when interrupted, until the training is finished; what is there is gone on with.</param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellation">Ends the training after the step at hand; what was done is in the result and in the state.</param>
    /// <param name="device">Where the networks are trained; the CPU where none is given.</param>
    /// <param name="ranks">Who trains together; this process alone where none are given. Each rank makes the same call.</param>
    /// <param name="weights">The folder for the trained networks' weights; null: they are not kept.</param>
    /// <returns>The summary and the report of the last compressed step; null where not even one epoch of both runs was done.</returns>
    /// <exception cref="ArgumentException">A layer pattern matches nothing, or the plan is not to be had.</exception>
    /// <exception cref="InvalidDataException">The state is damaged or another training's.</exception>
    /// <exception cref="RanksException">Another rank has another plan, other data, or ended with other parameters.</exception>
    public static (TrainingResult Result, CompressionReport Report)? Run(
        TrainingPlan plan, TrainingData data, ResultsFile? results, TrainingState? state, IProgress<TrainingProgress>? progress, CancellationToken cancellation, torch.Device? device = null,
        Ranks? ranks = null, string? weights = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(data);
        var isFirst = ranks is null or { Rank: 0 };
        ranks?.Agree($"a training\n{Json.Line(plan)}\n{data.Name}, {data.Train.Fingerprint()} to train on, {data.Test.Fingerprint()} to test on");
        var provenance = Provenance.Here(device);
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
                // Ranks that have drifted apart would go on without a sign of it.
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
        var saved = weights is null || !isFirst || interrupted ? null : both.Select(learner => learner.Write(weights, provenance)).ToArray();
        var result = new TrainingResult(
            plan.Model, data.Name, plan.Codec, plan.Layers, epochs, plan.Seed, plain, packed, interrupted, plan, provenance, saved);
        if (isFirst) results?.Add(new { kind = "train", result });
        if (isFirst && !interrupted) state?.Delete();
        return (result, compressed.Report!);
    }
}
