using System.Diagnostics;
using System.Globalization;
using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Data;
using Actipress.Encodings;
using Actipress.Experiments;
using Actipress.Models;
using Actipress.Saving;
using Actipress.Selection;
using Actipress.Tests.Codecs;
using Actipress.Transforms;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Scalars;

/// <summary>
/// A scalar that a native function reads is not finalized before: each result equals the one without the collector to the bit.
/// </summary>
/// <remarks>
/// Each test takes <c>ACTIPRESS_COLLECTOR_SECONDS</c>, or 3 seconds without it. Networks with batch norms run as in evaluation, because in
/// training TorchSharp counts their batches with a scalar that cannot be held from outside (docs/torchsharp-scalars.md).
/// </remarks>
public sealed class BesideTheCollectorTests : IDisposable
{
    static readonly double seconds =
        double.Parse(Environment.GetEnvironmentVariable("ACTIPRESS_COLLECTOR_SECONDS") ?? "3", CultureInfo.InvariantCulture);

    readonly int threads = get_num_threads();
    readonly DisposeScope scope = NewDisposeScope();

    public BesideTheCollectorTests()
    {
        set_num_threads(1);
        random.manual_seed(11);
    }

    public void Dispose()
    {
        scope.Dispose();
        set_num_threads(threads);
    }

    [Fact]
    public void Codecs_pack_and_unpack_the_same_beside_a_busy_collector()
    {
        Tensor[] maps = [randn(2, 3, 32, 32).relu_(), randn([1, 2, 9, 17, 11]), randn(7, 300).relu_().to(bfloat16)];
        var works = new Works();
        foreach (var text in CodecLaws.Table.Append("st:20,index=byte").Append("st:3,values=int8").Append("st:20,index=byte,values=int8"))
        {
            var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
            works.Add(text, () => [.. maps.SelectMany(map =>
            {
                using var packed = Pipeline.Pack(map, codec, out _)!;
                return packed.ToBytes().Concat(Bytes(packed.Unpack()));
            })]);
        }
        works.RunBesideTheCollector();
    }

    [Fact]
    public void What_torch_computes_in_place_of_kernels_is_the_same_beside_a_busy_collector()
    {
        var (values, map) = (randn(1000), randn(2, 3, 32, 32).relu_());
        var works = new Works
        {
            { "top-k", () => TopK.SelectByTorch(values, 100) is var kept ? Bytes(kept.Positions!, kept.Values) : [] },
            { "bits", () => Bytes(ExactBits.FromBitsByTorch(ExactBits.ToBitsByTorch(new Need.Inside(0, 1e9).Bits(values)), 1000)) },
            { "above", () => Bytes(new Need.Inside(0, double.PositiveInfinity).Bits(values)) },
            { "inside", () => Bytes(new Need.Inside(-1, 0.5).Bits(values)) },
            { "zeros", () => Bytes(Restored(ExactZeros.Of(map), map)) },
            { "random state", () => { random.manual_seed(3); return Bytes(Kept(RandomState.Get(CPU))); } },
            { "indices", () => Bytes(HeldScalars.Arange(1000), HeldScalars.Arange(1000, float32)) },
        };
        foreach (var bits in (int[])[2, 4, 8])
        {
            var quantized = new Quantized(bits);
            works.Add($"quant:{bits}", () =>
            {
                var sections = quantized.EncodeByTorch(values, 4);
                return Bytes([.. sections, quantized.DecodeByTorch(sections[0], sections[1], 1000)]);
            });
        }
        works.RunBesideTheCollector();

        static Tensor Kept(Tensor state)
        {
            RandomState.Set(CPU, state);
            return state;
        }

        static Tensor Restored(Tensor bits, Tensor map)
        {
            var copy = map.clone();
            ExactZeros.Restore(copy.view(-1), bits, ScalarType.Float16, 0.01f);
            return MapValues.InType(copy, new(ActivationCodec.Half, map.shape, ScalarType.Float16));
        }
    }

