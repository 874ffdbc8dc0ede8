using System.Globalization;
using Actipress.Data;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>The output of <c>bench --json</c>.</summary>
public sealed record SuiteResult(
    Provenance Machine, IReadOnlyList<CodecTiming> Codecs, IReadOnlyList<CodecTiming> Scaling, IReadOnlyList<CodecTiming> Large,
    IReadOnlyList<StepTiming> Steps, IReadOnlyList<CodecFidelity> Fidelity, IReadOnlyList<RivalQuality> Rivals,
    IReadOnlyList<ComparatorStep> Comparators, IReadOnlyList<ObserverTiming> Observer, IReadOnlyList<MemoryFit> Fits);

/// <summary>The plan of what to measure.</summary>
public sealed record SuitePlan
{
    /// <summary>The names of the parts to run, from <see cref="Suite.Parts"/>.</summary>
    public required IReadOnlyList<string> Parts { get; init; }

    /// <summary>The codecs whose time is measured.</summary>
    public required IReadOnlyList<ActivationCodec> Codecs { get; init; }

    /// <summary>The activation maps to measure on, from <see cref="RealMaps.Names"/>; null for all, and a photo.</summary>
    public IReadOnlyList<string>? Maps { get; init; }

    /// <summary>The networks whose steps are timed, from <see cref="Suite.Networks"/>; null for all.</summary>
    public IReadOnlyList<string>? Networks { get; init; }

    /// <summary>The folder of real data to train on; null for generated data.</summary>
    public string? DataFolder { get; init; }

    /// <summary>The number of repetitions, whose median counts.</summary>
    public int Rounds { get; init; } = 9;

    /// <summary>The device on which codecs and steps are timed; the CPU where none is given.</summary>
    public Device? Device { get; init; }

    /// <summary>The size of the maps of the part <c>codecs</c>.</summary>
    public long MapBytes { get; init; } = 64 << 20;
}

/// <summary>All benchmarks. Each result is stored as soon as it is measured.</summary>
/// <param name="plan">What to measure.</param>
/// <param name="results">Receives the results of a part.</param>
/// <param name="progress">Receives a line for each measurement.</param>
/// <param name="cancellation">Ends the run between measurements.</param>
public sealed class Suite(SuitePlan plan, Func<string, ResultsFile> results, IProgress<string> progress, CancellationToken cancellation)
{
    /// <summary>The parts, and the quantity that each measures.</summary>
    public static IReadOnlyList<(string Name, string Meaning)> Parts { get; } =
    [
        ("codecs", "pack and unpack beside clone and copy, on activation maps of trained networks and on a photo"),
        ("large", "the same on few maps of many elements, of maps of trained networks side by side"),
        ("scaling", "the default codec on 1 and 2 threads, from 1 MiB to 1 GiB"),
        ("rivals", "PSNR at equal bytes against ZFP and the paper's storage"),
        ("steps", "whole training steps, plain and compressed in turn: LeNet, ResNet-18, DenseNet and 3D U-Net"),
        ("observer", "training steps with and without the observer of operations in turn: LeNet and ResNet-18"),
        ("comparators", "memory, time and gradient of compression beside checkpoints and 16 bits, on a trained ResNet-20"),
        ("fidelity", "gradient cosine and bytes of every codec on a trained ResNet-20"),
        ("fits", "the largest batch of each network, or patch, that fits in 11 GiB, plain and compressed: predicted, and a step of each"),
    ];

    // The memory of a common GPU, with which others have measured.
    const long FitBytes = 11L << 30;

    /// <summary>The parts that can be measured on a GPU.</summary>
    public static IReadOnlyList<string> OnGpus { get; } = ["codecs", "large", "scaling", "steps"];

    static readonly (string Codec, bool Adapted)[] fidelityCodecs =
    [
        ("dct:4", true), ("dct:10", true), ("dct:20", true), ("dct:10", false),
        ("dct:4,storage=compact,values=float32", true), ("dct:10,storage=compact,values=float32", true), ("dct:10,storage=paper", false),
        ("wt:haar:10", true), ("wt:db3:10", true), ("st:10", true), ("quant:8", true), ("quant:4", true), ("quant:2", true),
    ];

    static readonly (string Name, Func<string?, Subject> Make, int Rounds, int Steps)[] stepped =
    [
        ("lenet", folder => Subject.LeNet(folder), 8, 12),
        ("resnet18", folder => Subject.ResNet18(folder), 4, 2),
        ("densenet", folder => Subject.DenseNet(folder), 4, 2),
        ("unet3d", folder => Subject.UNet3D(folder, (64, 64, 64), 16, batch: 1, volumes: 8), 4, 2),
    ];

