using System.Security.Cryptography;
using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>One training as data: everything that decides its outcome. What is null is the network's or the data set's usual choice.</summary>
public sealed record TrainingPlan
{
    /// <summary>The network, one of <see cref="Trainable.All"/>.</summary>
    public required string Model { get; init; }

    /// <summary>The data set, one of <see cref="KnownData.All"/>, or the path of a folder or table of volumes.</summary>
    public required string Data { get; init; }

    /// <summary>Which layers are compressed; see <see cref="LayerSet"/>.</summary>
    public string Layers { get; init; } = "all";

    /// <summary>How their saved maps are stored, as <see cref="ActivationCodec.Parse"/> reads it; <c>none</c> is plain training.</summary>
    public string Codec { get; init; } = "dct:10";

    /// <summary>Passes over the training set.</summary>
    public int Epochs { get; init; } = 3;

    /// <summary>Examples a step.</summary>
    public int Batch { get; init; } = 128;

    /// <summary>Step size of Adam. The paper's is 1e-4, for 50 to 70 epochs.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>How the step size goes on; the paper's is constant.</summary>
    public Schedule Schedule { get; init; }

    /// <summary>What a segmentation minimises.</summary>
    public SegmentationLoss? Loss { get; init; }

    /// <summary>What chance does to an example while training.</summary>
    public Augmenting? Augmentation { get; init; }

    /// <summary>Decides the parameters, the order of examples, their augmentation, and dropout.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Trains on so many examples only, taken at even distances.</summary>
    public int? TrainExamples { get; init; }

    /// <summary>Tests on so many examples only, likewise.</summary>
    public int? TestExamples { get; init; }

    /// <summary>Channels of the network's first level.</summary>
    public int? Features { get; init; }

    /// <summary>Depth, height and width to which volumes are cut or padded: multiples of 16.</summary>
    public IReadOnlyList<int>? Extents { get; init; }

    /// <summary>Depth, height and width of the patches that are drawn from whole volumes, which are then predicted window by window:
    /// multiples of 16.</summary>
    public IReadOnlyList<int>? Patch { get; init; }

    /// <summary>Bytes that a step may take: the largest patch and batch within them are chosen, for this codec and for plain
    /// training.</summary>
    public long? Memory { get; init; }

    /// <summary>What is said of volumes.</summary>
    public VolumeChoices? Volumes { get; init; }

    /// <summary>The same training as it is without compression.</summary>
    public TrainingPlan Plain() => this with { Codec = "none", Layers = "all" };

    /// <summary>Names this plan among others: the first 12 hexadecimal digits of the SHA-256 of its JSON.</summary>
    public string Key() => Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(Json.Line(this))))[..12];

    /// <summary>What the plan's words name.</summary>
    /// <exception cref="ArgumentException">There is no such thing; the message says what there is.</exception>
    /// <exception cref="FormatException">The codec is none.</exception>
    public ParsedPlan Parse()
    {
        var network = Trainable.Find(Model);
        return new(this, network, ActivationCodec.Parse(Codec), LayerSet.Parse(Layers, network), network.Objective(Loss));
    }

    /// <summary>Makes sure of everything that can be told before the data are there.</summary>
    /// <exception cref="ArgumentException">Something is not to be had; the message says what, and what is.</exception>
    /// <exception cref="FormatException">The codec is none.</exception>
    public void Check()
    {
        var network = Parse().Network;
        KnownData.Find(Data);
        if (Epochs < 1) throw Wrong("epochs", Epochs);
        if (Batch < 1) throw Wrong("batch", Batch);
        if (TrainExamples < 1) throw Wrong("train_examples", TrainExamples.Value);
        if (TestExamples < 1) throw Wrong("test_examples", TestExamples.Value);
        if (Features < 1) throw Wrong("features", Features.Value);
        if (!(LearningRate > 0 && double.IsFinite(LearningRate))) throw new ArgumentException($"learning_rate {LearningRate}: wanted a number above 0.");
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
        Volumes?.Check();

        static string OfVolumes() => string.Join(", ", Trainable.All.Where(one => one.Examples == ExampleKind.Volumes).Select(one => one.Name));

        static ArgumentException Wrong(string name, int found) => new($"{name} {found}: wanted 1 or more.");
    }
}

/// <summary>A plan whose words have been looked up.</summary>
/// <param name="Plan">The words.</param>
/// <param name="Network">What is trained.</param>
/// <param name="Codec">How maps are stored.</param>
/// <param name="Layers">Whose maps.</param>
/// <param name="Objective">What the network is trained for.</param>
public sealed record ParsedPlan(TrainingPlan Plan, Trainable Network, ActivationCodec Codec, LayerSet Layers, Objective Objective)
{
    /// <summary>Channels of the network's first level.</summary>
    public int Features => Plan.Features ?? Network.Features;

    /// <summary>The network, untrained; the caller disposes it.</summary>
    /// <param name="channels">Of its input.</param>
    /// <param name="classes">Of its output.</param>
    public torch.nn.Module<Tensor, Tensor> Create(int channels, int classes) => Network.Create(channels, classes, Features);
}

/// <summary>How the step size goes on from its beginning.</summary>
public enum Schedule
{
    /// <summary>It stays.</summary>
    Constant,

    /// <summary>It falls to zero with the last step, along half a cosine.</summary>
    Cosine,
}

/// <summary>What a segmentation minimises.</summary>
public enum SegmentationLoss
{
    /// <summary>Soft Dice (paper, equation 31).</summary>
    Dice,

    /// <summary>The mean over voxels (paper, equation 32).</summary>
    CrossEntropy,

    /// <summary>Their sum.</summary>
    Both,
}

/// <summary>The paper's augmentations (Table 1).</summary>
public enum Augmenting
{
    /// <summary>CIFAR-100's: mirrored left to right.</summary>
    Flips,

    /// <summary>SPLEEN's: turned, scaled and shifted a little.</summary>
    Spleen,

    /// <summary>BRATS': both.</summary>
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
