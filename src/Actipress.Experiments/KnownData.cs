using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>A data set that training knows by name.</summary>
/// <param name="Name">The name for <c>--data</c>.</param>
/// <param name="Meaning">A description.</param>
/// <param name="Folder">The folder of the data set inside the data folder; null for generated data.</param>
/// <param name="Load">Reads the data set from its folder.</param>
/// <param name="Files">Patterns of files that identify the folder, with slashes between folders.</param>
public sealed record KnownDataSet(
    string Name, string Meaning, string? Folder, Func<string, ParsedPlan, TrainingData> Load, params string[] Files);

/// <summary>The data sets by name. A line here adds one.</summary>
public static class KnownData
{
    /// <summary>All data sets.</summary>
    public static IReadOnlyList<KnownDataSet> All { get; } =
    [
        new("digits", "digits that the program draws, 28 x 28", null, (_, _) => TrainingData.Of(GeneratedDigits.Make())),
        new("colour-digits", "the same in colour, 32 x 32", null, (_, _) => TrainingData.Of(GeneratedDigits.InColour())),
        new(
            "volumes", "volumes of two balls that the program draws", null,
            (_, plan) => Volumes(GeneratedVolumes.Make(50, Extents(plan.Plan)), plan)),
        new("mnist", "MNIST's four files", "mnist", (folder, _) => TrainingData.Of(Mnist.Load(folder)), "train-images-idx3-ubyte*"),
        new("cifar10", "CIFAR-10 in its binary version", "cifar10_first4000", (folder, _) => TrainingData.Of(Cifar10.Load(folder)),
            "*batch*.bin*", "cifar10_*.bin*"),
        new(
            "cifar10-jpeg", "CIFAR-10 as train/class/*.jpg and test/class/*.jpg", "cifar10_jpeg",
            (folder, _) => TrainingData.Of(ImageFolder.Load(folder)), "train/*/*.jpg"),
        new("cifar100", "CIFAR-100 in its binary version", "cifar100", (folder, _) => TrainingData.Of(Cifar100.Load(folder)),
            "train.bin*", "cifar100*.bin*"),
        new("hippocampus", "the Decathlon's hippocampus volumes", "msd_hippocampus", VolumeData.Hippocampus, "imagesTr/hippocampus_*.nii*"),
        new("brats", "BRATS' patients with the modalities that all have, cropped to the head, z-scored", "brats2015", VolumeData.Brats,
            "*/*flair*"),
        new("spleen", "the Decathlon's spleen: CT from -160 to 240 Hounsfield units, 4 mm a voxel", "msd_spleen",
            (folder, plan) => VolumeData.Ct(Decathlon.Open(folder, classes: 2, unreadable: VolumeData.OnUnreadable(plan)), plan),
            "imagesTr/spleen_*.nii*"),
        new("ct-spleen", "likewise TotalSegmentator's CT subjects with the mask of their spleen", "totalsegmentator",
            (folder, plan) => VolumeData.Ct(TotalSegmentator.Open(folder, ["spleen"], VolumeData.OnUnreadable(plan)), plan),
            "s*/ct.nii*"),
    ];

    /// <summary>The data set called <paramref name="name"/>, or the volumes of the folder or table of this path.</summary>
    /// <exception cref="ArgumentException">There is no such data set; the message lists all.</exception>
    public static KnownDataSet Find(string name) =>
        All.FirstOrDefault(data => data.Name == name)
        ?? (Directory.Exists(name) || VolumeLayout.IsTable(name) || name.Contains(Path.DirectorySeparatorChar, StringComparison.Ordinal)
            ? new KnownDataSet(name, "volumes of one's own", null, (_, plan) => VolumeData.Folder(name, plan)) : null)
        ?? throw new ArgumentException($"No data set '{name}'. Known: "
            + $"{string.Join(", ", All.Select(data => $"{data.Name} ({data.Meaning})"))}, or the path of a folder or .csv file of "
            + "volumes.", nameof(name));

    /// <summary>Whether files of a data set are in the folder, or in the folder inside it with the data set's name.</summary>
    public static bool IsIn(string folder, string name) => Find(name) is { Folder: not null } known && FoundData.Lies(known, folder);

    /// <summary>Loads the examples of a plan.</summary>
    /// <param name="plan">The plan, whose network must accept the data set's examples.</param>
    /// <param name="folder">The folder of real data; null where there is none.</param>
    /// <exception cref="InvalidDataException">A file or folder is missing or damaged; the message says which.</exception>
    /// <exception cref="ArgumentException">The network cannot be trained on it.</exception>
    public static TrainingData Load(TrainingPlan plan, string? folder)
    {
        ArgumentNullException.ThrowIfNull(plan);
        var (parsed, known) = (plan.Parse(), Find(plan.Data));
        var network = parsed.Network;
        if (known.Folder is not null && folder is null)
            throw new InvalidDataException($"No data folder for {known.Name}: give one with --data-dir, or set {DataFolder.Variable}; "
                + $"{network.Generated} needs none.");
        TrainingData data;
        try { data = known.Load(known.Folder is null ? "" : DataFolder.Part(folder!, known.Folder), parsed); }
        catch (InvalidDataException failure) when (known.Folder is not null)
        {
            throw new InvalidDataException(failure.Message + FoundData.Sentence(folder!, known), failure);
        }
        if ((plan.Patch is not null || plan.Memory is not null) && data.Patch is null)
            throw new ArgumentException($"No patches of {known.Name}, which the program draws in one size: wanted volumes from files, such "
                + "as hippocampus or a folder's, or --extents.");
        using (var scope = torch.NewDisposeScope())
        {
            var (input, target) = data.Train.Batch([0]);
            var (axes, channels, segments) = network.Examples switch
            {
                ExampleKind.Grey => (4, 1, false),
                ExampleKind.Colour => (4, 3, false),
                ExampleKind.Slices => (4, data.Channels, true),
                _ => (5, data.Channels, true),
            };
            if (input.dim() != axes || input.shape[1] != channels || target.dim() > 1 != segments)
                throw new ArgumentException($"{network.Name} cannot be trained on {known.Name}, whose examples are "
                    + $"{string.Join(" x ", input.shape[1..])}: it takes {network.Data} or {network.Generated}.");
        }
        return data with { Train = data.Train.Take(plan.TrainExamples), Test = data.Test.Take(plan.TestExamples) };
    }

    static TrainingData Volumes(IDataSet volumes, ParsedPlan plan) =>
        TrainingData.Of(volumes, slices: plan.Network.IsOfSlices, fold: plan.Plan.Fold);

    static (int Depth, int Height, int Width) Extents(TrainingPlan plan) =>
        plan.Extents is [var depth, var height, var width] ? (depth, height, width) : (32, 48, 32);
}