    [Fact]
    public void Losses_scores_and_gradients_are_the_same_beside_a_busy_collector()
    {
        var (images, dense) = (randn(4, 3, 12, 10, requires_grad: true), randint(0, 3, [4, 12, 10], int64));
        var (logits, labels) = (randn(6, 10, requires_grad: true), randint(0, 10, [6], int64));
        var small = Sequential(Conv2d(1, 3, 3), Tanh(), Flatten(), Linear(3 * 6 * 6, 10), LogSoftmax(1));
        var (digits, upstream) = (randn(6, 1, 8, 8), randn(6, 3, 6, 6));
        var works = new Works();
        void Loss(string name, Objective objective, Tensor output, Tensor target) => works.Add(name, () =>
        {
            var loss = objective.Loss(output, target);
            var gradient = SavedTensors.Grad([loss], [output])[0]!;
            return [.. Bytes(loss, gradient), .. BitConverter.GetBytes(objective.Scores(output, target).Mean)];
        });
        foreach (var kind in Enum.GetValues<SegmentationLoss>()) Loss($"{kind}", new Segmentation(kind), images, dense);
        Loss("soft Dice of one example", new Segmentation(SegmentationLoss.Dice), images.narrow(0, 0, 1), dense.narrow(0, 0, 1));
        Loss("logits", new Classification(LogProbabilities: false), logits, labels);
        Loss("log-probabilities", new Classification(LogProbabilities: true), functional.log_softmax(logits, 1), labels);
        works.Add("accuracy under noise", () => BitConverter.GetBytes(Robustness.AccuracyUnderNoise(small, digits, labels, 0.3, 5)));
        works.Add("norm of the Jacobian", () => BitConverter.GetBytes(Robustness.JacobianNorm(small, digits)));
        works.Add("fidelity", () =>
        {
            using var compression = small.CompressActivations(ActivationCodec.Parse("dct:4"));
            var fidelity = compression.MeasureFidelity(() => functional.nll_loss(small.call(digits), labels));
            return BitConverter.GetBytes(fidelity.Cosine);
        });
        works.Add("weight gradients", () =>
        {
            using var gradient = new WeightGradient(digits.detach(), upstream.clone());
            var transform = new Dct();
            random.manual_seed(3);
            var masks = gradient.UnderRandomMasks(transform, 4, 2, default).Outputs;
            return [.. gradient.Bound(transform, 4).Concat(masks).SelectMany(BitConverter.GetBytes)];
        });
        works.RunBesideTheCollector();
    }

    [Fact]
    public void Data_are_the_same_beside_a_busy_collector()
    {
        var volumes = GeneratedVolumes.Make(3, (9, 12, 10));
        var digits = GeneratedDigits.Make(24, 4);
        var training = TrainingData.Of(digits);
        var volume = volumes.Read(0) with { Affine = Affine.Of(1, 2, 1) };
        var kernel = randn([2, 1, 3, 3, 3]);
        var works = new Works
        {
            { "augmentation of volumes", () => Content(Augmentation.Brats.Apply(volume, new Random(1))) },
            { "augmentation of planes", () => Content(Augmentation.Spleen.Apply(digits.Train.Read(0), new Random(2))) },
            { "flips", () => Content(Augmentation.Flips.Apply(volume, new Random(3))) },
            { "spacing", () => Content(volume.ToSpacing(1, 1, 1)) },
            { "intensity", () => Content(volume.ZScore(amongNonZero: true), volume.Rescale(), volume.Window(-1, 1)) },
            { "cropping", () => Content(volume.CropToForeground().PadTo([8, 8, 8])) },
            { "patches", () => Content(new Patches([4, 4, 4]).Take(volume, new Random(5))) },
            { "batches of planes", () => Batches(new BatchLoader { Data = digits.Train, Batch = 5, Seed = 6, Workers = 2 }) },
            { "batches of volumes", () => Batches(new BatchLoader { Data = volumes, Batch = 2 }) },
            { "a training's batch", () => training.Train.Batch([3, 1, 2]) is var (input, target) ? Bytes(input, target) : [] },
            { "images", () => digits.Train.Batch([0, 5], 0.13f, 0.3f) is var (input, target) ? Bytes(input, target) : [] },
            { "sliding window", () => [.. new SlidingWindow([8, 8, 8]).Predict(volume, 2, Network).SelectMany(BitConverter.GetBytes)] },
            { "pictures", () => Picture.SideBySide(training.Test.Batch([0]).Input.mul(tensor(300f))) },
        };
        works.RunBesideTheCollector();

        Tensor Network(Tensor images) => functional.conv3d(images, kernel, padding: [1, 1, 1]);
        static byte[] Content(params Example[] examples) =>
            [.. examples.SelectMany(x => x.Image.SelectMany(BitConverter.GetBytes).Concat(x.Labels.SelectMany(BitConverter.GetBytes)))];
        static byte[] Batches(BatchLoader loader) => [.. loader.Epoch(1).SelectMany(batch =>
        {
            using (batch) return Bytes(batch.Images, batch.Labels);
        })];
    }

