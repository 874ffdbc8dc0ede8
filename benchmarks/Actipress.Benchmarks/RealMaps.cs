using System.Globalization;
using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>
/// Activation maps of trained networks, stored beside this program: a few examples of each, as float16. <see cref="Capture"/>
/// (<c>./dev maps</c>) made them.
/// </summary>
public static class RealMaps
{
    // A map of a whole batch is cut to this number of elements.
    const long Elements = 1 << 17;

    // The maps are outputs of a ReLU (a convolution's input) and inputs of a batch norm, at each resolution.
    static readonly (Func<string, Subject> Make, int Steps, string[] Layers)[] sources =
    [
        (folder => Subject.LeNet(folder), 900, ["relu1", "conv2"]),
        (folder => Subject.ResNet20(folder), 186, ["relu", "layer1.1.conv1", "layer2.1.relu1", "layer3.1.relu2", "layer3.1.conv2"]),
        (
            folder => Subject.UNet3D(folder, (32, 48, 32), 16, batch: 2, volumes: 60), 90,
            ["down1.relu1", "down1.conv2", "down3.relu2", "up1.relu1"]),
    ];

    /// <summary>The names of the maps: the network and the layer whose output the map is.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. typeof(RealMaps).Assembly.GetManifestResourceNames().Where(name => name.EndsWith(".npy", StringComparison.Ordinal))
            .Select(name => name[..^4]).Order(StringComparer.Ordinal)];

    /// <summary>Returns a map in float32, which the caller disposes.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    public static Tensor Read(string name)
    {
        using var stream = typeof(RealMaps).Assembly.GetManifestResourceStream(name + ".npy")
            ?? throw new ArgumentException($"No activation map '{name}'. Known: {string.Join(", ", Names)}.", nameof(name));
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return Npy.Read(bytes.ToArray(), name);
    }

    /// <summary>Returns a map of about this number of bytes, whose examples are repeated. The caller disposes it.</summary>
    public static Tensor Read(string name, long bytes)
    {
        using var map = Read(name);
        var wanted = bytes / (map.NumberOfElements / map.shape[0] * sizeof(float));
        var repeats = map.shape.Select((extent, axis) => axis == 0 ? (wanted + extent - 1) / extent : 1).ToArray();
        using var repeated = map.repeat(repeats);
        using var part = repeated.narrow(0, 0, Math.Max(1, wanted));
        return part.clone();
    }

    /// <summary>Returns large maps that tile the extents with the maps of one name; the caller disposes them.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="maps">The number of channels.</param>
    /// <param name="extents">The extents of each large map: as many as the map has axes beside examples and channels.</param>
    public static Tensor ReadLarge(string name, int maps, params long[] extents)
    {
        using var scope = NewDisposeScope();
        var map = Read(name);
        var small = map.shape[2..];
        if (small.Length != extents.Length)
            throw new ArgumentException(
                $"'{name}' has maps of ({string.Join(", ", small)}): wanted {small.Length} extents, found {extents.Length}.",
                nameof(extents));
        var counts = extents.Zip(small, (extent, length) => (extent + length - 1) / length).ToArray();
        var pieces = map.flatten(0, 1);
        var chosen = HeldScalars.Arange(maps * counts.Aggregate((a, b) => a * b)).Remainder(pieces.shape[0]);
        // The axes (map, pieces along each axis, a piece) become (map, each axis of the pieces together with that of a piece).
        var order = Enumerable.Range(0, counts.Length).SelectMany(axis => new[] { 1L + axis, 1L + counts.Length + axis }).Prepend(0);
        var large = pieces.index_select(0, chosen).view([maps, .. counts, .. small]).permute([.. order])
            .reshape([1, maps, .. counts.Zip(small, (count, length) => count * length)]);
        for (var axis = 0; axis < extents.Length; axis++) large = large.narrow(2 + axis, 0, extents[axis]);
        return large.clone().MoveToOuterDisposeScope();
    }

    /// <summary>Trains the networks on real data and writes their maps.</summary>
    /// <param name="dataFolder">The folder with MNIST, CIFAR-10 and the hippocampus volumes.</param>
    /// <param name="to">The folder that the files are written to.</param>
    /// <param name="progress">Receives a line for each step of the work.</param>
    /// <param name="cancellation">Ends the work between steps.</param>
    public static void Capture(string dataFolder, string to, IProgress<string> progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(progress);
        Directory.CreateDirectory(to);
        foreach (var (make, steps, layers) in sources)
        {
            random.manual_seed(1);
            using var subject = make(dataFolder);
            subject.Train(
                steps,
                new Progress<(int Step, double Loss)>(at => progress.Report(string.Create(
                    CultureInfo.InvariantCulture, $"{subject.Name} on {subject.Data}: step {at.Step} of {steps}, loss {at.Loss:0.000}"))),
                cancellation);
            foreach (var layer in layers)
            {
                using var map = Output(subject, layer);
                var path = Path.Combine(to, $"{subject.Name}.{layer}.npy");
                Npy.Write(path, map);
                progress.Report($"wrote {path}: ({string.Join(", ", map.shape)})");
            }
        }
    }

    static Tensor Output(Subject subject, string layer)
    {
        Tensor? captured = null;
        var module = (nn.Module<Tensor, Tensor>)subject.Model.named_modules().Single(named => named.name == layer).module;
        var hook = module.register_forward_hook((_, _, output) =>
        {
            // Large maps are cut to some examples and some channels.
            using var values = output.detach();
            using var examples = First(values, 0);
            using var channels = First(examples, 1);
            captured = channels.to(float16);
            return output;
        });
        using (no_grad())
        using (var scope = NewDisposeScope())
        {
            var (input, target) = subject.Examples(0);
            subject.Loss(input, target);
            captured!.DetachFromDisposeScope();
        }
        hook.remove();
        return captured;

        static Tensor First(Tensor map, int axis) =>
            map.narrow(axis, 0, Math.Clamp(Elements * map.shape[axis] / map.NumberOfElements, 1, map.shape[axis]));
    }
}
