using Actipress.Data;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

/// <summary>Tests of prediction, from a folder of volumes over trained weights to masks.</summary>
public sealed class PredictionTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;
    readonly int threads = get_num_threads();

    public PredictionTests() => set_num_threads(1);

    public void Dispose()
    {
        set_num_threads(threads);
        Directory.Delete(folder, recursive: true);
    }

    static CancellationToken Now => TestContext.Current.CancellationToken;

    string In(params string[] parts) => Path.Combine([folder, .. parts]);

    // The volumes are oblique and mirrored, and have other spacings than the network's input.
    static readonly Affine turned = new([-1.9, 0.1, 0.2, 30, 0.1, 2.1, -0.3, -20, 0.1, 0.2, 2.5, 10]);

    // A volume has a bright box of class 1 and a dark box of class 2, which are written as 1 and 7.
    void Write(string name, int seed, string part = "Tr", bool labels = true)
    {
        int[] extents = [18, 20, 14];
        var random = new Random(seed);
        var (image, label) = (new float[18 * 20 * 14], new float[18 * 20 * 14]);
        var corners = new[] { 1, 7 }.Select(value => (Value: value, X: random.Next(2, 10), Y: random.Next(2, 12), Z: random.Next(1, 7)))
            .ToArray();
        for (var i = 0; i < image.Length; i++)
        {
            var (x, y, z) = (i % 18, i / 18 % 20, i / 18 / 20);
            foreach (var corner in corners)
                if (x >= corner.X && x < corner.X + 6 && y >= corner.Y && y < corner.Y + 6 && z >= corner.Z && z < corner.Z
                    + 6) label[i] = corner.Value;
            image[i] = (label[i] == 1 ? 3 : label[i] == 7 ? -3 : 0) + random.NextSingle();
        }
        Directory.CreateDirectory(In("task", $"images{part}"));
        Directory.CreateDirectory(In("task", $"labels{part}"));
        Nifti.Write(In("task", $"images{part}", $"{name}.nii.gz"), new(image, extents, [1.9, 2.1, 2.5], turned));
        if (labels) Nifti.Write(In("task", $"labels{part}", $"{name}.nii.gz"), new(label, extents, [1.9, 2.1, 2.5], turned),
            NiftiType.UInt8);
    }

    TrainingPlan Plan(VolumeChoices? volumes = null) => new()
    {
        Model = "unet3d",
        Data = In("task"),
        Codec = "dct:10",
        Epochs = 1,
        Batch = 1,
        Features = 2,
        Patch = [32, 32, 16],
        Volumes = volumes ?? new() { Relabel = "7=2" },
    };

    (TrainingResult Result, TrainingData Data) Train(TrainingPlan plan)
    {
        for (var i = 0; i < 5; i++) Write($"c{i}", i);
        var data = KnownData.Load(plan, null);
        return (Training.Run(plan, data, new ResultsFile(In("out")), null, null, Now, weights: In("out"))!.Value.Result, data);
    }

    PredictionResult Predict(string weights, string images, string output, Func<Prediction, Prediction>? change = null,
        DataNotes? notes = null)
    {
        var (model, description) = ModelFile.Read(weights);
        using (model)
        {
            var cases = ScanFolder.Open(images, null, description.Scans?.Chosen?.Of ?? description.Channels, null);
            var prediction = new Prediction(weights, cases, output);
            return (change?.Invoke(prediction) ?? prediction).Run(model, description, CPU, null, notes ?? new(), Now);
        }
    }

    [Fact]
    public void A_prediction_scores_as_the_training_did_and_lies_where_its_scan_lies()
    {
        // The spacings differ, so that masks are resampled from another grid.
        var (result, data) = Train(Plan(new() { Relabel = "7=2", Spacing = [2, 2, 2] }));
        var weights = result.Weights![1];
        var held = ModelFile.Read(weights) is var (model, description) && Disposed(model) ? description.TestCases.Single() : "";
        Write(held, held[1] - '0', "Ts");
        Write("new", 9, "Ts", labels: false);
        var notes = new DataNotes();
        var predicted = Predict(weights, In("task", "imagesTs"), In("predicted"), notes: notes);
        Assert.Equal((2, 1), (predicted.Cases, predicted.Scored));
        Assert.Equal(result.Compressed.TestDsc!.Value, predicted.MeanDsc!.Value, 1e-12);
        Assert.Equal(["index.html", $"{held}.nii.gz", $"{held}.png", "new.nii.gz", "new.png", "scores.csv"],
            Directory.GetFiles(In("predicted")).Select(Path.GetFileName).Order(StringComparer.Ordinal).OrderBy(name => name == "index.html"
                ? "" : name, StringComparer.Ordinal));
        foreach (var name in (string[])[held, "new"])
        {
            var mask = Nifti.Read(In("predicted", $"{name}.nii.gz"));
            Assert.Equal(Nifti.Read(In("task", "imagesTs", $"{name}.nii.gz")).Affine.Rows, mask.Affine.Rows);
            Assert.Empty(mask.Values.Except([0f, 1, 7]));
        }
        // The table agrees with the masks.
        var truth = Nifti.Read(In("task", "labelsTs", $"{held}.nii.gz")).Values;
        var found = Nifti.Read(In("predicted", $"{held}.nii.gz")).Values;
        var lines = File.ReadAllLines(In("predicted", "scores.csv"));
        Assert.Equal("case,class,dsc,hd95_mm,truth_ml,predicted_ml", lines[0]);
        foreach (var (value, cells) in new[] { (1, lines[1].Split(',')), (7, lines[2].Split(',')) })
        {
            var (both, all) = (found.Zip(truth).Count(pair => pair.First == value && pair.Second == value),
                found.Count(one => one == value) + truth.Count(one => one == value));
            Assert.Equal((held, $"{value}"), (cells[0], cells[1]));
            Assert.Equal(2.0 * both / all, double.Parse(cells[2], System.Globalization.CultureInfo.InvariantCulture), 1e-6);
            Assert.Equal(truth.Count(one => one == value) * turned.VoxelVolume / 1000,
                double.Parse(cells[4], System.Globalization.CultureInfo.InvariantCulture), 1e-4);
        }
        Assert.StartsWith("new,1,,,,", lines[3], StringComparison.Ordinal);
        Assert.DoesNotContain(notes.Lines(), line => line.Contains("trained on it", StringComparison.Ordinal));
        Predict(weights, In("task", "imagesTr"), In("again"), notes: notes);
        Assert.Contains(notes.Lines(), line => line.Contains("and 1 more: the network was trained on it", StringComparison.Ordinal));
        Assert.Contains("(--overwrite)",
            Assert.Throws<InvalidDataException>(() => Predict(weights, In("task", "imagesTs"), In("predicted"))).Message,
                StringComparison.Ordinal);
        // The mask of a scan that is no longer there stays, and is named.
        File.Delete(In("task", "imagesTs", "new.nii.gz"));
        var later = new DataNotes();
        Assert.Equal(predicted.MeanDsc, Predict(weights, In("task", "imagesTs"), In("predicted"), one =>
            one with { Overwrite = true }, later).MeanDsc);
        Assert.Contains($"{In("predicted", "new.nii.gz")}: a mask of an earlier prediction, which these scores do not count",
            later.Lines());
        Assert.Equal((2, 3), (data.Channels + 1, data.Classes));

        static bool Disposed(nn.Module module)
        {
            module.Dispose();
            return true;
        }
    }

    [Fact]
    public void Scans_that_do_not_fit_the_network_are_refused_or_left_out()
    {
        var (result, data) = Train(Plan());
        Assert.Contains(data.Lines, line =>
            line.Contains("5 of 5 cases are smaller than a patch of 32 x 32 x 16", StringComparison.Ordinal));
        var weights = result.Weights![0];
        Directory.CreateDirectory(In("two"));
        foreach (var channel in (int[])[0, 1]) File.Copy(In("task", "imagesTr", "c0.nii.gz"), In("two", $"a_{channel:0000}.nii.gz"));
        Assert.Contains("a has 2 channels", Assert.Throws<InvalidDataException>(() => Predict(weights, In("two"), In("p1"))).Message,
            StringComparison.Ordinal);
        Directory.CreateDirectory(In("mixed"));
        File.Copy(In("task", "imagesTr", "c0.nii.gz"), In("mixed", "good.nii.gz"));
        File.WriteAllText(In("mixed", "bad.nii.gz"), "no volume");
        Assert.Contains("Case bad", Assert.Throws<InvalidDataException>(() => Predict(weights, In("mixed"), In("p2"))).Message,
            StringComparison.Ordinal);
        var rest = Predict(weights, In("mixed"), In("p3"), one => one with { Unreadable = Unreadable.Skip });
        Assert.Equal((1, 0, null), (rest.Cases, rest.Scored, rest.MeanDsc));
        Assert.Contains("Case bad", rest.Skipped.Single(), StringComparison.Ordinal);
        Directory.CreateDirectory(In("nothing"));
        Assert.Contains("No scans in", Assert.Throws<InvalidDataException>(() => Predict(weights, In("nothing"), In("p4"))).Message,
            StringComparison.Ordinal);
        var digits = KnownData.Load(new TrainingPlan { Model = "lenet", Data = "digits", TrainExamples = 64, TestExamples = 10 }, null);
        var images = Training.Run(
            new() { Model = "lenet", Data = "digits", Epochs = 1, Batch = 64, TrainExamples = 64, TestExamples = 10 }, digits,
                new ResultsFile(In("out")), null, null, Now, weights: In("out"))!.Value.Result.Weights![0];
        Assert.Contains("is a lenet trained on digits",
            Assert.Throws<ArgumentException>(() => Predict(images, In("mixed"), In("p5"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void No_scan_and_no_label_is_replaced_by_its_mask()
    {
        var weights = Train(Plan()).Result.Weights![0];
        Directory.CreateSymbolicLink(In("link"), In("task", "imagesTr"));
        foreach (var (images, output, replaced) in new[]
        {
            (In("task", "imagesTr"), In("task", "imagesTr"), "imagesTr"), (In("task", "imagesTr"), In("link"), "imagesTr"),
            (In("link"), In("task", "imagesTr"), "link"), (In("task", "imagesTr"), In("task", "labelsTr"), "labelsTr"),
            (In("task", "imagesTr", "c0.nii.gz"), In("task", "imagesTr"), "imagesTr"),
        })
        {
            var before = File.ReadAllBytes(In("task", "imagesTr", "c0.nii.gz"));
            var refused = Assert.Throws<InvalidDataException>(() =>
                Predict(weights, images, output, one => one with { Overwrite = true })).Message;
            Assert.Contains($"The mask of c0 would replace {In(replaced == "link" ? "link" : Path.Combine("task", replaced))}", refused,
                StringComparison.Ordinal);
            Assert.Equal(before, File.ReadAllBytes(In("task", "imagesTr", "c0.nii.gz")));
        }
    }

    [Fact]
    public void Scores_of_the_scans_before_an_interruption_are_written()
    {
        var weights = Train(Plan()).Result.Weights![0];
        File.Delete(In("task", "imagesTr", "c3.nii.gz"));
        File.WriteAllText(In("task", "imagesTr", "c3.nii.gz"), "no volume");
        Assert.Throws<InvalidDataException>(() => Predict(weights, In("task", "imagesTr"), In("predicted")));
        var lines = File.ReadAllLines(In("predicted", "scores.csv"))[1..];
        Assert.Equal(["c0", "c1", "c2"], lines.Select(line => line.Split(',')[0]).Distinct());
        Assert.True(File.Exists(In("predicted", "index.html")));
    }

    [Theory]
    [InlineData("1", "0")]
    [InlineData("1")]
    public void Channels_are_those_of_the_training_in_its_order(params string[] channels)
    {
        for (var i = 0; i < 5; i++) Write($"c{i}", i);
        foreach (var image in Directory.GetFiles(In("task", "imagesTr")))
        {
            // Channel 0 is one value and a little noise, and channel 1 is the image.
            var volume = Nifti.Read(image);
            var random = new Random(1);
            Nifti.Write(image.Replace(".nii", "_0000.nii", StringComparison.Ordinal),
                volume with { Values = [.. volume.Values.Select(_ => random.NextSingle())] });
            File.Move(image, image.Replace(".nii", "_0001.nii", StringComparison.Ordinal));
        }
        var plan = Plan(new() { Relabel = "7=2", Channels = channels }) with { Epochs = 8, LearningRate = 0.01 };
        var result = Training.Run(plan, KnownData.Load(plan, null), new ResultsFile(In("out")), null, null, Now, weights: In("out"))!.Value
            .Result;
        var (model, description) = ModelFile.Read(result.Weights![0]);
        model.Dispose();
        Directory.CreateDirectory(In("held"));
        foreach (var channel in (int[])[0, 1])
            File.Copy(In("task", "imagesTr", $"{description.TestCases.Single()}_000{channel}.nii.gz"),
                In("held", $"{description.TestCases.Single()}_000{channel}.nii.gz"));
        var cases = ScanFolder.Open(In("held"), In("task", "labelsTr"), description.Scans!.Chosen!.Of, null);
        var (again, same) = ModelFile.Read(result.Weights![0]);
        using (again)
            Assert.Equal(result.Baseline.TestDsc!.Value,
                new Prediction(result.Weights![0], cases, In("predicted")).Run(again, same, CPU, null, new(), Now).MeanDsc!.Value, 1e-12);
        Assert.True(result.Baseline.TestDsc > 0, "The network has learnt nothing.");
        File.Delete(In("held", $"{description.TestCases.Single()}_0001.nii.gz"));
        Assert.Contains("has 1 channels", Assert.Throws<InvalidDataException>(() =>
            ScanFolder.Open(In("held"), null, description.Scans!.Chosen!.Of, null)).Message, StringComparison.Ordinal);
    }

    // The output of each voxel depends on this voxel alone, so that windows, mirroring and slices change nothing.
    sealed class Pointwise() : nn.Module<Tensor, Tensor>("pointwise")
    {
        public override Tensor forward(Tensor x)
        {
            Axes.Add((int)x.dim());
            using var squares = x * x;
            return cat([x, squares], 1);
        }

        public HashSet<int> Axes { get; } = [];
    }

    [Theory]
    [InlineData(false, false, 5)]
    [InlineData(true, false, 5)]
    [InlineData(false, true, 4)]
    [InlineData(true, true, 4)]
    public void Mirrors_and_slices_predict_the_same_of_single_voxels(bool flips, bool slices, int axes)
    {
        using var network = new Pointwise();
        var random = new Random(1);
        var scan = new Example("one", [.. Enumerable.Range(0, 9 * 20 * 18).Select(_ => 2 * random.NextSingle())], [0],
            [9, 20, 18])
        { Affine = turned };
        var predictor = new Predictor(network, new(new Preparation { Window = [-1, 1] }, [16, 16, 16], Relabelling.None, null, null), 2,
            CPU)
        { Flips = flips, IsOfSlices = slices };
        var prepared = scan with { Image = [.. scan.Image.Select(value => 2 * value - 1)] };
        Assert.Equal(prepared.Image.Select(value => (ushort)(value * value > value ? 1 : 0)), predictor.Predict(scan, prepared, Now));
        Assert.Equal([axes], network.Axes);
    }
}
