using Actipress.Data;

namespace Actipress.Tests.Data;

public sealed class FingerprintTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    static CancellationToken Now => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    string Make(string path, Func<int, float> value, Affine? affine = null, params int[] extents)
    {
        path = Path.Combine(folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        if (extents.Length == 0) extents = [4, 3, 2];
        Nifti.Write(path, new([.. Enumerable.Range(0, extents.Aggregate((a, b) => a * b)).Select(value)], extents, [1, 1, 2, 1], affine
            ?? Affine.Of(1, 1, 2)));
        return path;
    }

    VolumeFiles Cases(params string[] names) =>
        new("some", [.. names.Select(name => new VolumeCase(name, [Path.Combine(folder, $"{name}.nii")],
            [Path.Combine(folder, $"{name}-label.nii")]))], channels: 1, classes: 3);

    void Case(string name, Func<int, float> image, Func<int, float> label, Affine? affine = null, params int[] extents)
    {
        Make($"{name}.nii", image, affine, extents);
        Make($"{name}-label.nii", label, affine, extents);
    }

    [Fact]
    public void Sizes_spacings_values_and_classes_are_told()
    {
        Case("a", i => i, i => i < 6 ? 1 : 0);
        Case("b", i => -i, i => 0);
        Case("c", i => 2 * i, i => i < 3 ? 1 : 0, Affine.Of(1, 3, 2), 5, 4, 3);
        var files = Cases("a", "b", "c");
        var print = Fingerprint.Of(files, Unreadable.Stop, out var readable, cancellation: Now);
        Assert.Equal([0, 1, 2], readable);
        Assert.Equal([new Spread(2, 2, 3), new(3, 3, 4), new(4, 4, 5)], print.Extents);
        Assert.Equal([new Spread(2, 2, 2), new(1, 1, 3), new(1, 1, 1)], print.Spacing);
        Assert.Equal((-22, 116), (print.Channels[0].Low, print.Channels[0].High));
        Assert.Equal((0, 5), (print.Channels[0].ForegroundLow, print.Channels[0].ForegroundHigh));
        Assert.Equal((2, 0.1, 0), (print.Classes[1].Cases, Math.Round(print.Classes[1].Share, 6), print.Classes[2].Cases));
        Assert.Equal(["class 2: no case has a voxel of this class, and it has no score"], files.Notes.Lines());
        Assert.Equal("3 cases of 2..2..3 x 3..3..4 x 4..4..5 voxels, 2 x 1..1..3 x 1 mm (depth, height, width)", print.Lines()[0]);
        Assert.Equal("class 1: in 2 of 3 cases, 10 % of their voxels", print.Lines()[2]);
        // The spacings differ, so the median is used. For CT the values inside classes count.
        Assert.Equal([2.0, 1, 1], print.Preparation().Spacing!);
        Assert.False(print.Preparation().KeepsNearSpacing);
        Assert.Null(print.Preparation().Window);
        Case("b", i => -1000 + i, i => i < 3 ? 2 : 0);
        Assert.Equal([-1000.0, 5], Fingerprint.Of(Cases("a", "b", "c"), Unreadable.Stop, out _, cancellation: Now).Preparation().Window!);
    }

    [Fact]
    public void The_same_image_under_two_names_is_told()
    {
        Case("a", i => i, i => 1);
        Case("c", i => i + 1, i => 2);
        File.CreateSymbolicLink(Path.Combine(folder, "b.nii"), "a.nii");
        Make("b-label.nii", i => 2);
        var files = Cases("a", "b", "c");
        Fingerprint.Of(files, Unreadable.Stop, out _, cancellation: Now);
        Assert.Equal(["a = b: the same image, so that a network may be tested on what it was trained on"], files.Notes.Lines());
    }

    [Fact]
    public void A_case_that_cannot_be_read_stops_the_run_or_is_left_out_and_named()
    {
        Case("a", i => i, i => i % 3);
        Case("b", i => i, i => i % 4);
        var files = Cases("a", "b");
        Assert.Contains("Case b of some cannot be read: ",
            Assert.Throws<InvalidDataException>(() => Fingerprint.Of(files, Unreadable.Stop, out _, cancellation: Now)).Message,
                StringComparison.Ordinal);
        Assert.Equal(1, Fingerprint.Of(files, Unreadable.Skip, out var readable, cancellation: Now).Cases);
        Assert.Equal([0], readable);
        Assert.StartsWith("b: cannot be read, left out: ", files.Notes.Lines().Single(), StringComparison.Ordinal);
        Assert.Contains("None of the 1 cases",
            Assert.Throws<InvalidDataException>(() => Fingerprint.Of(Cases("b"), Unreadable.Skip, out _, cancellation: Now)).Message,
                StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_cut_takes_away_is_measured()
    {
        var cut = new CutOff(["background", "tumour"]);
        Example Volume(string name, Func<int, int> label) =>
            new(name, new float[64], [.. Enumerable.Range(0, 64).Select(i => (ushort)label(i))], [4, 4, 4]);
        cut.Fit(Volume("a", i => i < 16 ? 1 : 0), [2, 4, 4]);     // only the first slice
        cut.Fit(Volume("b", i => i < 32 ? 1 : 0), [2, 4, 4]);     // the first two of four slices; one remains
        cut.Fit(Volume("c", i => i is >= 16 and < 32 ? 1 : 0), [2, 4, 4]);
        Assert.Equal(["the cut takes voxels of class tumour away in 2 of 3 cases, up to 100 % (a)"], cut.Lines());
        Assert.Empty(new CutOff(null).Lines());
        // A class that keeps its voxels has no line, and the next one has its own.
        var two = new CutOff(["background", "organ", "tumour"]);
        two.Fit(Volume("a", i => i < 16 ? 2 : i is >= 16 and < 32 ? 1 : 0), [2, 4, 4]);
        Assert.Equal(["the cut takes voxels of class tumour away in 1 of 1 cases, up to 100 % (a)"], two.Lines());
    }

    void Table(string text) => File.WriteAllText(Path.Combine(folder, "table.csv"), text);

    [Fact]
    public void A_table_names_images_and_labels()
    {
        Case("sub/a, first", i => i, i => i % 3);
        Case("sub/b", i => i + 1, i => i % 2);
        Table("case,image,label\nfirst,\"sub/a, first.nii\",\"sub/a, first-label.nii\"\n,sub/b.nii,sub/b-label.nii\n\n");
        var files = VolumeLayout.Open(Path.Combine(folder, "table.csv"));
        Assert.Equal(("table", 2, 1, 3, "first", "b"), (files.Name, files.Count, files.Channels, files.Classes, files.Case(0),
            files.Case(1)));
        Assert.Equal([0, 1, 2], files.Read(0).Labels[..3]);
        Table("label,image2,image1\nsub/b-label.nii,sub/a, sub/b.nii\n");
        Table("label,image2,image1\nsub/b-label.nii,\"sub/a, first.nii\",sub/b.nii\n");
        var two = VolumeLayout.Open(Path.Combine(folder, "table.csv"));
        Assert.Equal((2, 1f, 0f), (two.Channels, two.Read(0).Channel(0)[0], two.Read(0).Channel(1)[0]));
        Assert.Equal(0, VolumeLayout.Open(Path.Combine(folder, "table.csv"), channels: ["image2"]).Read(0).Image[0]);
    }

    [Theory]
    [InlineData("", "has columns of no name: wanted image and label")]
    [InlineData("image,mask\na,b\n", "has columns image, mask: wanted image and label")]
    [InlineData("image,label\n", "has no cases")]
    [InlineData("image,label\na.nii\n", "has 1 cells in line 2: wanted 2")]
    [InlineData("image,label\na.nii,\n", "has an empty cell in line 2")]
    [InlineData("image,label\na.nii,\"b\n", "a quote that does not end in line 2")]
    [InlineData("image,label\na.nii,b.nii\n", "No file")]
    public void What_is_no_table_is_refused(string text, string says)
    {
        Table(text);
        Assert.Contains(says, Assert.Throws<InvalidDataException>(() => VolumeLayout.Open(Path.Combine(folder, "table.csv"))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Layouts_are_recognised_and_others_told()
    {
        Make("task/imagesTr/a.nii", i => i, null, 4, 3, 2, 2);
        Make("task/labelsTr/a.nii", i => i % 3);
        var task = VolumeLayout.Open(Path.Combine(folder, "task"), ["4"], ["1"]);
        Assert.Equal((1, 4, 24), (task.Channels, task.Classes, task.Read(0).Image[0]));
        Assert.Contains("No channel '2'",
            Assert.Throws<ArgumentException>(() => VolumeLayout.Open(Path.Combine(folder, "task"), channels: ["2"])).Message,
                StringComparison.Ordinal);
        Assert.Contains("--classes spleen: wanted a number",
            Assert.Throws<ArgumentException>(() => VolumeLayout.Open(Path.Combine(folder, "task"), ["spleen"])).Message,
                StringComparison.Ordinal);
        Make("total/s1/ct.nii.gz", i => i);
        Make("total/s1/segmentations/liver.nii.gz", i => i % 2);
        Assert.Contains("such as --classes spleen,liver. Found liver",
            Assert.Throws<ArgumentException>(() => VolumeLayout.Open(Path.Combine(folder, "total"))).Message, StringComparison.Ordinal);
        Assert.Equal(["background", "liver"], VolumeLayout.Open(Path.Combine(folder, "total"), ["liver"]).ClassNames!);
        Make("brats/p/p_flair.nii.gz", i => i);
        Make("brats/p/p_t1.nii.gz", i => i);
        Make("brats/p/p_seg.nii.gz", i => i % 2);
        Assert.Equal((1, 4), (VolumeLayout.Open(Path.Combine(folder, "brats"), channels: ["flair"]).Channels,
            VolumeLayout.Open(Path.Combine(folder, "brats")).Classes));
        Make("loose/a.nii", i => i);
        Make("deep/x/a.nii", i => i);
        Directory.CreateDirectory(Path.Combine(folder, "deep", "none"));
        foreach (var (path, says) in new[] { ("nowhere", "No folder"), ("loose", "Nothing is known of"),
            ("deep", "found folders and volumes"), ("deep/none", "found nothing") })
            Assert.Contains(says, Assert.Throws<InvalidDataException>(() => VolumeLayout.Open(Path.Combine(folder, path))).Message,
                StringComparison.Ordinal);
    }
}
