using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>A network as the paper measured it, or as it was published.</summary>
/// <param name="Name">The name of the network.</param>
/// <param name="Create">Makes the network, in training mode with new parameters; the caller disposes it.</param>
/// <param name="Batch">The number of examples of a step.</param>
/// <param name="Input">The shape of one example.</param>
/// <param name="Blocks">
/// The layers that the paper compresses as "block0", "block1" and so on: the names of each block's layers, for
/// <see cref="CompressionOptions.Blocks"/>. Where the paper's tables have no blocks, block0 is every layer that it compresses.
/// </param>
/// <param name="Scores">
/// Whether the output's first axis is a score for each class, so that the target is a label for each example or position. Otherwise the
/// target has the output's shape.
/// </param>
public sealed record Network(
    string Name, Func<Module<Tensor, Tensor>> Create, int Batch, long[] Input, IReadOnlyList<string[]> Blocks, bool Scores = true)
{
    /// <summary>The layers of "block0-<paramref name="last"/>": all blocks up to this one.</summary>
    public string[] BlocksUpTo(int last) => last >= 0 && last < Blocks.Count
        ? [.. Blocks.Take(last + 1).SelectMany(layers => layers)]
        : throw new ArgumentOutOfRangeException(nameof(last), $"No block {last} of {Name}: it has block0 to block{Blocks.Count - 1}.");
}

/// <summary>
/// The networks by name, with batch and input from the paper: a network's first row in Tables 2 and 3, otherwise as in its experiments.
/// ResNet50 and DenseNet are not the paper's: others' measurements of memory are of ResNet50, and DenseNet joins maps. A line here adds a
/// network. The tests run over all networks, and need a line with its known figures.
/// </summary>
public static class Networks
{
    /// <summary>All networks.</summary>
    public static IReadOnlyList<Network> All { get; } =
    [
        new("LeNet", () => new LeNet(), 128, [1, 28, 28], LeNet.Blocks),
        new("ResNet20", () => ResNet.ResNet20(), 128, [3, 32, 32], [.. ResNet.Blocks.Take(4)]),
        new("ResNet18", () => ResNet.ResNet18(), 128, [3, 32, 32], ResNet.Blocks),
        new("ResNet152Basic", () => ResNet.ResNet152Basic(), 128, [3, 32, 32], ResNet.Blocks),
        new("ResNet152", () => ResNet.ResNet152(), 128, [3, 32, 32], ResNet.Blocks),
        new("WideResNet101", () => ResNet.WideResNet101(), 128, [3, 32, 32], ResNet.Blocks),
        new("ResNet50", () => ResNet.ResNet50(), 32, [3, 224, 224], ResNet.BlocksOfPhotographs),
        new("DenseNet", () => new DenseNet(), 64, [3, 32, 32], DenseNet.Blocks),
        new("UNet2D", () => new UNet2D(), 16, [4, 96, 96], UNet.Blocks, Scores: false),
        new("UNet3D", () => UNet3D.Brats(), 1, [4, 96, 96, 96], UNet.Blocks, Scores: false),
        new("UNet3DSpleen", () => UNet3D.Spleen(), 1, [1, 96, 96, 96], UNet.Blocks, Scores: false),
        new("ViT", () => new ViT(), 256, [3, 256, 256], ViT.Blocks),
        new("ViT3D", () => new ViT3D(), 32, [3, 16, 128, 128], ViT3D.Blocks),
        new("EfficientNetB0", () => EfficientNet.B0(), 4, [3, 640, 640], EfficientNet.Blocks),
        new("EfficientNetB4", () => EfficientNet.B4(), 2, [3, 640, 640], EfficientNet.Blocks),
        new("EfficientNetB8", () => EfficientNet.B8(), 1, [3, 640, 640], EfficientNet.Blocks),
        new("DeepLabV3Plus", () => new DeepLabV3Plus(), 32, [3, 128, 128], DeepLabV3Plus.Blocks),
        new("EDSR", () => new EDSR(), 4, [3, 48, 48], EDSR.Blocks, Scores: false),
    ];

    /// <summary>The network with a name, in upper or lower case.</summary>
    /// <exception cref="ArgumentException">There is no such network; the message lists all.</exception>
    public static Network Find(string name) =>
        All.FirstOrDefault(network => network.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw new ArgumentException(
            $"No network '{name}'. Known: {string.Join(", ", All.Select(network => network.Name))}.", nameof(name));
}