    // This is enough work for a GPU.
    static readonly (string Name, Func<string?, Subject> Make, int Rounds, int Steps)[] steppedOnGpus =
    [
        ("lenet", folder => Subject.LeNet(folder, batch: 1024), 8, 12),
        ("resnet18", folder => Subject.ResNet18(folder, batch: 512), 4, 6),
        ("unet3d", folder => Subject.UNet3D(folder, (96, 96, 96), 32, batch: 1, volumes: 8), 4, 6),
    ];

    /// <summary>The networks whose training steps are timed.</summary>
    public static IReadOnlyList<string> Networks { get; } = [.. stepped.Select(subject => subject.Name)];

    readonly Provenance provenance = Provenance.Here(plan.Device);

    /// <summary>Runs the plan.</summary>
    /// <returns>The results, also where the run was cancelled in between.</returns>
    public SuiteResult Run()
    {
        List<CodecTiming> codecs = [], large = [], scaling = [];
        List<StepTiming> steps = [];
        List<CodecFidelity> fidelity = [];
        List<RivalQuality> rivals = [];
        List<ComparatorStep> comparators = [];
        List<ObserverTiming> observer = [];
        List<MemoryFit> fits = [];
        try
        {
            foreach (var part in Parts.Select(part => part.Name).Where(plan.Parts.Contains))
                switch (part)
                {
                    case "codecs": Measure(part, codecs, Codecs()); break;
                    case "large": Measure(part, large, Large()); break;
                    case "scaling": Measure(part, scaling, Scaling()); break;
                    case "rivals": Measure(part, rivals, Rivals()); break;
                    case "steps": Measure(part, steps, Steps()); break;
                    case "observer": Measure(part, observer, Observer()); break;
                    case "comparators": Measure(part, comparators, Comparators()); break;
                    case "fits": Measure(part, fits, Fits()); break;
                    default: Measure(part, fidelity, Fidelity()); break;
                }
        }
        catch (OperationCanceledException) { }
        return new(provenance, codecs, scaling, large, steps, fidelity, rivals, comparators, observer, fits);
    }

    void Measure<T>(string kind, List<T> into, IEnumerable<T> measurements)
    {
        foreach (var result in measurements)
        {
            into.Add(result);
            results(kind).Add(new { Kind = kind, Result = result, Provenance = provenance });
        }
    }

    IEnumerable<CodecTiming> Codecs()
    {
        foreach (var (name, map) in Maps(plan.MapBytes))
            using (map)
            using (var there = map.to(plan.Device ?? CPU))
                foreach (var codec in plan.Codecs)
                {
                    progress.Report($"{codec} on {name}");
                    yield return CodecBenchmark.Run(codec, name, there, plan.Rounds, cancellation);
                }
    }

    IEnumerable<(string Name, Tensor Map)> Maps(long? bytes)
    {
        foreach (var name in plan.Maps ?? RealMaps.Names)
            yield return (name, bytes is { } wanted ? RealMaps.Read(name, wanted) : RealMaps.Read(name));
        if (plan.Maps is not null || plan.DataFolder is null || !File.Exists(Path.Combine(plan.DataFolder, "photos", "astronaut.png")))
            yield break;
        using var photo = Picture.Read(Path.Combine(plan.DataFolder, "photos", "astronaut.png"));
        yield return ("photo astronaut", photo.clone());
    }

    static readonly (string Map, int Maps, long[] Extents)[] largeMaps =
    [
        ("resnet20.relu", 128, [512, 512]), ("resnet20.relu", 1, [4096, 4096]),
        ("unet3d.down1.relu1", 64, [64, 64, 64]), ("unet3d.down1.relu1", 16, [128, 128, 128]), ("unet3d.down1.relu1", 2, [256, 256, 256]),
    ];

    IEnumerable<CodecTiming> Large()
    {
        foreach (var (name, maps, extents) in largeMaps)
        {
            if (plan.Maps is { } chosen && !chosen.Contains(name)) continue;
            using var read = RealMaps.ReadLarge(name, maps, extents);
            using var map = read.to(plan.Device ?? CPU);
            var title = $"{name}, {maps} of {string.Join(" x ", extents)}";
            foreach (var codec in plan.Codecs)
            {
                progress.Report($"{codec} on {title}");
                yield return CodecBenchmark.Run(codec, title, map, plan.Rounds, cancellation);
            }
        }
    }

