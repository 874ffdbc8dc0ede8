using System.Diagnostics;
using System.Security.Cryptography;
using Actipress.Autograd;
using Actipress.Data;
using Actipress.Distributed;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>
/// One training of one network, step by step: measures itself, and can be saved at any step and gone on with, bit for bit. Several ranks
/// share each batch, and end with the same network.
/// </summary>
public sealed class Learner : IDisposable
{
    const int FidelityBatches = 4;

    // nnU-Net's share of patches that hold a voxel of some class.
    const double ForegroundShare = 1.0 / 3;

    readonly TrainingPlan plan;
    readonly TrainingData data;
    readonly Device device;
    readonly Ranks? ranks;
    readonly Objective objective;
    readonly nn.Module<Tensor, Tensor> model;
    readonly TorchSharp.Modules.OptimizerHelper optimizer;
    readonly ActivationCompression? compression;
    readonly DataParallel? parallel;
    readonly AllocatorMeter? meter;
    readonly List<EpochResult> curve = [];
    readonly List<double> milliseconds = [];
    readonly List<long> afterForward = [];
    long peak;
    int step;
    double losses;
    readonly int batch;
    readonly Patches? patches;
    ScoreTally? tested;
    Tensor? randomState;
    bool knowsSources;

    /// <param name="plan">What to train.</param>
    /// <param name="data">What the plan asks for.</param>
    /// <param name="device">Where the network is trained; the CPU where none is given.</param>
    /// <param name="ranks">Who trains it together; this process alone where none are given.</param>
    /// <exception cref="ArgumentException">A layer pattern matches nothing, a batch is larger than the training set, or does not divide among ranks.</exception>
    /// <exception cref="RanksException">Another rank trains something else.</exception>
    /// <exception cref="PlatformNotSupportedException">There is no place for the hooks here.</exception>
    public Learner(TrainingPlan plan, TrainingData data, Device? device = null, Ranks? ranks = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(data);
        (this.plan, this.data, this.device) = (plan, data, device ?? CPU);
        if (ranks is { Size: > 1 }) this.ranks = ranks;
        var network = Trainable.Find(plan.Model);
        batch = data.Batch ?? plan.Batch;
        if (batch > data.Train.Count) throw new ArgumentException($"No batch of {batch}: {data.Name} has {data.Train.Count} examples to train on.");
        if (batch % Size != 0) throw new ArgumentException($"A batch of {batch} does not divide among {Size} ranks: wanted a multiple of {Size}, such as --batch {(batch + Size - 1) / Size * Size}.");
        var codec = ActivationCodec.Parse(plan.Codec);
        Name = codec == ActivationCodec.None ? "baseline" : "compressed";
        objective = network.Objective(plan.Loss);
        // Of turned patches the corners are cut off, so that no air comes in.
        if (data.Patch is not null) patches = new([.. data.Patch.Select(extent => plan.Augmentation is Augmenting.Spleen or Augmenting.Brats ? extent + extent / 4 : extent)]) { Foreground = ForegroundShare };
        random.manual_seed(plan.Seed);
        model = network.Create(data.Channels, data.Classes, plan.Features ?? network.Features).to(this.device);
        try
        {
            EnsureTakesExamples();
            var layers = LayerSet.Parse(plan.Layers, network);
            layers.EnsureIn(model);
            if (codec != ActivationCodec.None) compression = model.CompressActivations(options => layers.Configure(options, codec));
            meter = Devices.Meter(this.device, out _);
            if (this.ranks is not null) parallel = model.DataParallel(this.ranks);
        }
        catch
        {
            meter?.Dispose();
            compression?.Dispose();
            model.Dispose();
            throw;
        }
        optimizer = new Adam(model.parameters(), plan.LearningRate);
    }

    // The network is tried on an example of its own, which uses none of what the training draws by chance.
    void EnsureTakesExamples()
    {
        using var inference = no_grad();
        using var scope = NewDisposeScope();
        var (input, _) = OnDevice(data.Train.Batch([0], patches is null ? null : (example, _) => example.Fit(data.Patch!)));
        model.eval();
        var what = $"{plan.Model} does not take {data.Name}, whose examples are {string.Join(" x ", input.shape[1..])}";
        _ = TorchErrors.WhereItFits(what, "Choose another with --data.", () => model.call(input));
        model.train();
    }

    /// <summary>baseline or compressed.</summary>
    public string Name { get; }

    /// <summary>Whole epochs done.</summary>
    public int Epochs => curve.Count;

    /// <summary>Of the last whole epoch.</summary>
    public EpochResult Last => curve[^1];

    /// <summary>Of the last compressed step of a whole batch.</summary>
    public CompressionReport? Report { get; private set; }

