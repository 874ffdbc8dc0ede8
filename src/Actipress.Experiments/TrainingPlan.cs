using System.Security.Cryptography;
using Actipress.Data;
using Actipress.Distributed;

namespace Actipress.Experiments;

/// <summary>
/// One training as data: everything that decides its outcome. Null stands for the default of the network or the data set.
/// </summary>
public sealed record TrainingPlan
{
    /// <summary>The network, one of <see cref="Trainable.All"/>.</summary>
    public required string Model { get; init; }

    /// <summary>The data set, one of <see cref="KnownData.All"/>, or the path of a folder or table of volumes.</summary>
    public required string Data { get; init; }

    /// <summary>The compressed layers; see <see cref="LayerSet"/>.</summary>
    public string Layers { get; init; } = "all";

    /// <summary>The codec of their saved maps, as <see cref="ActivationCodec.Parse"/> reads it; <c>none</c> is plain training.</summary>
    public string Codec { get; init; } = "dct:10";

    /// <summary>The number of epochs.</summary>
    public int Epochs { get; init; } = 3;

    /// <summary>The number of examples of a step.</summary>
    public int Batch { get; init; } = 128;

    /// <summary>The step size of Adam. The paper's is 1e-4, for 50 to 70 epochs.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>The schedule of the step size; the paper's is constant.</summary>
    public Schedule Schedule { get; init; }

    /// <summary>The loss of a segmentation.</summary>
    public SegmentationLoss? Loss { get; init; }

    /// <summary>The augmentation of examples.</summary>
    public Augmenting? Augmentation { get; init; }

    /// <summary>The seed of the parameters, the order of examples, their augmentation, and dropout.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>The number of training examples to use, evenly spaced; null for all.</summary>
    public int? TrainExamples { get; init; }

    /// <summary>The number of test examples to use, evenly spaced; null for all.</summary>
    public int? TestExamples { get; init; }

    /// <summary>The number of channels of the network's first level.</summary>
    public int? Features { get; init; }

    /// <summary>The statistics of the batch norms where several ranks train together.</summary>
    public BatchNorms? BatchNorms { get; init; }

    /// <summary>The depth, height and width to which volumes are cut or padded: multiples of 16.</summary>
    public IReadOnlyList<int>? Extents { get; init; }

    /// <summary>
    /// The depth, height and width of the patches that are drawn from whole volumes: multiples of 16. Test volumes are then predicted
    /// window by window.
    /// </summary>
    public IReadOnlyList<int>? Patch { get; init; }

    /// <summary>
    /// A bound on the bytes of a step. The largest patch and batch within it are chosen, for this codec and for plain training.
    /// </summary>
    public long? Memory { get; init; }

    /// <summary>
    /// The fold of a cross-validation whose cases test, as <see cref="Actipress.Data.Fold.Parse"/> reads it; null for a fifth of the cases.
    /// </summary>
    public string? Fold { get; init; }

    /// <summary>The choices for volumes.</summary>
    public VolumeChoices? Volumes { get; init; }

    /// <summary>What a training and its plain counterpart have in common, beside their data.</summary>
    internal (int Seed, string? Fold) Pair => (Seed, Fold);

    /// <summary>The network, the data and the number of epochs, for a table.</summary>
    public string Title() =>
        $"{Model}, {Data}{(Patch is null ? "" : " in patches")}, {Epochs} {(Epochs == 1 ? "epoch" : "epochs")}";

    /// <summary>The seed and the fold, by which the trainings of one setting differ.</summary>
    public string Repetition() => $"seed {Seed}{(Fold is null ? "" : $", fold {Fold}")}";

    /// <summary>The same training without compression.</summary>
    public TrainingPlan Plain() => this with { Codec = "none", Layers = "all" };

