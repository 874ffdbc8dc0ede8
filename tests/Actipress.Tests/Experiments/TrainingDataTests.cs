using Actipress.Data;
using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class TrainingDataTests
{
    [Fact]
    public void Images_have_the_training_pixels_mean_and_deviation_taken_out()
    {
        using var scope = NewDisposeScope();
        var chance = new Random(1);
        LabelledImages Images(int count, byte label, int most) =>
            new([.. Enumerable.Range(0, count * 6).Select(_ => (byte)chance.Next(most))], [.. Enumerable.Repeat(label, count)], 2, 3);
        var data = TrainingData.Of(new ImageClasses("images", Images(50, 2, 200), Images(5, 6, 10)));
        var (train, test) = (data.Train.Batch([.. Enumerable.Range(0, 50)]), data.Test.Batch([0, 1, 2, 3, 4]));
        Assert.Equal(0, train.Input.mean().item<float>(), 1e-5);
        Assert.Equal(1, train.Input.std(unbiased: false).item<float>(), 1e-4);
        Assert.True(test.Input.max().item<float>() < -1, $"{test.Input.max().item<float>()}");    // all are darker than the training images
        Assert.Equal((1, 7), (data.Channels, data.Classes));
    }

    [Fact]
    public void A_slice_is_a_volumes_plane_of_all_channels_and_its_labels()
    {
        var volume = new Example(
            "one", [.. Enumerable.Range(0, 2 * 24).Select(i => (float)i)], [.. Enumerable.Range(100, 24).Select(i => (ushort)i)],
            [4, 2, 3]);
        var slices = new Slices(new Volumes(volume, volume with { Case = "two", Image = [.. volume.Image.Select(value => value + 1000)] }));
        Assert.Equal((8, "one", "two"), (slices.Count, slices.Case(3), slices.Case(4)));
        Assert.Equal([2, 3], slices.Extents);
        var slice = slices.Read(6);
        Assert.Equal([1012, 1013, 1014, 1015, 1016, 1017, 1036, 1037, 1038, 1039, 1040, 1041], slice.Image);
        Assert.Equal([112, 113, 114, 115, 116, 117], slice.Labels);
        Assert.Equal([2, 3], slice.Extents);
    }

    [Theory]
    [InlineData("mnist", "cifar10", "data_batch_1.bin")]
    [InlineData("mnist", "cifar10", "cifar10_first4000.bin.gz")]
    [InlineData("cifar10", "mnist", "train-images-idx3-ubyte.gz")]
    [InlineData("mnist", "cifar10-jpeg", "train/cat/1.jpg")]
    [InlineData("mnist", "cifar100", "cifar100/train.bin")]
    [InlineData("spleen", "hippocampus", "msd_hippocampus/imagesTr/hippocampus_001.nii.gz")]
    [InlineData("mnist", "spleen", "imagesTr/spleen_2.nii.gz")]
    [InlineData("mnist", "ct-spleen", "s0001/ct.nii.gz")]
    [InlineData("mnist", "brats", "patient1/patient1_flair.nii.gz")]
    public void Where_another_data_set_lies_the_message_says_which(string wanted, string found, string file)
    {
        var folder = Directory.CreateTempSubdirectory("actipress-test");
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(folder.FullName, file))!);
            File.WriteAllBytes(Path.Combine(folder.FullName, file), []);
            var plan = new TrainingPlan { Model = wanted is "spleen" ? "unet3d" : wanted is "mnist" ? "lenet" : "resnet20", Data = wanted };
            Assert.EndsWith(
                $" {folder} looks like {found}: choose it with --data.",
                Assert.Throws<InvalidDataException>(() => KnownData.Load(plan, folder.FullName)).Message, StringComparison.Ordinal);
            var damaged = Assert.Throws<InvalidDataException>(() => KnownData.Load(plan with { Data = found }, folder.FullName));
            Assert.DoesNotContain("looks like", damaged.Message, StringComparison.Ordinal);
        }
        finally { folder.Delete(recursive: true); }
    }

    [Fact]
    public void A_network_that_does_not_take_the_examples_says_so_before_the_first_step()
    {
        static ImageClasses Images(int edge) =>
            new("tiny", new(new byte[4 * edge * edge], [0, 1, 2, 3], edge, edge), new(new byte[edge * edge], [0], edge, edge));
        var plan = new TrainingPlan { Model = "lenet", Data = "digits", Batch = 2 };
        var failure = Assert.Throws<ArgumentException>(() => new Learner(plan, TrainingData.Of(Images(20))));
        Assert.StartsWith(
            "lenet does not take tiny, whose examples are 1 x 20 x 20: mat1 and mat2 shapes cannot be multiplied", failure.Message,
            StringComparison.Ordinal);
        new Learner(plan, TrainingData.Of(Images(28))).Dispose();
    }

    sealed class Volumes(params Example[] examples) : IDataSet
    {
        public string Name => "volumes";
        public int Count => examples.Length;
        public int Channels => 2;
        public int Classes => 2;
        public bool IsSegmentation => true;
        public IReadOnlyList<int> Extents => [4, 2, 3];
        public string Case(int index) => examples[index].Case;
        public Example Read(int index) => examples[index];
    }

    [Theory]
    [InlineData(2, 1)]
    [InlineData(3, 1)]
    [InlineData(4, 1)]
    [InlineData(10, 2)]
    public void A_fifth_of_the_cases_tests_and_one_at_least(int cases, int tested)
    {
        var data = TrainingData.Of(GeneratedVolumes.Make(cases, (4, 4, 4)), slices: false);
        Assert.Equal((cases - tested, tested), (data.Train.Count, data.Test.Count));
        var sliced = TrainingData.Of(GeneratedVolumes.Make(cases, (4, 5, 6)), slices: true);
        Assert.Equal((4 * (cases - tested), 4 * tested), (sliced.Train.Count, sliced.Test.Count));
    }
}
