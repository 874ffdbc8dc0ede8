using Actipress.Data;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class TrainingTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    // On networks as small as these, threads cost more than they gain.
    readonly int threads = get_num_threads();

    public TrainingTests() => set_num_threads(1);

    public void Dispose()
    {
        set_num_threads(threads);
        Directory.Delete(folder, recursive: true);
    }

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    static TrainingPlan Plan(string codec = "dct:10", string layers = "all") =>
        new()
        {
            Model = "lenet",
            Data = "digits",
            Codec = codec,
            Layers = layers,
            Epochs = 1,
            Batch = 64,
            TrainExamples = 600,
            TestExamples = 200,
        };

    static (TrainingResult Result, CompressionReport Report) Run(TrainingPlan plan, ResultsFile results, TrainingState? state = null) =>
        Training.Run(plan, KnownData.Load(plan, null), results, state, null, Cancellation)!.Value;

    [Fact]
    public void The_same_seed_gives_the_same_run()
    {
        var results = new ResultsFile(folder);
        var (first, second) = (Run(Plan(), results).Result, Run(Plan(), results).Result);
        Assert.Equal(Outcome(first.Baseline), Outcome(second.Baseline));
        Assert.Equal(Outcome(first.Compressed), Outcome(second.Compressed));
        Assert.NotEqual(first.Baseline.TrainLoss, first.Compressed.TrainLoss);
        Assert.InRange(first.Compressed.GradientCosine!.Value, 0.9, 0.99999);
        Assert.True(first.Compressed.AfterForwardBytes < first.Baseline.AfterForwardBytes / 5);
    }

    // Returns the result without times and the allocator's levels.
    static object Outcome(RunResult run) =>
        (run.TestScore, run.TrainScore, run.TrainLoss, run.SavedBytes, run.KeptBytes, run.GradientCosine, run.GradientNormRatio);

    [Fact]
    public void Only_the_named_layers_are_compressed()
    {
        var results = new ResultsFile(folder);
        var (_, report) = Run(Plan(layers: "relu1,conv2"), results);
        Assert.Equal("dct:10", report.Layers.Single(layer => layer.Name == "relu1").KeptAs);
        Assert.Equal("rule", report.Layers.Single(layer => layer.Name == "fc1").KeptAs);
        Assert.Throws<ArgumentException>(() => Run(Plan(layers: "conv7"), results));
    }

    public static TheoryData<string> Names => [.. Trainable.All.Select(network => network.Name)];

    [Theory, MemberData(nameof(Names))]
    public void Each_network_trains_on_its_own_data(string name)
    {
        var network = Trainable.Find(name);
        var plan = network.Plan(realData: false) with
        {
            Epochs = 1,
            Batch = 4,
            TrainExamples = 8,
            TestExamples = 4,
            Features = Math.Min(8, network.Features),
        };
        var results = new ResultsFile(folder);
        var (result, report) = Run(plan, results);
        Assert.Equal(network.Examples is ExampleKind.Slices or ExampleKind.Volumes, result.Compressed.TestDsc is not null);
        Assert.Equal(result.Compressed.TestDsc is null, result.Compressed.TestAccuracy is not null);
        Assert.InRange(result.Compressed.TestScore, 0, 1);
        Assert.True(result.Compressed.KeptBytes < result.Compressed.SavedBytes / 8, report.ToString());
        Assert.Equal(0, report.AliveElsewhereBytes);
        // These are levels of the whole process. LeNet's maps are smaller than the bytes that the runtime may allocate meanwhile.
        Assert.True(result.Compressed.AfterForwardBytes < result.Baseline.AfterForwardBytes / 2 + (1 << 20));
        Assert.InRange(result.Compressed.GradientCosine!.Value, 0.5, 0.99999);
    }

    [Fact]
    public void A_segmentation_learns()
    {
        var plan = Trainable.Find("unet3d").Plan(realData: false) with
        {
            Codec = "dct:10",
            Epochs = 8,
            Batch = 8,
            Features = 4,
            LearningRate = 1e-2,
            Loss = SegmentationLoss.Both,
            Schedule = Schedule.Cosine,
            Extents = [16, 16, 16],
        };
        using var learner = new Learner(plan, KnownData.Load(plan, null));
        while (learner.Epochs < plan.Epochs) Assert.True(learner.Epoch(null, null, Cancellation));
        Assert.True(learner.Last.TrainLoss < learner.Curve[0].TrainLoss / 2, string.Join('\n', learner.Curve));
    }

    [Theory]
    [InlineData("lenet", 13)]    // the training has dropout and is interrupted in the second epoch
    [InlineData("unet2d", 2)]    // the training has batch norm's buffers, soft Dice and augmentation, and is interrupted in the first epoch
    public void An_interrupted_training_ends_as_one_without_a_break(string model, int stopAfter)
    {
        var slices = model == "unet2d";
        var plan = Trainable.Find(model).Plan(realData: false) with
        {
            Epochs = slices ? 2 : 3,
            Batch = slices ? 8 : 16,
            TrainExamples = slices ? 24 : 150,
            TestExamples = slices ? 16 : 64,
            Features = 4,
            Schedule = Schedule.Cosine,
            Augmentation = slices ? Augmenting.Brats : null,
        };
        var results = new ResultsFile(folder);
        var whole = Run(plan, results).Result;

        var state = new TrainingState(Path.Combine(folder, "state"), plan);
        var steps = 0;
        using var stop = new CancellationTokenSource();
        var progress = new Told(told =>
        {
            if (told.Run == "compressed" && told.TestScore is null && ++steps == stopAfter) stop.Cancel();
        });
        Training.Run(plan, KnownData.Load(plan, null), results, state, progress, stop.Token);
        Assert.True(state.Exists);
        random.manual_seed(99);    // another process has another random state
        var resumed = Run(plan, results, state).Result;
        Assert.Equal(Outcome(whole.Baseline), Outcome(resumed.Baseline));
        Assert.Equal(Outcome(whole.Compressed), Outcome(resumed.Compressed));
        Assert.False(state.Exists);
    }

    // Returns the losses of steps on a single picture that every example has, with a learning rate of no effect, so that the losses depend
    // only on the random changes to the examples.
    static List<double> Losses(Augmenting? augmentation, int epochs, bool mirrored = false)
    {
        var pixels = Enumerable.Range(0, 3 * 32 * 32).Select(i => (byte)(i * 37 % 251)).ToArray();
        if (mirrored) pixels = [.. pixels.Chunk(32).SelectMany(row => row.Reverse())];
        var images =
            new LabelledImages([.. Enumerable.Repeat(pixels, 24).SelectMany(one => one)], new byte[24], 32, 32, 3) { Classes = 10 };
        var plan = new TrainingPlan
        {
            Model = "resnet20",
            Data = "colour-digits",
            Codec = "none",
            Epochs = epochs,
            Batch = 8,
            Features = 4,
            LearningRate = 1e-30,
            Augmentation = augmentation,
        };
        using var learner = new Learner(plan, new("pictures", new(images), new(images.Subset([0]))));
        var losses = new List<double>();
        while (learner.Epochs < epochs) learner.Epoch(new Told(told => losses.Add(told.StepLoss)), null, Cancellation);
        return [.. losses.Where(double.IsFinite)];
    }

    [Fact]
    public void Every_image_of_every_step_has_a_chance_of_its_own()
    {
        var (plain, mirrored, flipped) = (Losses(null, 1), Losses(null, 1, mirrored: true), Losses(Augmenting.Flips, 1));
        Assert.Single(plain.Distinct());
        Assert.Single(mirrored.Distinct());
        Assert.NotEqual(plain[0], mirrored[0], 1e-5);
        // Some examples of a batch are mirrored and some are not.
        Assert.All(flipped, loss => Assert.True(
            Math.Abs(loss - plain[0]) > 1e-6 && Math.Abs(loss - mirrored[0]) > 1e-6, $"{loss} beside {plain[0]} and {mirrored[0]}"));
        Assert.Equal(6, Losses(Augmenting.Brats, 2).Distinct().Count());
    }

    // Data with numbers in place of pictures, which records the examples that were read.
    sealed class Numbered(int count, List<int> read) : IDataSet
    {
        public string Name => "numbered";
        public int Count => count;
        public int Channels => 1;
        public int Classes => 10;
        public bool IsSegmentation => false;
        public IReadOnlyList<int> Extents => [28, 28];
        public string Case(int index) => $"{index}";

        public Example Read(int index)
        {
            read.Add(index);
            return new($"{index}", new float[28 * 28], [0], [28, 28]);
        }
    }

    [Fact]
    public void Fidelity_is_measured_on_batches_of_different_examples()
    {
        var read = new List<int>();
        var plan = new TrainingPlan { Model = "lenet", Data = "digits", Epochs = 1, Batch = 5 };
        using var learner = new Learner(plan, new("numbered", new(new Numbered(24, read)), new(new Numbered(3, []))));
        Assert.True(learner.Epoch(null, null, Cancellation));
        read.Clear();
        learner.Result(Cancellation);
        Assert.Equal(3 + 4 * 5, read.Count);    // the test examples are read, and four batches
        Assert.Equal(20, read.Skip(3).Distinct().Count());
    }

    [Fact]
    public void An_epochs_last_and_smaller_batch_lowers_neither_peak_nor_report()
    {
        Learner Trained(int examples)
        {
            var plan = new TrainingPlan { Model = "lenet", Data = "digits", Epochs = 1, Batch = 128 };
            var learner = new Learner(plan, new("numbered", new(new Numbered(examples, [])), new(new Numbered(3, []))));
            Assert.True(learner.Epoch(null, null, Cancellation));
            return learner;
        }
        using Learner whole = Trained(128), smaller = Trained(128 + 4);
        Assert.Equal(whole.Report!.SavedBytes, smaller.Report!.SavedBytes);
        Assert.True(
            smaller.Result(Cancellation).PeakBytes > 0.7 * whole.Result(Cancellation).PeakBytes,
            $"{smaller.Result(Cancellation)} beside {whole.Result(Cancellation)}");
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(10, 0.75)]
    [InlineData(15, 0.5)]
    [InlineData(20, 0.25)]
    [InlineData(30, 0)]
    public void The_step_size_falls_along_half_a_cosine(double done, double wanted) =>
        Assert.Equal(wanted, Learner.AlongCosine(done, 30), 1e-12);

    [Fact]
    public void Every_epoch_has_every_example_once_in_an_order_of_its_own()
    {
        var (read, tested) = (new List<int>(), new List<int>());
        int[][] Orders(int seed)
        {
            var plan = new TrainingPlan { Model = "lenet", Data = "digits", Codec = "none", Epochs = 2, Batch = 10, Seed = seed };
            using var learner = new Learner(plan, new("numbered", new(new Numbered(24, read)), new(new Numbered(24, tested))));
            return [.. Enumerable.Range(0, 2).Select(_ =>
            {
                read.Clear();
                Assert.True(learner.Epoch(null, null, Cancellation));
                return read.ToArray();
            })];
        }
        var (one, other) = (Orders(1), Orders(2));
        Assert.All(one.Concat(other), order => Assert.Equal(Enumerable.Range(0, 24), order.Order()));
        Assert.Equal(4, one.Concat(other).Append(Orders(1)[0]).Select(order => string.Join(' ', order)).Distinct().Count());
        Assert.Equal(Enumerable.Range(0, 24), tested.Take(24));
    }

    sealed class Told(Action<TrainingProgress> tell) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => tell(value);
    }

    [Fact]
    public void Patients_of_brats_train_a_volume_network()
    {
        var plan = new TrainingPlan { Model = "unet3d", Data = "brats", Epochs = 1, Batch = 1, Features = 4, Extents = [48, 64, 48] };
        var data = KnownData.Load(plan, Path.GetDirectoryName(TestData.Real("brats2015")));
        Assert.Equal((1, 1, 2), (data.Train.Count, data.Test.Count, data.Channels));
        var (result, report) = Training.Run(plan, data, new ResultsFile(folder), null, null, Cancellation)!.Value;
        Assert.InRange(result.Compressed.TestDsc!.Value, 0, 1);
        Assert.True(result.Compressed.KeptBytes < result.Compressed.SavedBytes / 8, report.ToString());
    }

    [Fact]
    public void Ct_trains_a_volume_network_in_either_layout()
    {
        var real = TestData.Real("ct_mr_totalsegmentator");
        foreach (var (scan, mask) in (ReadOnlySpan<(string, string)>)[
            ("aorta__ct_cropped", "aorta__aorta"), ("pulmonary__ct_cropped", "pulmonary__pulmonary_artery"),
        ])
        {
            Link(scan, "msd_spleen", "imagesTr", $"{scan}.nii.gz");
            Link(mask, "msd_spleen", "labelsTr", $"{scan}.nii.gz");
            Link(scan, "totalsegmentator", scan, "ct.nii.gz");
            Link(mask, "totalsegmentator", scan, "segmentations", "spleen.nii.gz");
        }
        var plan = new TrainingPlan { Model = "unet3d", Data = "spleen", Epochs = 1, Batch = 1, Features = 4, Extents = [32, 32, 32] };
        var (one, other) = (KnownData.Load(plan, folder), KnownData.Load(plan with { Data = "ct-spleen" }, folder));
        using var scope = NewDisposeScope();
        Assert.True(one.Train.Batch([0]).Input.Equals(other.Train.Batch([0]).Input));
        var (result, _) = Training.Run(plan, one, new ResultsFile(folder), null, null, Cancellation)!.Value;
        Assert.InRange(result.Compressed.TestDsc!.Value, 0, 1);

        void Link(string file, params string[] path)
        {
            var to = Path.Combine([folder, .. path]);
            Directory.CreateDirectory(Path.GetDirectoryName(to)!);
            File.CreateSymbolicLink(to, Path.Combine(real, $"{file}.nii.gz"));
        }
    }

    [Fact]
    public void A_part_is_taken_at_even_distances()
    {
        var data = KnownData.Load(new TrainingPlan { Model = "lenet", Data = "digits" }, null);
        using var scope = NewDisposeScope();
        var (all, some) = (data.Train.Batch([0, 2000, 4000, 6000]), data.Train.Take(4).Batch([0, 1, 2, 3]));
        Assert.True(all.Input.equal(some.Input).all().item<bool>());
        Assert.Equal(4, data.Train.Take(4).Count);
        Assert.Equal(data.Train.Count, data.Train.Take(1_000_000).Count);
    }

    [Fact]
    public void A_state_that_is_damaged_or_anothers_is_refused()
    {
        var plan = Plan();
        var state = new TrainingState(Path.Combine(folder, "state"), plan);
        using var learner = new Learner(plan, KnownData.Load(plan, null));
        state.Save(learner);
        var other = new TrainingState(state.Path, plan with { Seed = 2 });
        Assert.Contains(
            "another training", Assert.Throws<InvalidDataException>(() => other.Load(learner)).Message, StringComparison.Ordinal);
        var bytes = File.ReadAllBytes(state.Path);
        bytes[bytes.Length / 2] ^= 1;
        File.WriteAllBytes(state.Path, bytes);
        Assert.Contains("checksum", Assert.Throws<InvalidDataException>(() => state.Load(learner)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(state.Path, bytes[..10]);
        Assert.Contains("checksum", Assert.Throws<InvalidDataException>(() => state.Load(learner)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TensorBoard_gets_a_folder_for_each_run()
    {
        var plan = Plan() with { TrainExamples = 128, Epochs = 2 };
        var results = new ResultsFile(folder);
        Training.Run(plan, KnownData.Load(plan, null), results, null, new TensorBoardLog(Path.Combine(folder, "logs")), Cancellation);
        foreach (var run in (string[])["baseline", "compressed"])
        {
            var events = Events(File.ReadAllBytes(Assert.Single(Directory.GetFiles(Path.Combine(folder, "logs", run)))));
            var ofLoss = events.Where(one => one.Text.Contains("loss/train", StringComparison.Ordinal));
            Assert.Equal([1, 2, 3, 4], ofLoss.Select(one => one.Step));
            Assert.Equal([2, 4], events.Where(one => one.Text.Contains("accuracy/test", StringComparison.Ordinal)).Select(one => one.Step));
        }
    }

    // In a TensorBoard file each event has its length (8 bytes), a checksum (4), its content and another checksum (4). The content begins
    // with its time (a tag and 8 bytes) and its step (the tag 0x10 and, for steps below 128, one byte).
    static List<(int Step, string Text)> Events(byte[] bytes)
    {
        var events = new List<(int, string)>();
        for (var at = 0; at < bytes.Length;)
        {
            var length = (int)BitConverter.ToInt64(bytes, at);
            var own = bytes.AsSpan(at + 12, length);
            events.Add((own[9] == 0x10 ? own[10] : 0, System.Text.Encoding.Latin1.GetString(own)));
            at += 8 + 4 + length + 4;
        }
        return events;
    }
}
