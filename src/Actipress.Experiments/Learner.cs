using System.Diagnostics;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>One training of one network, step by step: measures itself, and can be saved at any step and gone on with, bit for bit.</summary>
public sealed class Learner : IDisposable
{
    const int FidelityBatches = 4;

    readonly TrainingPlan plan;
    readonly TrainingData data;
    readonly Device device;
    readonly Objective objective;
    readonly nn.Module<Tensor, Tensor> model;
    readonly TorchSharp.Modules.OptimizerHelper optimizer;
    readonly ActivationCompression? compression;
    readonly AllocatorMeter? meter;
    readonly List<EpochResult> curve = [];
    readonly List<double> milliseconds = [];
    readonly List<long> afterForward = [];
    long peak;
    int step;
    double losses;
    Tensor? randomState;
    bool knowsSources;

    /// <param name="plan">What to train.</param>
    /// <param name="data">What the plan asks for.</param>
    /// <param name="device">Where the network is trained; the CPU where none is given.</param>
    /// <exception cref="ArgumentException">A layer pattern matches nothing, or a batch is larger than the training set.</exception>
    /// <exception cref="PlatformNotSupportedException">There is no place for the hooks here.</exception>
    public Learner(TrainingPlan plan, TrainingData data, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(data);
        (this.plan, this.data, this.device) = (plan, data, device ?? CPU);
        var network = Trainable.Find(plan.Model);
        if (plan.Batch > data.Train.Count) throw new ArgumentException($"No batch of {plan.Batch}: {data.Name} has {data.Train.Count} examples to train on.");
        var codec = ActivationCodec.Parse(plan.Codec);
        Name = codec == ActivationCodec.None ? "baseline" : "compressed";
        objective = network.Objective(plan.Loss);
        random.manual_seed(plan.Seed);
        model = network.Create(data.Channels, data.Classes, plan.Features ?? network.Features).to(this.device);
        try
        {
            EnsureTakesExamples();
            var layers = LayerSet.Parse(plan.Layers, network);
            layers.EnsureIn(model);
            if (codec != ActivationCodec.None) compression = model.CompressActivations(options => layers.Configure(options, codec));
            meter = Devices.Meter(this.device, out _);
        }
        catch
        {
            compression?.Dispose();
            model.Dispose();
            throw;
        }
        optimizer = new Adam(model.parameters(), plan.LearningRate);
    }

    // On an example of its own: none of what the training draws by chance.
    void EnsureTakesExamples()
    {
        using var inference = no_grad();
        using var scope = NewDisposeScope();
        var (input, _) = OnDevice(data.Train.Batch([0]));
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

    int Steps => (data.Train.Count + plan.Batch - 1) / plan.Batch;

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
            if (cancellation.IsCancellationRequested)
            {
                KeepRandomState();
                return false;
            }
            var loss = Step(order[(step * plan.Batch)..Math.Min((step + 1) * plan.Batch, order.Length)], epoch);
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
        curve.Add(EpochResult.Of(objective, losses / Steps, score));
        progress?.Report(new(epoch, Name, step, Steps, Last.TrainLoss, double.NaN, objective.ScoreName, Last.TestScore));
        (step, losses) = (0, 0);
        return true;
    }

    // The batch is made here and not in the background, where its memory would be counted as the step's.
    double Step(int[] indices, int epoch)
    {
        if (plan.Schedule == Schedule.Cosine)
            foreach (var group in optimizer.ParamGroups) group.LearningRate = plan.LearningRate * AlongCosine((double)Epochs * Steps + step, (double)plan.Epochs * Steps);
        using var scope = NewDisposeScope();
        var (input, target) = OnDevice(data.Train.Batch(indices, plan.Augmentation is { } augmentation ? (example, place) => augmentation.Steps().Apply(example, Chance(epoch, place)) : null));
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
        if (compression is null) loss.backward();
        else compression.Backward(loss);
        optimizer.step();
        Devices.Synchronize(device);
        milliseconds.Add(watch.Elapsed.TotalMilliseconds);
        if (meter is not null) peak = Math.Max(peak, meter.PeakBytes - before);
        if (compression is not null && indices.Length == plan.Batch) Report = compression.Report();
        return loss.item<float>();
    }

    // From 1 before the first step to 0 after the last.
    internal static double AlongCosine(double done, double all) => (1 + Math.Cos(Math.PI * done / all)) / 2;

    (Tensor Input, Tensor Target) OnDevice((Tensor Input, Tensor Target) batch)
    {
        if (device.type == DeviceType.CPU) return batch;
        using (batch.Input)
        using (batch.Target)
            return (batch.Input.to(device), batch.Target.to(device));
    }

    Random Chance(int epoch, int place) => new(unchecked((plan.Seed * 1000 + epoch) * 1_000_003 + step * plan.Batch + place));

    Tensor Loss(Tensor input, Tensor target)
    {
        using var output = model.call(input);
        return objective.Loss(output, target);
    }

    // In batches that take about as much memory as those of the training, which keeps maps besides.
    // Null where it is cancelled.
    double? Score(TrainingData.Part part, CancellationToken cancellation)
    {
        model.eval();
        using var evaluation = no_grad();
        double scores = 0;
        foreach (var indices in Enumerable.Range(0, part.Count).Chunk(4 * plan.Batch))
        {
            if (cancellation.IsCancellationRequested) return null;
            using var scope = NewDisposeScope();
            var (input, target) = OnDevice(part.Batch(indices));
            scores += objective.Scores(model.call(input), target);
        }
        return scores / part.Count;
    }

    /// <summary>What was measured up to the last whole epoch; at least one must be done.</summary>
    /// <param name="cancellation">Leaves out what is measured at the end only: the training score and the gradient's fidelity.</param>
    public RunResult Result(CancellationToken cancellation)
    {
        var (classification, trained) = (objective is Classification, Score(data.Train.Take(data.Test.Count), cancellation));
        var result = new RunResult(
            Last.TestAccuracy, Last.TestDsc, classification ? trained : null, classification ? null : trained, Last.TrainLoss,
            Statistics.Median(milliseconds), meter is null ? null : (long)Statistics.Median(afterForward.Select(bytes => (double)bytes)), meter is null ? null : peak);
        if (compression is null || Report is null) return result;
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

    /// <summary>The whole epochs, one after the other.</summary>
    public IReadOnlyList<EpochResult> Curve => curve;

    GradientFidelity Fidelity(int batch)
    {
        model.train();
        using var scope = NewDisposeScope();
        var some = data.Train.Take(FidelityBatches * plan.Batch);
        var (input, target) = OnDevice(some.Batch([.. Enumerable.Range(0, plan.Batch).Select(i => (i * FidelityBatches + batch) % some.Count)]));
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
        meter?.Dispose();
        compression?.Dispose();
        optimizer.Dispose();
        model.Dispose();
    }
}
