using System.Diagnostics;
using Actipress.Data;
using Actipress.Models;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>What to train, and how.</summary>
public sealed record TrainingPlan
{
    /// <summary>The data set.</summary>
    public required ImageClasses Data { get; init; }

    /// <summary>How saved maps are stored in the compressed run.</summary>
    public required ActivationCodec Codec { get; init; }

    /// <summary>Which layers: <c>all</c>, or names and patterns with commas between them.</summary>
    public string Layers { get; init; } = "all";

    /// <summary>Passes over the training set.</summary>
    public int Epochs { get; init; } = 3;

    /// <summary>Images a step.</summary>
    public int Batch { get; init; } = 128;

    /// <summary>Step size of Adam.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Decides the parameters, the order of images, and dropout; both runs have the same.</summary>
    public int Seed { get; init; } = 1;
}

/// <summary>One run, plain or compressed.</summary>
/// <param name="TestAccuracy">Share of the test set, 0 to 1.</param>
/// <param name="TrainLoss">Mean over the last epoch.</param>
/// <param name="StepMs">Median over all steps: forward, backward and optimizer.</param>
/// <param name="AfterForwardBytes">What the forward pass and the loss left in the allocator, median over steps.</param>
/// <param name="PeakBytes">How far the allocator rose above its level before the step, largest over steps.</param>
/// <param name="SavedBytes">Activation maps as autograd saved them in the last step of a whole batch; compressed run only.</param>
/// <param name="KeptBytes">What was kept in their place.</param>
/// <param name="BytesPerElement">Kept bytes by elements of the saved maps.</param>
/// <param name="GradientCosine">Of the gradient with compression to the exact one, at the trained parameters, mean over batches.</param>
/// <param name="GradientNormRatio">Likewise.</param>
public sealed record RunResult(
    double TestAccuracy, double TrainLoss, double StepMs, long AfterForwardBytes, long PeakBytes,
    long? SavedBytes = null, long? KeptBytes = null, double? BytesPerElement = null, double? GradientCosine = null, double? GradientNormRatio = null);

/// <summary>Both runs, as <c>train --json</c> prints them.</summary>
public sealed record TrainingResult(
    string Model, string Data, string Codec, string Layers, int Epochs, int Seed, RunResult Baseline, RunResult Compressed, bool Interrupted, Provenance Provenance);

/// <summary>Where training stands.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Run">baseline or compressed.</param>
/// <param name="Step">Steps done in this epoch.</param>
/// <param name="Steps">Steps of an epoch.</param>
/// <param name="Loss">Mean of the epoch so far.</param>
/// <param name="TestAccuracy">After the epoch's last step.</param>
public sealed record TrainingProgress(int Epoch, string Run, int Step, int Steps, double Loss, double? TestAccuracy);

/// <summary>
/// Trains a network twice from the same seed, as it is and with compressed activation maps, epoch by epoch in turn so that both see
/// the same machine.
/// </summary>
public static class Training
{
    const int FidelityBatches = 4;

    /// <param name="plan">What to train.</param>
    /// <param name="results">Gets a line after each epoch of each run, and the summary.</param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellation">Ends the training after the step at hand; what was done is in the result.</param>
    /// <returns>The summary and the report of the last compressed step; null where not even one epoch of both runs was done.</returns>
    /// <exception cref="ArgumentException">A layer pattern matches nothing.</exception>
    public static (TrainingResult Result, CompressionReport Report)? Run(TrainingPlan plan, ResultsFile results, IProgress<TrainingProgress>? progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(results);
        var provenance = Provenance.Here();
        using var meter = AllocatorMeter.Start();
        using var baseline = new Learner(plan, compressed: false);
        using var compressed = new Learner(plan, compressed: true);
        var epochs = 0;
        while (epochs < plan.Epochs && !cancellation.IsCancellationRequested)
        {
            foreach (var learner in (Learner[])[baseline, compressed])
                if (learner.Epoch(epochs + 1, meter, progress, cancellation))
                    results.Add(new { kind = "epoch", run = learner.Name, epoch = epochs + 1, codec = $"{plan.Codec}", plan.Layers, data = plan.Data.Name, plan.Seed, learner.TestAccuracy, learner.TrainLoss });
            if (!cancellation.IsCancellationRequested) epochs++;
        }
        if (epochs == 0) return null;
        var result = new TrainingResult(
            "lenet", plan.Data.Name, $"{plan.Codec}", plan.Layers, epochs, plan.Seed, baseline.Result(), compressed.Result(), epochs < plan.Epochs, provenance);
        results.Add(new { kind = "train", result });
        return (result, compressed.Report!);
    }

    sealed class Learner : IDisposable
    {
        readonly TrainingPlan plan;
        readonly LeNet model;
        readonly optim.Optimizer optimizer;
        readonly ActivationCompression? compression;
        readonly (float Mean, float Deviation) scale;
        readonly List<double> milliseconds = [];
        readonly List<long> afterForward = [];
        long peak;

