using Actipress.Models;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>A network that can be trained here, with its defaults.</summary>
/// <param name="Name">The name for <c>--model</c>.</param>
/// <param name="Create">Makes the network.</param>
/// <param name="Blocks">The layers of the paper's block0, block1 and so on.</param>
/// <param name="Features">The number of channels of its first level.</param>
/// <param name="Examples">The kind of examples.</param>
/// <param name="Trained">The objective of its training, and the default loss.</param>
/// <param name="Data">The default real data set.</param>
/// <param name="Generated">The default generated data set.</param>
/// <param name="Epochs">The number of epochs.</param>
/// <param name="Batch">The number of examples of a step: the paper's, or a smaller number for a small data set.</param>
/// <param name="Schedule">The schedule of the step size.</param>
public sealed record Trainable(
    string Name, NetworkMaker Create, IReadOnlyList<string[]> Blocks, int Features, ExampleKind Examples, Objective Trained, string Data,
    string Generated, int Epochs, int Batch, Schedule Schedule = Schedule.Constant)
{
    /// <summary>All networks. A line here adds one; tests train each.</summary>
    public static IReadOnlyList<Trainable> All { get; } =
    [
        new("lenet", (_, _, _, _) => new LeNet(), LeNet.Blocks, 16,
            ExampleKind.Grey, new Classification(LogProbabilities: true), "mnist", "digits", 3, 128),
        new("resnet20", (_, classes, features, _) => new ResNet("ResNet20", [3, 3, 3], bottleneck: false, classes, features),
            [.. ResNet.Blocks.Take(4)], 16,
            ExampleKind.Colour, new Classification(), "cifar10", "colour-digits", 2, 64, Schedule.Cosine),
        new("resnet18", (_, classes, features, _) => new ResNet("ResNet18", [2, 2, 2, 2], bottleneck: false, classes, features),
            ResNet.Blocks, 64,
            ExampleKind.Colour, new Classification(), "cifar10", "colour-digits", 1, 128),
        new("unet2d", (channels, classes, features, norm) => new UNet2D(channels, classes, features, norm), UNet.Blocks, 16,
            ExampleKind.Slices, new Segmentation(SegmentationLoss.Dice), "hippocampus", "volumes", 3, 32),
        new("unet3d", (channels, classes, features, norm) => new UNet3D(channels, classes, features, norm), UNet.Blocks, 8,
            ExampleKind.Volumes, new Segmentation(SegmentationLoss.Dice), "hippocampus", "volumes", 10, 2),
    ];

    /// <summary>The network called <paramref name="name"/>.</summary>
    /// <exception cref="ArgumentException">There is no such network; the message lists all.</exception>
    public static Trainable Find(string name) =>
        All.FirstOrDefault(network => network.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw new ArgumentException(
            $"No network '{name}' to train. Known: {string.Join(", ", All.Select(network => network.Name))}.", nameof(name));

    /// <summary>The names of the networks of segmentations, for messages.</summary>
    internal static string Segmentations =>
        string.Join(" or ", All.Where(network => network.Trained is Segmentation).Select(network => network.Name));

    /// <summary>Whether it learns from slices of volumes.</summary>
    public bool IsOfSlices => Examples == ExampleKind.Slices;

    /// <summary>The objective of its training, by the loss that a plan names.</summary>
    /// <exception cref="ArgumentException">The network has no choice of loss.</exception>
    public Objective Objective(SegmentationLoss? loss) => (loss, Trained) switch
    {
        (null, _) => Trained,
        ({ } minimised, Segmentation) => new Segmentation(minimised),
        _ => throw new ArgumentException($"loss {loss}: {Name} classifies images and minimises their cross-entropy. Leave the loss out, or "
            + $"train {Segmentations}."),
    };

    /// <summary>The default plan: real data where there is a folder with them, else generated data.</summary>
    /// <param name="realData">Whether there is a folder with real data.</param>
    public TrainingPlan Plan(bool realData) =>
        new() { Model = Name, Data = realData ? Data : Generated, Epochs = Epochs, Batch = Batch, Schedule = Schedule };
}

/// <summary>Makes a network, which the caller disposes.</summary>
/// <param name="channels">The number of channels of its input.</param>
/// <param name="classes">The number of classes of its output.</param>
/// <param name="features">The number of channels of its first level.</param>
/// <param name="norm">
/// Makes a batch norm by its number of channels; null for the network's own. Only networks of segmentations take another.
/// </param>
public delegate nn.Module<Tensor, Tensor> NetworkMaker(
    int channels, int classes, int features, Func<int, nn.Module<Tensor, Tensor>>? norm = null);

/// <summary>The kinds of examples, which need different networks.</summary>
public enum ExampleKind
{
    /// <summary>(n, 1, h, w), with one class an example.</summary>
    Grey,

    /// <summary>(n, 3, h, w), with one class an example.</summary>
    Colour,

    /// <summary>(n, channels, h, w), with a class for each pixel: volumes, slice by slice.</summary>
    Slices,

    /// <summary>(n, channels, d, h, w), with a class for each voxel.</summary>
    Volumes,
}