    [Fact]
    public void Compressed_training_steps_are_the_same_beside_a_busy_collector()
    {
        var (input, target) = (randn(4, 3, 16, 16), randint(0, 10, [4], int64));
        var works = new Works();
        foreach (var text in (string[])["dct:10", "wt:db3:4,storage=compact", "st:20,index=byte", "quant:4", "half", "dct:4,storage=paper"])
            works.Add(text, () =>
            {
                random.manual_seed(5);
                using var model = Sequential(
                    Conv2d(3, 8, 3, padding: 1), GroupNorm(2, 8, affine: false), ReLU(),
                    Conv2d(8, 8, 3, padding: 1), ReLU6(inplace: true), Dropout(0.3), MaxPool2d(2),
                    Conv2d(8, 8, 3, padding: 1), GELU(), SiLU(), Flatten(), Linear(8 * 8 * 8, 10), LayerNorm(10));
                using var compression = model.CompressActivations(ActivationCodec.Parse(text));
                using var optimizer = new Actipress.Experiments.Adam(model.parameters());
                for (var step = 0; step < 2; step++)
                {
                    optimizer.zero_grad();
                    compression.Backward(functional.cross_entropy(model.call(input), target));
                    optimizer.step();
                }
                return Bytes([.. model.parameters()]);
            });
        works.RunBesideTheCollector();
    }

    [Fact]
    public void Networks_give_the_same_beside_a_busy_collector()
    {
        var works = new Works();
        void Network(string name, Module<Tensor, Tensor> network, params long[] input)
        {
            network.eval();
            var x = randn(input);
            works.Add(name, () => Bytes(network.call(x)));
        }
        Network("LeNet", new LeNet(), 2, 1, 28, 28);
        Network("ResNet20", ResNet.ResNet20(), 2, 3, 16, 16);
        Network("a ResNet of bottlenecks", new ResNet("bottlenecks", [1, 1, 1], bottleneck: true, planes: 8), 2, 3, 16, 16);
        Network("UNet2D", new UNet2D(4, 3, features: 4), 1, 4, 32, 32);
        Network("UNet3D", new UNet3D(1, 2, features: 4), 1, 1, 16, 16, 16);
        Network("ViT", new ViT(10), 1, 3, 32, 64);
        Network("EfficientNetB0", EfficientNet.B0(), 1, 3, 32, 32);
        Network("DeepLabV3Plus", new DeepLabV3Plus(), 1, 3, 32, 32);
        Network("EDSR", new EDSR(), 1, 3, 4, 4);
        Network("a wavelet-compressed convolution", new WaveletCompressedConvolution(3, 5), 2, 3, 16, 24);
        works.RunBesideTheCollector();
    }

    static byte[] Bytes(params Tensor[] tensors)
    {
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        return [.. tensors.SelectMany(tensor => tensor.contiguous().bytes.ToArray())];
    }

    /// <summary>Computations by name. Each returns its result as bytes.</summary>
    sealed class Works : List<(string Name, Func<byte[]> Run)>
    {
        public void Add(string name, Func<byte[]> run) => Add((name, () =>
        {
            using var scope = NewDisposeScope();
            return run();
        }
        ));

        public void RunBesideTheCollector()
        {
            var expected = this.Select(work => work.Run()).ToArray();
            var (runs, failures) = (0, new List<string>());
            var clock = Stopwatch.StartNew();
            using (new BusyCollector())
                for (; runs < Count || clock.Elapsed.TotalSeconds < seconds; runs++)
                {
                    var (name, run) = this[runs % Count];
                    try
                    {
                        if (!run().AsSpan().SequenceEqual(expected[runs % Count])) failures.Add($"{name} gave something else");
                    }
                    catch (Exception failure) { failures.Add($"{name}: {failure.Message.Split('\n')[0]}"); }
                }
            TestContext.Current.TestOutputHelper?.WriteLine($"{runs} runs of {Count} computations, {failures.Count} failures");
            Assert.True(failures is [], $"{failures.Count} of {runs} runs failed: {string.Join("; ", failures.Take(20))}");
        }
    }
}
