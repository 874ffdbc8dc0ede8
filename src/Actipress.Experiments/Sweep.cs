using System.Diagnostics;
using System.Runtime.InteropServices;
using Actipress.Distributed;

namespace Actipress.Experiments;

/// <summary>A finished training of a sweep: a line of its results.</summary>
/// <param name="Kind">The kind of the line: <c>run</c>.</param>
/// <param name="Key">The key of the plan.</param>
/// <param name="Plan">The plan of the training.</param>
/// <param name="Result">The result of the training.</param>
/// <param name="Curve">The results by epoch.</param>
/// <param name="Threads">The number of torch's threads.</param>
/// <param name="Seconds">The seconds since the run began, or was last resumed.</param>
/// <param name="Provenance">The machine and commit.</param>
public sealed record SweepRun(
    string Kind, string Key, TrainingPlan Plan, RunResult Result, IReadOnlyList<EpochResult> Curve, int Threads, double Seconds,
    Provenance Provenance);

/// <summary>The progress of one of a sweep's trainings.</summary>
/// <param name="Plan">The plan of the training.</param>
/// <param name="At">The progress of the training; null where it has ended.</param>
/// <param name="Notice">A message about a failure, if any.</param>
/// <param name="Failed">Whether the training has ended by the failure.</param>
public sealed record SweepProgress(TrainingPlan Plan, TrainingProgress? At, string? Notice = null, bool Failed = false);

/// <summary>
/// The trainings of an experiment, each once. Any number of processes, on one machine or on several with a common file system, may work on
/// one sweep. Each process takes a training that is neither done nor claimed, holds a lock on the claim while it trains, and adds a line to
/// the results. The system releases a lock however its process ends. A training that was begun continues from its state. Where ranks train
/// together, rank 0 claims, and keeps results and states.
/// </summary>
public sealed class Sweep
{
    readonly string stateFolder;
    (TrainingPlan Plan, TrainingData Data)? loaded;

    /// <param name="path">The experiment's config.json, or its folder. Results and states are written beside it.</param>
    /// <exception cref="InvalidDataException">The file is no configuration.</exception>
    /// <exception cref="ArgumentException">The configuration names something that does not exist.</exception>
    /// <exception cref="FormatException">A codec's text cannot be read.</exception>
    public Sweep(string path)
    {
        ConfigPath = Path.GetFullPath(Directory.Exists(path) ? Path.Combine(path, "config.json") : path);
        var config = SweepConfig.Read(ConfigPath);
        Plans = config.Plans();
        foreach (var plan in Plans.DistinctBy(plan => plan.Layers)) CheckLayers(plan);
        Results = new ResultsFile(Folder);
        stateFolder = Path.Combine(Folder, "state");
    }

    /// <summary>The experiment's configuration.</summary>
    public string ConfigPath { get; }

    /// <summary>The device of the trainings; by default the CPU.</summary>
    public torch.Device? Device { get; init; }

    /// <summary>The ranks that do each training together, all with the same calls; null for this process alone.</summary>
    public Ranks? Ranks { get; init; }

    bool IsFirst => Ranks is null or { Rank: 0 };

    // The answer of rank 0, on all ranks.
    bool OnFirst(Func<bool> own) => Ranks is null ? own() : Ranks.Any(IsFirst && own());

    /// <summary>The experiment's folder.</summary>
    public string Folder => Path.GetDirectoryName(ConfigPath)!;

    /// <summary>The plans of its trainings.</summary>
    public IReadOnlyList<TrainingPlan> Plans { get; }

    /// <summary>Its results; lines of other kinds are skipped.</summary>
    public ResultsFile Results { get; }

    /// <summary>The finished trainings, in the order of <see cref="Plans"/>; incomplete lines are skipped.</summary>
    public IReadOnlyList<SweepRun> Done()
    {
        var lines = Results.Lines().Select(line => Json.Read<SweepRun>(line.GetRawText())).OfType<SweepRun>()
            .Where(run => run.Kind == "run").ToLookup(run => run.Key);
        return [.. Plans.SelectMany(plan => lines[plan.Key()].Take(1).Select(run => run with { Plan = plan }))];
    }

    /// <summary>The remaining trainings.</summary>
    public IReadOnlyList<TrainingPlan> Remaining()
    {
        var done = Done().Select(run => run.Key).ToHashSet();
        return [.. Plans.Where(plan => !done.Contains(plan.Key()))];
    }

    /// <summary>Checks whether several ranks can do each training together.</summary>
    /// <param name="ranks">The number of ranks.</param>
    /// <exception cref="ArgumentException">They cannot; the message says why.</exception>
    public void CheckAmong(int ranks)
    {
        if (Plans.FirstOrDefault(plan => plan.Batch % ranks != 0) is { } uneven)
            throw new ArgumentException($"A batch of {uneven.Batch} does not divide among {ranks} ranks: wanted a \"batch\" in "
                + $"{ConfigPath} that is a multiple of {ranks}, or another number of ranks.");
        foreach (var plan in Plans) plan.CheckAmong(ranks);
    }