    int Size => ranks?.Size ?? 1;

    int Rank => ranks?.Rank ?? 0;

    int Steps => (data.Train.Count + batch - 1) / batch;

    /// <summary>Goes on to the end of the epoch at hand.</summary>
    /// <param name="progress">Told after each step.</param>
    /// <param name="betweenSteps">Called after each step but the epoch's last: the moment to save.</param>
    /// <param name="cancellation">Ends it after the step at hand.</param>
    /// <returns>False where it was cut short.</returns>
    public bool Epoch(IProgress<TrainingProgress>? progress, Action? betweenSteps, CancellationToken cancellation)
    {
        model.train();
        var epoch = Epochs + 1;
        if (step == 0) random.manual_seed(plan.Seed * 1000 + epoch);
        else RestoreRandomState();
        var order = Enumerable.Range(0, data.Train.Count).ToArray();
        new Random(plan.Seed * 1000 + epoch).Shuffle(order);
        while (step < Steps)
        {
            if (Stops(cancellation, ranks))
            {
                KeepRandomState();
                return false;
            }
            // What chance does in a step is a rank's own, and a training that goes on needs to know no other rank's state.
            if (ranks is not null) random.manual_seed(unchecked((plan.Seed * 1000 + epoch) * 1_000_003 + step * Size + Rank));
            var loss = Step(order[(step * batch)..Math.Min((step + 1) * batch, order.Length)], epoch);
            losses += loss;
            step++;
            progress?.Report(new(epoch, Name, step, Steps, losses / step, loss, objective.ScoreName, null));
            if (betweenSteps is null || step == Steps) continue;
            KeepRandomState();
            betweenSteps();
        }
        if (Score(data.Test, cancellation) is not { } score)
        {
            KeepRandomState();
            return false;
        }
        tested = score;
        curve.Add(EpochResult.Of(objective, losses / Steps, score.Mean));
        progress?.Report(new(epoch, Name, step, Steps, Last.TrainLoss, double.NaN, objective.ScoreName, Last.TestScore));
        (step, losses) = (0, 0);
        return true;
    }

    /// <summary>Whether a training is to stop: all ranks do where one is asked to.</summary>
    internal static bool Stops(CancellationToken cancellation, Ranks? ranks) => ranks?.Any(cancellation.IsCancellationRequested) ?? cancellation.IsCancellationRequested;

    // The batch is made here and not in the background, where its memory would be counted as the step's.
    double Step(int[] whole, int epoch)
    {
        var (indices, first, weight) = Part(whole);
        if (plan.Schedule == Schedule.Cosine)
            foreach (var group in optimizer.ParamGroups) group.LearningRate = plan.LearningRate * AlongCosine((double)Epochs * Steps + step, (double)plan.Epochs * Steps);
        using var scope = NewDisposeScope();
        var (input, target) = OnDevice(data.Train.Batch(indices, plan.Augmentation is null && patches is null ? null : (example, place) => Vary(example, Chance(epoch, first + place))));
        // A training that goes on is to take its first step as it would have without the break.
        if (!knowsSources) compression?.LearnSources(() => model.call(input));
        knowsSources = true;
        var before = meter?.LevelBytes ?? 0;
        meter?.ResetPeak();
        Devices.Synchronize(device);
        var watch = Stopwatch.StartNew();
        optimizer.zero_grad();
        using var loss = Loss(input, target);
        if (meter is not null) afterForward.Add(meter.LevelBytes - before);
        using var weighted = weight == 1 ? null : loss.Mul(weight);
        if (compression is null) (weighted ?? loss).backward();
        else compression.Backward(weighted ?? loss);
        optimizer.step();
        Devices.Synchronize(device);
        milliseconds.Add(watch.Elapsed.TotalMilliseconds);
        if (meter is not null) peak = Math.Max(peak, meter.PeakBytes - before);
        if (compression is not null && whole.Length == batch) Report = compression.Report();
        var mean = loss.item<float>();
        return ranks is null ? mean : ranks.Sum(mean * weight) / Size;
    }

    // This rank's part of a batch, where it begins, and what it weighs among the ranks' parts: the last batch of an epoch may not divide. A rank
    // for which nothing is left computes something that weighs nothing.
    (int[] Indices, int First, double Weight) Part(int[] whole)
    {
        if (ranks is null) return (whole, 0, 1);
        var (from, to) = ((int)((long)whole.Length * Rank / Size), (int)((long)whole.Length * (Rank + 1) / Size));
        return from == to ? ([whole[0]], 0, 0) : (whole[from..to], from, (double)(to - from) * Size / whole.Length);
    }