    /// <summary>The key of this plan: the first 12 hexadecimal digits of the SHA-256 of its JSON.</summary>
    public string Key() => Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(Json.Line(this))))[..12];

    /// <summary>The settings as lines, so that a comparison can name the one that differs.</summary>
    internal string ByLines()
    {
        using var settings = System.Text.Json.JsonDocument.Parse(Json.Line(this));
        return string.Join('\n', settings.RootElement.EnumerateObject().Select(setting => $"{setting.Name} {setting.Value}"));
    }

    /// <summary>Looks up the network, codec, layers and objective that the plan names.</summary>
    /// <exception cref="ArgumentException">A name is unknown; the message lists the known names.</exception>
    /// <exception cref="FormatException">The codec's text cannot be read.</exception>
    public ParsedPlan Parse()
    {
        var network = Trainable.Find(Model);
        return new(this, network, ActivationCodec.Parse(Codec), LayerSet.Parse(Layers, network), network.Objective(Loss));
    }

    /// <summary>Checks whether several ranks can train by this plan.</summary>
    /// <param name="ranks">The number of ranks.</param>
    /// <exception cref="ArgumentException">They cannot; the message says why.</exception>
    public void CheckAmong(int ranks)
    {
        if (Batch % ranks != 0)
            throw new ArgumentException($"A batch of {Batch} does not divide among {ranks} ranks: wanted a multiple of {ranks}, such as "
                + $"--batch {(Batch + ranks - 1) / ranks * ranks}.");
        if (ranks > 1 && Memory is not null)
            throw new ArgumentException($"memory {Memory} among {ranks} ranks: the patch is chosen for the whole batch of one process. "
                + $"Wanted a patch and a batch: one process with this memory says what fits, and a batch {ranks} times as large gives each "
                + "rank as much.");
    }

    /// <summary>Checks everything that can be checked without the data.</summary>
    /// <exception cref="ArgumentException">
    /// The plan names something that does not exist; the message says what, and lists what exists.
    /// </exception>
    /// <exception cref="FormatException">The codec's text cannot be read.</exception>
    public void Check()
    {
        var network = Parse().Network;
        KnownData.Find(Data);
        if (Epochs < 1) throw Wrong("epochs", Epochs);
        if (Batch < 1) throw Wrong("batch", Batch);
        if (TrainExamples < 1) throw Wrong("train_examples", TrainExamples.Value);
        if (TestExamples < 1) throw Wrong("test_examples", TestExamples.Value);
        if (Features < 1) throw Wrong("features", Features.Value);
        if (!(LearningRate > 0 && double.IsFinite(LearningRate)))
            throw new ArgumentException($"learning_rate {LearningRate}: wanted a number above 0.");
        if (Extents is not null && Patch is not null) throw new ArgumentException("extents and patch: wanted one of them. Volumes are cut "
            + "to one size, or patches are drawn from whole ones.");
        foreach (var (name, size) in ((string, IReadOnlyList<int>?)[])[("extents", Extents), ("patch", Patch)])
            if (size is [16, 16, 16] && Batch == 1 && network.Examples == ExampleKind.Volumes)
                throw new ArgumentException($"{name} 16 x 16 x 16 in a batch of 1: one voxel would be left at the network's coarsest "
                    + "level, of which a batch norm learns nothing. Wanted a larger size or batch.");
            else if (size is not null && (size.Count != 3 || size.Any(extent => extent < 16 || extent % 16 != 0)))
                throw new ArgumentException($"{name} {string.Join(" x ", size)}: wanted depth, height and width, multiples of 16.");
        if (Patch is not null && network.Examples != ExampleKind.Volumes) throw new ArgumentException($"patch "
            + $"{string.Join(" x ", Patch)}: {Model} does not learn from volumes. Wanted "
            + $"{OfVolumes()}.");
        if (Memory is not null)
        {
            if (network.Examples != ExampleKind.Volumes) throw new ArgumentException($"memory {Memory}: the patch is chosen of networks "
                + "that learn from volumes. Wanted "
                + $"{OfVolumes()}.");
            if (Patch is not null || Extents is not null) throw new ArgumentException($"memory {Memory} beside a patch or extents: wanted "
                + "one of them, since memory chooses the patch.");
            if (Layers != "all") throw new ArgumentException($"memory {Memory} with layers {Layers}: wanted all, for which memory is "
                + "predicted.");
        }
        if (BatchNorms == Experiments.BatchNorms.Synchronised && network.Trained is not Segmentation)
            throw new ArgumentException(
                $"batch_norms synchronised: the batch norms of {Model} are its own. Wanted {Trainable.Segmentations}.");
        if (Fold is not null && network.Examples is ExampleKind.Grey or ExampleKind.Colour)
            throw new ArgumentException($"fold {Fold}: {Model} learns from images, whose test set is given. Wanted a network of volumes.");
        if (Fold is not null) _ = Actipress.Data.Fold.Parse(Fold);
        Volumes?.Check();

        static string OfVolumes() =>
            string.Join(", ", Trainable.All.Where(one => one.Examples == ExampleKind.Volumes).Select(one => one.Name));

        static ArgumentException Wrong(string name, int found) => new($"{name} {found}: wanted 1 or more.");
    }
}