    /// <summary>Trains each plan that is neither done nor claimed by another process, until none is left.</summary>
    /// <param name="dataFolder">The folder of real data; null where there is none.</param>
    /// <param name="progress">Called after each step.</param>
    /// <param name="cancellation">Ends the work after the current step, whose state is saved.</param>
    public void Work(string? dataFolder, IProgress<SweepProgress>? progress, CancellationToken cancellation)
    {
        foreach (var plan in Plans)
        {
            if (Learner.Stops(cancellation, Ranks)) return;
            Train(plan, dataFolder, progress, cancellation);
        }
    }

    /// <summary>Trains one of the plans, unless it is done or claimed. A failure is reported to <paramref name="progress"/>.</summary>
    /// <inheritdoc cref="Work"/>
    /// <param name="plan">One of <see cref="Plans"/>.</param>
    public void Train(TrainingPlan plan, string? dataFolder, IProgress<SweepProgress>? progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(plan);
        if (OnFirst(() => IsDone(plan))) return;
        if (IsFirst) Directory.CreateDirectory(stateFolder);
        var path = Path.Combine(stateFolder, plan.Key() + ".claim");
        using var claim = IsFirst ? TryClaim(path) : null;
        if (OnFirst(() => claim is null)) return;
        try
        {
            // Another process may have just finished it.
            if (!OnFirst(() => IsDone(plan))) TrainClaimed(plan, dataFolder, progress, cancellation);
            if (IsFirst && IsDone(plan)) File.Delete(path);
        }
        catch (Exception failure) when (failure is ArgumentException or InvalidDataException or ActipressException or ExternalException
            or IOException or UnauthorizedAccessException)
        {
            progress?.Report(new(plan, null, failure.Message, Failed: true));
        }
    }

    bool IsDone(TrainingPlan plan)
    {
        var key = plan.Key();
        return Results.Lines().Any(line => IsResultOf(line, key));
    }

    static bool IsResultOf(System.Text.Json.JsonElement line, string key) => line.Has("key", key);

    static FileStream? TryClaim(string path)
    {
        try { return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None); }
        catch (IOException) when (File.Exists(path)) { return null; }
    }

    void TrainClaimed(TrainingPlan plan, string? dataFolder, IProgress<SweepProgress>? progress, CancellationToken cancellation)
    {
        var (watch, provenance) = (Stopwatch.StartNew(), Provenance.Here(Device, Ranks));
        var data = Load(plan, dataFolder);
        var state = new TrainingState(Path.Combine(stateFolder, plan.Key() + ".state"), plan)
        {
            Ranks = Ranks?.Size ?? 1,
            Examples = data.Fingerprint(),
        };
        using var learner = GoOn(plan, data, state, progress);
        var steps = new Steps(plan, progress);
        while (learner.Epochs < plan.Epochs)
        {
            var whole = learner.Epoch(steps, IsFirst ? () => state.SaveNowAndThen(learner) : null, cancellation);
            if (whole) Ranks?.Agree($"{plan.Key()} after epoch {learner.Epochs} with parameters {learner.Fingerprint()}");
            if (whole && learner.Epochs == plan.Epochs) break;
            if (IsFirst) state.Save(learner);
            if (!whole) return;
        }
        var result = learner.Result(cancellation);
        if (Learner.Stops(cancellation, Ranks))
        {
            if (IsFirst) state.Save(learner);
            return;
        }
        if (!IsFirst) return;
        var run = new SweepRun("run", plan.Key(), plan, result, learner.Curve, torch.get_num_threads(),
            watch.Elapsed.TotalSeconds, provenance);
        Results.AddUnless(line => IsResultOf(line, run.Key), run);
        state.Delete();
        progress?.Report(new(plan, null));
    }

    // A damaged state may have been restored in part, so that a new learner begins anew.
    Learner GoOn(TrainingPlan plan, TrainingData data, TrainingState state, IProgress<SweepProgress>? progress)
    {
        var learner = new Learner(plan, data, Device, Ranks);
        try
        {
            state.Load(Ranks, learner);
            return learner;
        }
        catch (InvalidDataException damage)
        {
            learner.Dispose();
            progress?.Report(new(plan, null, $"{damage.Message} The run begins anew."));
            if (IsFirst) state.Delete();
            return new(plan, data, Device, Ranks);
        }
        catch
        {
            learner.Dispose();
            throw;
        }
    }

    sealed class Steps(TrainingPlan plan, IProgress<SweepProgress>? progress) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => progress?.Report(new(plan, value));
    }

    // Most plans of a sweep differ only in their compression.
    TrainingData Load(TrainingPlan plan, string? dataFolder)
    {
        var asked = plan.Plain() with { Seed = 0 };
        if (loaded?.Plan != asked) loaded = (asked, KnownData.Load(plan, dataFolder));
        return loaded.Value.Data;
    }

    // A misspelt layer must be found before the first training.
    static void CheckLayers(TrainingPlan plan)
    {
        var parsed = plan.Parse();
        using var scope = torch.NewDisposeScope();
        using var model = parsed.Network.Create(parsed.Network.Examples == ExampleKind.Colour ? 3 : 1, 2, 4);
        parsed.Layers.EnsureIn(model);
        using var compression = model.CompressActivations(options => parsed.Layers.Configure(options, ActivationCodec.None));
    }
}