    // From 1 before the first step to 0 after the last.
    internal static double AlongCosine(double done, double all) => (1 + Math.Cos(Math.PI * done / all)) / 2;

    (Tensor Input, Tensor Target) OnDevice((Tensor Input, Tensor Target) examples)
    {
        if (device.type == DeviceType.CPU) return examples;
        using (examples.Input)
        using (examples.Target)
            return (examples.Input.to(device), examples.Target.to(device));
    }

    Example Vary(Example example, Random random)
    {
        if (patches is not null) example = patches.Take(example, random);
        if (plan.Augmentation is { } augmentation) example = augmentation.Steps().Apply(example, random);
        return patches is null ? example : example.Fit(data.Patch!);
    }

    Random Chance(int epoch, int place) => new(unchecked((plan.Seed * 1000 + epoch) * 1_000_003 + step * batch + place));

    Tensor Loss(Tensor input, Tensor target)
    {
        using var output = model.call(input);
        return objective.Loss(output, target);
    }

    // The result is null on all ranks where any rank's cancellation cut the scoring short.
    ScoreTally? Score(TrainingData.Part part, CancellationToken cancellation)
    {
        model.eval();
        using var evaluation = no_grad();
        var scores = new ScoreTally();
        // Each rank takes every so many'th example.
        var own = Enumerable.Range(0, part.Count).Where(index => index % Size == Rank);
        var isWhole = part.Scans is not null ? AddScans() : AddBatches();
        return (ranks?.Any(!isWhole) ?? !isWhole) ? null : scores.OfAll(ranks, data.Classes);

        bool AddScans()
        {
            var predictor = Predictor();
            foreach (var index in own)
            {
                if (cancellation.IsCancellationRequested) return false;
                var scan = part.Scans.Read(index);
                scores.Add<ushort>(predictor.Predict(scan, part.Data.Read(index)), scan.Labels, data.Classes);
            }
            return true;
        }

        // Batches here take about as much memory as those of the training, which keeps maps besides.
        bool AddBatches()
        {
            foreach (var indices in own.Chunk(4 * batch / Size))
            {
                if (cancellation.IsCancellationRequested) return false;
                using var scope = NewDisposeScope();
                var (input, target) = OnDevice(part.Batch(indices));
                scores.Add(objective.Scores(model.call(input), target));
            }
            return true;
        }
    }

    /// <summary>What was measured up to the last whole epoch; at least one must be done.</summary>
    /// <param name="cancellation">Leaves out what is measured at the end only: the training score and the gradient's fidelity.</param>
    public RunResult Result(CancellationToken cancellation)
    {
        var (classification, trained) = (objective is Classification, Score(data.Train.Take(data.Test.Count), cancellation)?.Mean);
        var result = new RunResult(
            Last.TestAccuracy, Last.TestDsc, classification ? trained : null, classification ? null : trained, Last.TrainLoss,
            Statistics.Median(milliseconds), meter is null ? null : (long)Statistics.Median(afterForward.Select(bytes => (double)bytes)), meter is null ? null : peak, Patch: data.Patch, Batch: data.Batch);
        // In the middle of an epoch the weights are no longer those that were tested.
        if (!classification && (step == 0 ? tested ??= Score(data.Test, cancellation) : null) is { } tally) result = result with { TestDscPaper = tally.PaperMean, TestClasses = tally.Classes };
        if (compression is null || Report is null || Rank > 0) return result;
        var batches = Enumerable.Range(0, FidelityBatches).TakeWhile(_ => !cancellation.IsCancellationRequested);
        var fidelity = batches.Select(Fidelity).ToArray();
        return result with
        {
            SavedBytes = Report.SavedBytes,
            KeptBytes = Report.KeptBytes,
            BytesPerElement = (double)Report.KeptBytes / (Report.SavedBytes / sizeof(float)),
            GradientCosine = fidelity.Length < FidelityBatches ? null : fidelity.Average(one => one.Cosine),
            GradientNormRatio = fidelity.Length < FidelityBatches ? null : fidelity.Average(one => one.NormRatio),
        };
    }

    /// <summary>The network as it is now, on its own: on the CPU, not compressed, in evaluation mode; the caller disposes it.</summary>
    public nn.Module<Tensor, Tensor> Copy()
    {
        using var weights = new MemoryStream();
        using (var writer = new BinaryWriter(weights, System.Text.Encoding.UTF8, leaveOpen: true)) model.save(writer);
        weights.Position = 0;
        var copy = Trainable.Find(plan.Model).Create(data.Channels, data.Classes, plan.Features ?? Trainable.Find(plan.Model).Features);
        using (var reader = new BinaryReader(weights)) copy.load(reader);
        copy.eval();
        return copy;
    }