/// <summary>A plan whose names are looked up.</summary>
/// <param name="Plan">The plan.</param>
/// <param name="Network">The network.</param>
/// <param name="Codec">The codec of the maps.</param>
/// <param name="Layers">The compressed layers.</param>
/// <param name="Objective">The objective of the training.</param>
public sealed record ParsedPlan(TrainingPlan Plan, Trainable Network, ActivationCodec Codec, LayerSet Layers, Objective Objective)
{
    /// <summary>The number of channels of the network's first level.</summary>
    public int Features => Plan.Features ?? Network.Features;

    /// <summary>Makes the untrained network; the caller disposes it.</summary>
    /// <param name="channels">The number of channels of its input.</param>
    /// <param name="classes">The number of classes of its output.</param>
    /// <param name="ranks">The ranks that train it together; null for one process.</param>
    public torch.nn.Module<Tensor, Tensor> Create(int channels, int classes, Ranks? ranks = null) =>
        Network.Create(channels, classes, Features, AreSynchronised && ranks is not null ? norm => new SyncBatchNorm(norm, ranks) : null);

    /// <summary>Whether the batch norms are synchronised over ranks.</summary>
    public bool AreSynchronised => Plan.BatchNorms == BatchNorms.Synchronised;
}

/// <summary>The statistics by which a batch norm normalises where several ranks train together.</summary>
public enum BatchNorms
{
    /// <summary>The statistics of the rank's part of the batch.</summary>
    Own,

    /// <summary>The statistics of the whole batch, as in one process (<see cref="SyncBatchNorm"/>).</summary>
    Synchronised,
}

/// <summary>The schedule of the step size.</summary>
public enum Schedule
{
    /// <summary>The step size is constant.</summary>
    Constant,

    /// <summary>The step size falls to zero at the last step, along half a cosine.</summary>
    Cosine,
}

/// <summary>The loss of a segmentation.</summary>
public enum SegmentationLoss
{
    /// <summary>Soft Dice (paper, equation 31).</summary>
    Dice,

    /// <summary>The mean over voxels (paper, equation 32).</summary>
    CrossEntropy,

    /// <summary>The sum of both.</summary>
    Both,
}

/// <summary>The paper's augmentations (Table 1).</summary>
public enum Augmenting
{
    /// <summary>CIFAR-100's augmentation: mirroring left to right.</summary>
    Flips,

    /// <summary>SPLEEN's augmentation: small rotations, scales and shifts.</summary>
    Spleen,

    /// <summary>BRATS' augmentation: both.</summary>
    Brats,
}

static class Augmentations
{
    public static Augmentation Steps(this Augmenting which) => which switch
    {
        Augmenting.Flips => Augmentation.Flips,
        Augmenting.Spleen => Augmentation.Spleen,
        _ => Augmentation.Brats,
    };
}
