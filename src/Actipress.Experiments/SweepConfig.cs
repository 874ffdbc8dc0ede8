using System.Globalization;
using System.Text.Json;
using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>
/// An experiment as data, <c>config.json</c>: one training for each of layers x codecs x ratios x seeds x folds. All other settings are
/// those of <see cref="TrainingPlan"/>, with the network's defaults.
/// </summary>
public sealed record SweepConfig
{
    const string RatioPlace = "{ratio}";

    /// <summary>As in <see cref="TrainingPlan.Model"/>.</summary>
    public required string Model { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Data"/>.</summary>
    public string? Data { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Epochs"/>.</summary>
    public int? Epochs { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Batch"/>.</summary>
    public int? Batch { get; init; }

    /// <summary>As in <see cref="TrainingPlan.LearningRate"/>.</summary>
    public double? LearningRate { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Schedule"/>.</summary>
    public Schedule Schedule { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Loss"/>.</summary>
    public SegmentationLoss? Loss { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Augmentation"/>.</summary>
    public Augmenting? Augmentation { get; init; }

    /// <summary>As in <see cref="TrainingPlan.TrainExamples"/>.</summary>
    public int? TrainExamples { get; init; }

    /// <summary>As in <see cref="TrainingPlan.TestExamples"/>.</summary>
    public int? TestExamples { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Features"/>.</summary>
    public int? Features { get; init; }

    /// <summary>As in <see cref="TrainingPlan.BatchNorms"/>.</summary>
    public BatchNorms? BatchNorms { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Extents"/>.</summary>
    public IReadOnlyList<int>? Extents { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Patch"/>.</summary>
    public IReadOnlyList<int>? Patch { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Seed"/>.</summary>
    public IReadOnlyList<int> Seeds { get; init; } = [1];

    /// <summary>The number of folds of a cross-validation, each of which is trained; null for a fifth of the cases as the test.</summary>
    public int? Folds { get; init; }

    /// <summary>As in <see cref="TrainingPlan.Layers"/>.</summary>
    public IReadOnlyList<string> Layers { get; init; } = ["all"];

    /// <summary>
    /// As in <see cref="TrainingPlan.Codec"/>, with <c>{ratio}</c> where each of the ratios goes. <c>none</c> is plain training, once for
    /// all layers.
    /// </summary>
    public required IReadOnlyList<string> Codecs { get; init; }

    /// <summary>The ratios, lambda in the paper.</summary>
    public IReadOnlyList<double> Ratios { get; init; } = [];

    /// <summary>Whether a file is a sweep's configuration.</summary>
    public static bool IsOne(string path) => Experiments.Json.TryParse(File.ReadAllText(path)) is { ValueKind: JsonValueKind.Object } config
        && config.TryGetProperty("model", out _);

    /// <summary>Reads a file.</summary>
    /// <exception cref="InvalidDataException">The file is missing, or is no such configuration; the message says where and why.</exception>
    public static SweepConfig Read(string path)
    {
        if (!File.Exists(path))
            throw new InvalidDataException($"No file {path}: wanted an experiment's config.json, or the folder that holds it.");
        var text = File.ReadAllText(path);
        try
        {
            var config = Json.ReadStrictly<SweepConfig>(text);
            return config.Codecs.Concat(config.Layers).All(text => text is not null)
                ? config : throw new JsonException("Found null among codecs or layers, wanted texts.");
        }
        catch (JsonException failure)
        {
            throw new InvalidDataException($"{path} is no experiment's configuration: {ConfigFault.In(text, failure)}", failure);
        }
    }

    /// <summary>The plans of all trainings, in the order of codecs, ratios, layers, seeds, folds.</summary>
    /// <exception cref="ArgumentException">
    /// The configuration names something that does not exist; the message says what, and lists what exists.
    /// </exception>
    /// <exception cref="FormatException">A codec's text cannot be read.</exception>
    public IReadOnlyList<TrainingPlan> Plans()
    {
        var usual = Trainable.Find(Model).Plan(realData: true);
        var plans = new Dictionary<string, TrainingPlan>();
        foreach (var codec in Codecs.SelectMany(WithRatios))
            foreach (var layers in Layers)
                foreach (var (seed, fold) in Seeds.SelectMany(seed => AllFolds(), (seed, fold) => (seed, fold)))
                {
                    var plan = usual with
                    {
                        Data = Data ?? usual.Data,
                        Epochs = Epochs ?? usual.Epochs,
                        Batch = Batch ?? usual.Batch,
                        LearningRate = LearningRate ?? usual.LearningRate,
                        Schedule = Schedule,
                        Loss = Loss,
                        Augmentation = Augmentation,
                        TrainExamples = TrainExamples,
                        TestExamples = TestExamples,
                        Features = Features,
                        BatchNorms = BatchNorms,
                        Extents = Extents,
                        Patch = Patch,
                        Seed = seed,
                        Fold = fold,
                        Layers = layers,
                        Codec = $"{ActivationCodec.Parse(codec)}",
                    };
                    plan.Check();
                    if (plan.Codec == "none") plan = plan.Plain();
                    plans.TryAdd(plan.Key(), plan);
                }
        return plans.Count > 0 ? [.. plans.Values] : throw new ArgumentException(
            "No runs: wanted at least one each of codecs, layers and seeds, and ratios for codecs with {ratio}.");
    }

    string?[] AllFolds()
    {
        if (Folds is not { } count) return [null];
        if (count < 2) throw new ArgumentException($"folds {count}: wanted 2 or more.");
        return [.. Enumerable.Range(1, count).Select(number => $"{new Fold(number, count)}")];
    }

    IEnumerable<string> WithRatios(string codec) => codec.Contains(RatioPlace, StringComparison.Ordinal)
        ? Ratios.Select(ratio => codec.Replace(RatioPlace, ratio.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal))
        : [codec];
}