    /// <summary>The first digits of the SHA-256 of all parameters and buffers: equal where they are, bit for bit.</summary>
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

    /// <summary>Predicts scans with the network as it is now; only of scans.</summary>
    Predictor Predictor() => new(model, data.Scans!, data.Classes, device) { IsOfSlices = Trainable.Find(plan.Model).IsOfSlices };

    /// <summary>Writes the network's weights and what they are of.</summary>
    /// <param name="folder">Files are named after the plan and the run.</param>
    /// <param name="provenance">Where and with what it was trained.</param>
    /// <returns>The path of the <c>.safetensors</c>.</returns>
    public string Write(string folder, Provenance provenance)
    {
        var network = Trainable.Find(plan.Model);
        return ModelFile.Write(
            Path.Combine(folder, $"{plan.Model}-{plan.Key()}-{Name}"), model,
            new(plan.Model, Name, data.Channels, data.Classes, plan.Features ?? network.Features, data.Scans, plan, Epochs, Last.TestScore, provenance, Cases(data.Train), Cases(data.Test)));

        string[] Cases(TrainingData.Part part) => data.Scans is null ? [] : [.. Enumerable.Range(0, part.Count).Select(part.Data.Case).Distinct(StringComparer.Ordinal)];
    }

    /// <summary>The whole epochs, one after the other.</summary>
    public IReadOnlyList<EpochResult> Curve => curve;

    GradientFidelity Fidelity(int which)
    {
        model.train();
        using var scope = NewDisposeScope();
        var some = data.Train.Take(FidelityBatches * batch);
        var (input, target) = OnDevice(some.Batch([.. Enumerable.Range(0, batch / Size).Select(i => (i * FidelityBatches + which) % some.Count)], patches is null ? null : (example, place) => Vary(example, new Random(which * batch + place))));
        using var apart = parallel?.NoSync();
        return compression!.MeasureFidelity(() => Loss(input, target));
    }

    /// <summary>Writes everything that decides what comes next, and what was measured.</summary>
    public void Save(BinaryWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Write(step);
        writer.Write(losses);
        writer.Write(peak);
        Write(curve.Select(epoch => epoch.TrainLoss));
        Write(curve.Select(epoch => epoch.TestScore));
        Write(milliseconds);
        Write(afterForward.Select(bytes => (double)bytes));
        writer.Write(Json.Line(Report));
        model.save(writer);
        optimizer.save_state_dict(writer);
        using var now = RandomState.Get(CPU);
        (randomState ?? now).Save(writer);
        writer.Write(compression is not null && knowsSources);
        if (knowsSources) compression?.Store.SaveSources(writer);

        void Write(IEnumerable<double> values)
        {
            var all = values.ToArray();
            writer.Write(all.Length);
            foreach (var value in all) writer.Write(value);
        }
    }

    /// <summary>Goes on where <see cref="Save"/> left off, for the same plan and data.</summary>
    public void Load(BinaryReader reader)
    {
        ArgumentNullException.ThrowIfNull(reader);
        step = reader.ReadInt32();
        losses = reader.ReadDouble();
        peak = reader.ReadInt64();
        var (trainLosses, scores) = (Read(), Read());
        curve.Clear();
        curve.AddRange(trainLosses.Zip(scores, (loss, score) => EpochResult.Of(objective, loss, score)));
        milliseconds.Clear();
        milliseconds.AddRange(Read());
        afterForward.Clear();
        afterForward.AddRange(Read().Select(bytes => (long)bytes));
        Report = Json.Read<CompressionReport>(reader.ReadString());
        model.load(reader);
        optimizer.load_state_dict(reader);
        // Into one of the same size: Tensor.Load would make whatever size the bytes ask for.
        randomState?.Dispose();
        randomState = RandomState.Get(CPU);
        randomState.Load(reader);
        knowsSources = reader.ReadBoolean();
        if (knowsSources) compression?.Store.LoadSources(reader);

        double[] Read()
        {
            var count = reader.ReadInt32();
            if (count < 0 || count > (reader.BaseStream.Length - reader.BaseStream.Position) / sizeof(double))
                throw new EndOfStreamException($"Found {count} numbers, wanted no more than there are bytes for");
            var values = new double[count];
            for (var i = 0; i < values.Length; i++) values[i] = reader.ReadDouble();
            return values;
        }
    }

    void KeepRandomState()
    {
        randomState?.Dispose();
        randomState = RandomState.Get(CPU);
    }

    void RestoreRandomState()
    {
        if (randomState is not null) RandomState.Set(CPU, randomState);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        randomState?.Dispose();
        parallel?.Dispose();
        meter?.Dispose();
        compression?.Dispose();
        optimizer.Dispose();
        model.Dispose();
    }
}