        public Learner(TrainingPlan plan, bool compressed)
        {
            this.plan = plan;
            Name = compressed ? "compressed" : "baseline";
            random.manual_seed(plan.Seed);
            model = new LeNet();
            optimizer = optim.Adam(model.parameters(), plan.LearningRate);
            scale = MeanAndDeviation(plan.Data.Train.Pixels);
            if (compressed)
                compression = model.CompressActivations(options =>
                {
                    options.Default(plan.Codec);
                    if (plan.Layers != "all") options.Blocks(plan.Layers.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));
                });
        }

        public string Name { get; }
        public double TrainLoss { get; private set; } = double.NaN;
        public double TestAccuracy { get; private set; } = double.NaN;
        public CompressionReport? Report { get; private set; }

        // False where it was cut short.
        public bool Epoch(int epoch, AllocatorMeter meter, IProgress<TrainingProgress>? progress, CancellationToken cancellation)
        {
            model.train();
            random.manual_seed(plan.Seed * 1000 + epoch);
            var order = Enumerable.Range(0, plan.Data.Train.Count).ToArray();
            new Random(plan.Seed * 1000 + epoch).Shuffle(order);
            var steps = (order.Length + plan.Batch - 1) / plan.Batch;
            double losses = 0;
            for (var step = 0; step < steps; step++)
            {
                if (cancellation.IsCancellationRequested) return false;
                losses += Step(order.AsSpan(step * plan.Batch, Math.Min(plan.Batch, order.Length - step * plan.Batch)), meter);
                progress?.Report(new(epoch, Name, step + 1, steps, losses / (step + 1), null));
            }
            TrainLoss = losses / steps;
            TestAccuracy = Accuracy();
            progress?.Report(new(epoch, Name, steps, steps, TrainLoss, TestAccuracy));
            return true;
        }

        double Step(ReadOnlySpan<int> indices, AllocatorMeter meter)
        {
            using var scope = NewDisposeScope();
            var (images, labels) = plan.Data.Train.Batch(indices, scale.Mean, scale.Deviation);
            var before = AllocatorMeter.CurrentBytes;
            meter.ResetPeak();
            var watch = Stopwatch.StartNew();
            optimizer.zero_grad();
            using var loss = Loss(images, labels);
            afterForward.Add(AllocatorMeter.CurrentBytes - before);
            if (compression is null) loss.backward();
            else compression.Backward(loss);
            optimizer.step();
            milliseconds.Add(watch.Elapsed.TotalMilliseconds);
            peak = Math.Max(peak, meter.PeakBytes - before);
            if (compression is not null && indices.Length == plan.Batch) Report = compression.Report();
            return loss.item<float>();
        }

        Tensor Loss(Tensor images, Tensor labels)
        {
            using var output = model.call(images);
            return nn.functional.nll_loss(output, labels);
        }

        double Accuracy()
        {
            model.eval();
            using var evaluation = no_grad();
            long right = 0;
            foreach (var indices in Enumerable.Range(0, plan.Data.Test.Count).Chunk(1000))
            {
                using var scope = NewDisposeScope();
                var (images, labels) = plan.Data.Test.Batch(indices, scale.Mean, scale.Deviation);
                right += model.call(images).argmax(1).eq(labels).sum().item<long>();
            }
            return (double)right / plan.Data.Test.Count;
        }

        public RunResult Result()
        {
            var result = new RunResult(TestAccuracy, TrainLoss, Median(milliseconds), (long)Median(afterForward.Select(bytes => (double)bytes)), peak);
            if (compression is null) return result;
            var fidelity = Enumerable.Range(0, FidelityBatches).Select(Fidelity).ToArray();
            return result with
            {
                SavedBytes = Report!.SavedBytes,
                KeptBytes = Report.KeptBytes,
                BytesPerElement = (double)Report.KeptBytes / (Report.SavedBytes / sizeof(float)),
                GradientCosine = fidelity.Average(one => one.Cosine),
                GradientNormRatio = fidelity.Average(one => one.NormRatio),
            };
        }

        GradientFidelity Fidelity(int batch)
        {
            model.train();
            using var scope = NewDisposeScope();
            var (images, labels) = plan.Data.Train.Batch(Enumerable.Range(batch * plan.Batch, plan.Batch).Select(i => i % plan.Data.Train.Count).ToArray(), scale.Mean, scale.Deviation);
            return compression!.MeasureFidelity(() => Loss(images, labels));
        }

        public void Dispose()
        {
            compression?.Dispose();
            optimizer.Dispose();
            model.Dispose();
        }
    }

    static (float Mean, float Deviation) MeanAndDeviation(byte[] pixels)
    {
        double sum = 0, squares = 0;
        foreach (var pixel in pixels)
        {
            sum += pixel;
            squares += pixel * pixel;
        }
        var mean = sum / pixels.Length;
        return ((float)(mean / 255), (float)(Math.Sqrt(squares / pixels.Length - mean * mean) / 255));
    }

    static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length == 0 ? double.NaN : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
