using Actipress.Models;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>A network that can be trained here, with its usual choices.</summary>
/// <param name="Name">As <c>--model</c> has it.</param>
/// <param name="Create">Makes it for so many channels, classes, and channels of its first level; the caller disposes it.</param>
/// <param name="Blocks">The paper's block0, block1 and so on.</param>
/// <param name="Features">Channels of its first level.</param>
/// <param name="Examples">What it learns from.</param>
/// <param name="Trained">What it is trained for, and the loss that it minimises where a plan names none.</param>
/// <param name="Data">The real data set that it is trained on where none is named.</param>
/// <param name="Generated">The one that the program draws itself.</param>
/// <param name="Epochs">Passes over either.</param>
/// <param name="Batch">Examples a step: the paper's, or what a small data set allows.</param>
/// <param name="Schedule">How its step size goes on.</param>
public sealed record Trainable(
    string Name, Func<int, int, int, nn.Module<Tensor, Tensor>> Create, IReadOnlyList<string[]> Blocks, int Features,
    ExampleKind Examples, Objective Trained, string Data, string Generated, int Epochs, int Batch, Schedule Schedule = Schedule.Constant)
{
    /// <summary>All of them. A line here adds one; tests train each.</summary>
    public static IReadOnlyList<Trainable> All { get; } =
    [
        new("lenet", (_, _, _) => new LeNet(), LeNet.Blocks, 16,
            ExampleKind.Grey, new Classification(LogProbabilities: true), "mnist", "digits", 3, 128),
        new("resnet20", (_, classes, features) => new ResNet("ResNet20", [3, 3, 3], bottleneck: false, classes, features),
            [.. ResNet.Blocks.Take(4)], 16,
            ExampleKind.Colour, new Classification(), "cifar10", "colour-digits", 2, 64, Schedule.Cosine),
        new("resnet18", (_, classes, features) => new ResNet("ResNet18", [2, 2, 2, 2], bottleneck: false, classes, features),
            ResNet.Blocks, 64,
            ExampleKind.Colour, new Classification(), "cifar10", "colour-digits", 1, 128),
        new("unet2d", (channels, classes, features) => new UNet2D(channels, classes, features), UNet.Blocks, 16,
            ExampleKind.Slices, new Segmentation(SegmentationLoss.Dice), "hippocampus", "volumes", 3, 32),
        new("unet3d", (channels, classes, features) => new UNet3D(channels, classes, features), UNet.Blocks, 8,
            ExampleKind.Volumes, new Segmentation(SegmentationLoss.Dice), "hippocampus", "volumes", 10, 2),
    ];

    /// <summary>The one called <paramref name="name"/>.</summary>
    /// <exception cref="ArgumentException">There is none; the message lists all.</exception>
    public static Trainable Find(string name) =>
        All.FirstOrDefault(network => network.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw new ArgumentException($"No network '{name}' to train. Known: {string.Join(", ", All.Select(network => network.Name))}.", nameof(name));

    /// <summary>Whether it learns from slices of volumes.</summary>
    public bool IsOfSlices => Examples == ExampleKind.Slices;

    /// <summary>What it is trained for, by the loss that a plan names.</summary>
    /// <exception cref="ArgumentException">It has no such choice.</exception>
    public Objective Objective(SegmentationLoss? loss) => (loss, Trained) switch
    {
        (null, _) => Trained,
        ({ } minimised, Segmentation) => new Segmentation(minimised),
        _ => throw new ArgumentException($"loss {loss}: {Name} classifies images and minimises their cross-entropy. Leave the loss out, or "
            + $"train {string.Join(" or ", All.Where(network => network.Trained is Segmentation).Select(network => network.Name))}."),
    };

    /// <summary>The usual plan: real data where there is a folder with them, else generated ones.</summary>
    /// <param name="realData">Whether there is.</param>
    public TrainingPlan Plan(bool realData) =>
        new() { Model = Name, Data = realData ? Data : Generated, Epochs = Epochs, Batch = Batch, Schedule = Schedule };
}

/// <summary>Kinds of examples, by what they need of a network.</summary>
public enum ExampleKind
{
    /// <summary>(n, 1, h, w), a class each.</summary>
    Grey,

    /// <summary>(n, 3, h, w), a class each.</summary>
    Colour,

    /// <summary>(n, channels, h, w), a class for each pixel: volumes, slice by slice.</summary>
    Slices,

    /// <summary>(n, channels, d, h, w), a class for each voxel.</summary>
    Volumes,
}
