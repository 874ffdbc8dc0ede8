using Actipress.Data;
using Actipress.Experiments;
using Actipress.Models;
using static TorchSharp.torch;
using Network = TorchSharp.torch.nn.Module<TorchSharp.torch.Tensor, TorchSharp.torch.Tensor>;

namespace Actipress.Benchmarks;

/// <summary>A network that benchmarks measure, with the data for its steps. The caller disposes it.</summary>
public sealed class Subject : IDisposable
{
    readonly Func<int[], (Tensor Input, Tensor Target)> load;
    readonly Func<Tensor, Tensor, Tensor> criterion;
    readonly int examples;

    Subject(
        string name, string data, Network model, int examples, int batch, Func<int[], (Tensor, Tensor)> load,
        Func<Tensor, Tensor, Tensor> criterion)
    {
        (Name, Data, Model, this.examples, Batch, this.load, this.criterion) = (name, data, model, examples, batch, load, criterion);
    }

    /// <summary>The network's name.</summary>
    public string Name { get; }

    /// <summary>The data set's name.</summary>
    public string Data { get; }

    /// <summary>The network.</summary>
    public Network Model { get; }

    /// <summary>The examples of a step.</summary>
    public int Batch { get; }

    /// <summary>The device of the network.</summary>
    public Device Device { get; private set; } = CPU;

    /// <summary>Moves the network, and from then on the examples, to a device.</summary>
    public Subject To(Device device)
    {
        Model.to(device);
        Device = device;
        return this;
    }

    /// <summary>LeNet on MNIST, or on generated digits where there is no data folder.</summary>
    public static Subject LeNet(string? dataFolder, int batch = 128)
    {
        var data = dataFolder is null ? GeneratedDigits.Make() : Mnist.Load(DataFolder.Part(dataFolder, "mnist"));
        return Classifier("lenet", new LeNet(), data, batch, (output, target) => nn.functional.nll_loss(output, target));
    }

    /// <summary>ResNet-20 (width 16) on CIFAR-10, or on generated digits in three colours.</summary>
    public static Subject ResNet20(string? dataFolder, int batch = 64) =>
        Classifier("resnet20", Actipress.Models.ResNet.ResNet20(10), Pictures(dataFolder), batch, CrossEntropy);

    /// <summary>ResNet-18 on CIFAR-10, or on generated digits in three colours.</summary>
    public static Subject ResNet18(string? dataFolder, int batch = 128) =>
        Classifier("resnet18", Actipress.Models.ResNet.ResNet18(10), Pictures(dataFolder), batch, CrossEntropy);

    /// <summary>DenseNet-BC, whose layers join maps, on CIFAR-10, or on generated digits in three colours.</summary>
    public static Subject DenseNet(string? dataFolder, int batch = 64) =>
        Classifier("densenet", new DenseNet(), Pictures(dataFolder), batch, CrossEntropy);

    /// <summary>
    /// The 3D U-Net on the hippocampus volumes of the Decathlon (32 x 48 x 32, or padded to a cube), or on generated balls.
    /// </summary>
    /// <param name="dataFolder">The folder with real data, or null.</param>
    /// <param name="extents">Depth, height and width: multiples of 16.</param>
    /// <param name="features">The channels of the first level.</param>
    /// <param name="batch">The volumes of a step.</param>
    /// <param name="volumes">The largest number of volumes that are read.</param>
    public static Subject UNet3D(string? dataFolder, (int, int, int) extents, int features, int batch, int volumes)
    {
        var data = dataFolder is null
            ? GeneratedVolumes.Make(volumes, extents)
            : Decathlon.Load("hippocampus", DataFolder.Part(dataFolder, "msd_hippocampus"), volumes, extents, classes: 3);
        return new(
            "unet3d", data.Name, new UNet3D(inputs: 1, outputs: data.Classes, features), data.Images.Count, batch,
            indices => data.Batch(indices), CrossEntropy);
    }

    static Subject Classifier(string name, Network model, ImageClasses data, int batch, Func<Tensor, Tensor, Tensor> criterion) =>
        new(name, data.Name, model, data.Train.Count, batch, indices => data.Train.Batch(indices, 0.45f, 0.25f), criterion);

    static Tensor CrossEntropy(Tensor output, Tensor target) => nn.functional.cross_entropy(output, target);

    static ImageClasses Pictures(string? dataFolder) =>
        dataFolder is null ? GeneratedDigits.InColour() : Cifar10.Load(DataFolder.Part(dataFolder, "cifar10_first4000"));

    /// <summary>Returns the input and target of a batch, which the caller disposes.</summary>
    /// <param name="number">The number of the batch, from 0. Batches follow one another through the data and then begin again.</param>
    public (Tensor Input, Tensor Target) Examples(int number)
    {
        var (input, target) = load([.. Enumerable.Range(0, Batch).Select(i => (int)(((long)number * Batch + i) % examples))]);
        if (Device.type == DeviceType.CPU) return (input, target);
        using (input)
        using (target)
            return (input.to(Device), target.to(Device));
    }

    /// <summary>Returns the loss of a forward pass, which the caller disposes.</summary>
    public Tensor Loss(Tensor input, Tensor target)
    {
        using var output = Model.call(input);
        return criterion(output, target);
    }

    /// <summary>Trains with Adam, so that the maps are those of a network that has learnt something.</summary>
    /// <param name="steps">The number of steps.</param>
    /// <param name="progress">Receives the number of steps done and the loss after each step.</param>
    /// <param name="cancellation">Ends the training between steps.</param>
    public void Train(int steps, IProgress<(int Step, double Loss)>? progress, CancellationToken cancellation)
    {
        Model.train();
        using var optimizer = new Adam(Model.parameters());
        for (var step = 0; step < steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var (input, target) = Examples(step);
            optimizer.zero_grad();
            var loss = Loss(input, target);
            loss.backward();
            optimizer.step();
            progress?.Report((step + 1, loss.item<float>()));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Model.Dispose();
}