    IEnumerable<CodecTiming> Scaling()
    {
        var threads = get_num_threads();
        try
        {
            foreach (var mebibytes in (long[])[1, 4, 16, 64, 256, 1024])
            {
                using var read = RealMaps.Read("resnet20.relu", mebibytes << 20);
                using var map = read.to(plan.Device ?? CPU);
                foreach (var count in plan.Device is { type: not DeviceType.CPU } ? [threads] : Enumerable.Range(1, threads))
                {
                    progress.Report($"dct:10 on {mebibytes} MiB, {count} threads");
                    set_num_threads(count);
                    yield return CodecBenchmark.Run(
                        ActivationCodec.Dct(10), "resnet20.relu", map, mebibytes > 256 ? Math.Min(3, plan.Rounds) : plan.Rounds,
                        cancellation);
                }
            }
        }
        finally { set_num_threads(threads); }
    }

    IEnumerable<RivalQuality> Rivals()
    {
        foreach (var (name, map) in Maps(null))
            using (map)
            {
                foreach (var size in RivalBenchmark.Sizes)
                {
                    cancellation.ThrowIfCancellationRequested();
                    progress.Report(FormattableString.Invariant($"{name} at {size} bytes an element"));
                    if (RivalBenchmark.Run(name, map, size) is { } result) yield return result;
                }
            }
    }

    IEnumerable<StepTiming> Steps()
    {
        foreach (var (name, make, rounds, steps) in plan.Device is { type: not DeviceType.CPU } ? steppedOnGpus : stepped)
        {
            if (plan.Networks is { } chosen && !chosen.Contains(name)) continue;
            random.manual_seed(1);
            using var subject = make(plan.DataFolder).To(plan.Device ?? CPU);
            foreach (var codec in plan.Codecs.Take(1))
            {
                progress.Report($"a training step of {subject.Name} on {subject.Data} with {codec}");
                yield return StepBenchmark.Run(subject, codec, rounds, steps, cancellation);
            }
        }
    }

    // A round's ratio is that of two neighbouring medians, so many short rounds are more accurate than a few long ones.
    static readonly (string Name, Func<string?, Subject> Make, int Rounds, int Steps)[] observed =
    [
        ("lenet", folder => Subject.LeNet(folder), 24, 8),
        ("resnet18", folder => Subject.ResNet18(folder), 8, 1),
    ];

    IEnumerable<ObserverTiming> Observer()
    {
        foreach (var (name, make, rounds, steps) in observed)
        {
            if (plan.Networks is { } chosen && !chosen.Contains(name)) continue;
            random.manual_seed(1);
            using var subject = make(plan.DataFolder);
            progress.Report($"a training step of {subject.Name} on {subject.Data} with and without the observer of operations");
            yield return ObserverBenchmark.Run(subject, rounds, steps, cancellation);
        }
    }

    IEnumerable<ComparatorStep> Comparators()
    {
        using var subject = TrainedResNet20();
        progress.Report($"{subject.Name} in {ComparatorBenchmark.Ways.Count} ways");
        foreach (var step in ComparatorBenchmark.Run(subject, Math.Min(5, plan.Rounds), cancellation)) yield return step;
    }

    IEnumerable<MemoryFit> Fits()
    {
        foreach (var network in Models.Networks.All)
        {
            if (plan.Networks is { } chosen && !chosen.Contains(network.Name, StringComparer.OrdinalIgnoreCase)) continue;
            cancellation.ThrowIfCancellationRequested();
            var step = new MemoryPlan(network, network.Batch, network.Input, [plan.Codecs[0]]);
            // A network that the paper trains on one example a step wants larger examples, not more.
            yield return network.Batch == 1
                ? MemoryFit.OfPatch(step, FitBytes, confirm: true, progress) : MemoryFit.OfBatch(step, FitBytes, confirm: true, progress);
        }
    }

    Subject TrainedResNet20()
    {
        random.manual_seed(1);
        var subject = Subject.ResNet20(plan.DataFolder);
        subject.Train(
            186,
            new Progress<(int Step, double Loss)>(at => progress.Report(string.Create(
                CultureInfo.InvariantCulture, $"training {subject.Name} on {subject.Data}: step {at.Step} of 186, loss {at.Loss:0.000}"))),
            cancellation);
        return subject;
    }

    IEnumerable<CodecFidelity> Fidelity()
    {
        using var subject = TrainedResNet20();
        foreach (var (codec, adapted) in fidelityCodecs)
        {
            cancellation.ThrowIfCancellationRequested();
            progress.Report($"gradient of {subject.Name} with {codec}");
            yield return FidelityBenchmark.Run(subject, ActivationCodec.Parse(codec), adapted, batches: 6);
        }
    }
}
