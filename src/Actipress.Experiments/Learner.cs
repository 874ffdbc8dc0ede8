using System.Security.Cryptography;
using Actipress.Distributed;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>
/// One training of one network, step by step. It measures itself. It can be saved after any step and continued, bit for bit. Several ranks
/// share each batch, and end with the same network.
/// </summary>
public sealed partial class Learner : IDisposable
{
    const int FidelityBatches = 4;

    readonly ParsedPlan plan;
    readonly TrainingData data;
    readonly Device device;
    readonly Ranks? ranks;
    readonly Batches batches;
    readonly nn.Module<Tensor, Tensor> model;
    readonly Adam optimizer;
    readonly ActivationCompression? compression;
    readonly DataParallel? parallel;
    readonly StepMeasurements measured;
    readonly Scoring scoring;
    readonly List<EpochResult> curve = [];
    int step;
    double losses;
    ScoreTally? tested;
    bool knowsSources;

    /// <param name="plan">The plan of the training.</param>
    /// <param name="data">The data of the plan.</param>
    /// <param name="device">The device of the network; by default the CPU.</param>
    /// <param name="ranks">The ranks that train together; by default this process alone.</param>
    /// <exception cref="ArgumentException">
    /// A layer pattern matches nothing, a batch is larger than the training set, or does not divide among ranks.
    /// </exception>
    /// <exception cref="RanksException">Another rank has another training.</exception>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    public Learner(TrainingPlan plan, TrainingData data, Device? device = null, Ranks? ranks = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(data);
        (this.plan, this.data, this.device) = (plan.Parse(), data, device ?? CPU);
        if (ranks is { Size: > 1 }) this.ranks = ranks;
        batches = new(plan, data, this.device, this.ranks);
        var (codec, layers) = (this.plan.Codec, this.plan.Layers);
        Name = codec == ActivationCodec.None ? "baseline" : "compressed";
        random.manual_seed(plan.Seed);
        model = this.plan.Create(data.Channels, data.Classes, this.ranks).to(this.device);
        try
        {
            EnsureTakesExamples();
            layers.EnsureIn(model);
            if (codec != ActivationCodec.None) compression = model.CompressActivations(options => layers.Configure(options, codec));
            measured = new(this.device);
            if (this.ranks is not null) parallel = model.DataParallel(this.ranks);
        }
        catch
        {
            measured?.Dispose();
            compression?.Dispose();
            model.Dispose();
            throw;
        }
        scoring = new(model, this.plan, data, batches, this.device, this.ranks);
        optimizer = new Adam(model.parameters(), plan.LearningRate);
    }

    // The network is tried on an example without augmentation, so that the training's random numbers stay unused.
    void EnsureTakesExamples()
    {
        using var inference = no_grad();
        using var scope = NewDisposeScope();
        var (input, _) = batches.One();
        model.eval();
        var what = $"{plan.Plan.Model} does not take {data.Name}, whose examples are {string.Join(" x ", input.shape[1..])}";
        _ = TorchErrors.WhereItFits(what, "Choose another with --data.", () => model.call(input));
        model.train();
    }

    /// <summary>baseline or compressed.</summary>
    public string Name { get; }

    /// <summary>The number of whole epochs done.</summary>
    public int Epochs => curve.Count;

    /// <summary>The result of the last whole epoch.</summary>
    public EpochResult Last => curve[^1];

    /// <summary>The report of the last compressed step of a whole batch.</summary>
    public CompressionReport? Report { get; private set; }

    // The seed of the network's own random numbers in an epoch.
    int SeedOf(int epoch) => plan.Plan.Seed * 1000 + epoch;

    /// <summary>Trains to the end of the current epoch.</summary>
    /// <param name="progress">Called after each step.</param>
    /// <param name="betweenSteps">Called after each step except the epoch's last, when the training may be saved.</param>
    /// <param name="cancellation">Ends the training after the current step.</param>
    /// <returns>False where it was cancelled.</returns>
    public bool Epoch(IProgress<TrainingProgress>? progress, Action? betweenSteps, CancellationToken cancellation)
    {
        model.train();
        var epoch = Epochs + 1;
        if (step == 0) random.manual_seed(SeedOf(epoch));
        else RestoreRandomState();
        var order = batches.Order(epoch);
        while (step < batches.Steps)
        {
            if (Stops(cancellation, ranks))
            {
                KeepRandomState();
                return false;
            }
            // The random numbers of a step are a rank's own, so that a resumed training needs no other rank's state.
            if (ranks is not null) random.manual_seed(unchecked(SeedOf(epoch) * 1_000_003 + step * ranks.Size + ranks.Rank));
            var loss = Step(order[(step * batches.Whole)..Math.Min((step + 1) * batches.Whole, order.Length)], epoch);
            losses += loss;
            step++;
            progress?.Report(new(epoch, Name, step, batches.Steps, losses / step, loss, plan.Objective.ScoreName, null));
            if (betweenSteps is null || step == batches.Steps) continue;
            KeepRandomState();
            betweenSteps();
        }
        if (scoring.Of(data.Test, cancellation) is not { } score)
        {
            KeepRandomState();
            return false;
        }
        tested = score;
        curve.Add(EpochResult.Of(plan.Objective, losses / batches.Steps, score.Mean));
        progress?.Report(new(epoch, Name, step, batches.Steps, Last.TrainLoss, double.NaN, plan.Objective.ScoreName, Last.TestScore));
        (step, losses) = (0, 0);
        return true;
    }

    /// <summary>Whether a training must stop. All ranks stop where one is asked to.</summary>
    internal static bool Stops(CancellationToken cancellation, Ranks? ranks) =>
        ranks?.Any(cancellation.IsCancellationRequested) ?? cancellation.IsCancellationRequested;

    // The batch is made here. In the background its memory would be counted as the step's.
    double Step(int[] whole, int epoch)
    {
        var (done, all) = ((double)Epochs * batches.Steps + step, (double)plan.Plan.Epochs * batches.Steps);
        if (plan.Plan.Schedule == Schedule.Cosine)
            foreach (var group in optimizer.ParamGroups) group.LearningRate = plan.Plan.LearningRate * AlongCosine(done, all);
        using var scope = NewDisposeScope();
        var (input, target, weight) = batches.Of(whole, epoch, step);
        if (ranks is not null) ranks.HasNoExamples = weight == 0;
        // The first step of a resumed training must equal that without the interruption.
        if (!knowsSources) compression?.LearnSources(() => model.call(input));
        knowsSources = true;
        measured.Begin();
        optimizer.zero_grad();
        using var loss = Loss(input, target);
        measured.AfterForward();
        using var weighted = weight == 1 ? null : loss.Mul(weight);
        if (compression is null) (weighted ?? loss).backward();
        else compression.Backward(weighted ?? loss);
        optimizer.step();
        measured.End();
        if (ranks is not null) ranks.HasNoExamples = false;
        if (compression is not null && whole.Length == batches.Whole) Report = compression.Report();
        var mean = loss.item<float>();
        return ranks is null ? mean : ranks.Sum(mean * weight) / ranks.Size;
    }

    // The factor of the step size: from 1 before the first step to 0 after the last.
    internal static double AlongCosine(double done, double all) => (1 + Math.Cos(Math.PI * done / all)) / 2;

    Tensor Loss(Tensor input, Tensor target)
    {
        using var output = model.call(input);
        return plan.Objective.Loss(output, target);
    }

    /// <summary>The measurements up to the last whole epoch; at least one epoch must be done.</summary>
    /// <param name="cancellation">Leaves out the measurements at the end: the training score and the gradient's fidelity.</param>
    public RunResult Result(CancellationToken cancellation)
    {
        var (isClassified, trained) = (plan.Objective is Classification, scoring.Of(data.Train.Take(data.Test.Count), cancellation)?.Mean);
        var result = new RunResult(
            Last.TestAccuracy, Last.TestDsc, isClassified ? trained : null, isClassified ? null : trained, Last.TrainLoss,
            measured.StepMs, measured.AfterForwardBytes, measured.PeakBytes, Patch: data.Patch, Batch: data.Batch);
        // Within an epoch the weights are no longer those that were tested.
        if (!isClassified && (step == 0 ? tested ??= scoring.Of(data.Test, cancellation) : null) is { } tally)
            result = result with { TestDscPaper = tally.PaperMean, TestClasses = tally.Classes };
        // Rank 0 measures its own gradients. Synchronised batch norms need every rank for that.
        var together = plan.AreSynchronised ? ranks : null;
        if (compression is null || Report is null || (ranks is { Rank: > 0 } && together is null)) return result;
        var all = Enumerable.Range(0, FidelityBatches).TakeWhile(_ => !Stops(cancellation, together));
        var fidelity = all.Select(Fidelity).ToArray();
        return result with
        {
            SavedBytes = Report.SavedBytes,
            KeptBytes = Report.KeptBytes,
            BytesPerElement = (double)Report.KeptBytes / (Report.SavedBytes / sizeof(float)),
            GradientCosine = fidelity.Length < FidelityBatches ? null : fidelity.Average(one => one.Cosine),
            GradientNormRatio = fidelity.Length < FidelityBatches ? null : fidelity.Average(one => one.NormRatio),
        };
    }

    /// <summary>A copy of the current network: on the CPU, not compressed, in evaluation mode; the caller disposes it.</summary>
    public nn.Module<Tensor, Tensor> Copy()
    {
        using var weights = new MemoryStream();
        using (var writer = new BinaryWriter(weights, System.Text.Encoding.UTF8, leaveOpen: true)) model.save(writer);
        weights.Position = 0;
        var copy = plan.Create(data.Channels, data.Classes);
        using (var reader = new BinaryReader(weights)) copy.load(reader);
        copy.eval();
        return copy;
    }

    /// <summary>The first digits of the SHA-256 of all parameters and buffers, which identify them bit for bit.</summary>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var tensor in model.parameters().Concat(model.buffers()))
        {
            using Tensor here = tensor.detach().to(CPU), whole = here.contiguous();
            hash.AppendData(whole.bytes);
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset())[..12];
    }

    /// <summary>Writes the network's weights and their description.</summary>
    /// <param name="folder">Files are named after the plan and the run.</param>
    /// <param name="provenance">The machine and commit of the training.</param>
    /// <returns>The path of the <c>.safetensors</c>.</returns>
    public string Write(string folder, Provenance provenance)
    {
        return ModelFile.Write(
            Path.Combine(folder, $"{plan.Plan.Model}-{plan.Plan.Key()}-{Name}"), model,
            new(
                plan.Plan.Model, Name, data.Channels, data.Classes, plan.Features, data.Scans, plan.Plan, Epochs, Last.TestScore,
                provenance, Cases(data.Train), Cases(data.Test)));

        string[] Cases(TrainingData.Part part) =>
            data.Scans is null ? [] : [.. Enumerable.Range(0, part.Count).Select(part.Data.Case).Distinct(StringComparer.Ordinal)];
    }

    /// <summary>The results of the whole epochs, in order.</summary>
    public IReadOnlyList<EpochResult> Curve => curve;

    GradientFidelity Fidelity(int which)
    {
        model.train();
        using var scope = NewDisposeScope();
        var (input, target) = batches.Sample(which, FidelityBatches);
        using var apart = parallel?.NoSync();
        return compression!.MeasureFidelity(() => Loss(input, target));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        randomState?.Dispose();
        parallel?.Dispose();
        measured.Dispose();
        compression?.Dispose();
        optimizer.Dispose();
        model.Dispose();
    }
}
