using Actipress.Data;

namespace Actipress.Tests.Data;

public sealed class VolumeFilesTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    // Makes a volume of ascending numbers, or of labels.
    string Make(string path, Func<int, float> value, params int[] extents)
    {
        path = Path.Combine(folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        if (extents.Length == 0) extents = [4, 3, 2];
        Nifti.Write(
            path,
            new([.. Enumerable.Range(0, extents.Aggregate((a, b) => a * b)).Select(value)], extents, [1, 1, 2, 1], Affine.Of(1, 1, 2)));
        return path;
    }

    [Fact]
    public void The_hippocampus_is_read()
    {
        var data = Decathlon.Open(TestData.Real("msd_hippocampus"), classes: 3);
        Assert.Equal((260, 1, 3, true), (data.Count, data.Channels, data.Classes, data.IsSegmentation));
        Assert.Equal("hippocampus_001", data.Case(0));
        var kept = data.InMemory(TestContext.Current.CancellationToken);
        var examples = Enumerable.Range(0, kept.Count).Select(kept.Read).ToArray();
        Assert.All(examples, example => Assert.Equal(2, example.Labels.Max()));
        Assert.Equal([35, 51, 35], examples[0].Extents);
        var loaded = Decathlon.Load("hippocampus", TestData.Real("msd_hippocampus"), 1, (35, 51, 35), 3);
        Assert.Equal(loaded.Labels[0].Select(label => (ushort)label), examples[0].Labels);
        Assert.Equal("hippocampus_001", loaded.Case(0));
        var padded = Decathlon.Load("hippocampus", TestData.Real("msd_hippocampus"), 2, (48, 60, 30), 3);
        Assert.Equal((2, 1), (padded.Count, loaded.Count));
        Assert.Equal(0, padded.Images[1][0]);
        Assert.Equal(padded.Images[1], kept.Read(1).ZScore().Fit([48, 60, 30], outside: 0).Image);
    }

    [Fact]
    public void A_task_is_read_as_its_description_says()
    {
        foreach (var name in (string[])["b", "a"])
        {
            Make($"imagesTr/{name}.nii.gz", i => i, 4, 3, 2, 2);
            Make($"labelsTr/{name}.nii.gz", i => i % 2);
        }
        File.WriteAllText(Path.Combine(folder, "dataset.json"), """
            { "name": "Spleen", "modality": { "0": "CT", "1": "also CT" }, "labels": { "0": "background", "1": "spleen" },
              "training": [ { "image": "./imagesTr/b.nii.gz", "label": "./labelsTr/b.nii.gz" },
                            { "image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz" } ], "test": [] }
            """);
        var data = Decathlon.Open(folder);
        Assert.Equal(("spleen", 2, 2, 2, "a"), (data.Name, data.Count, data.Channels, data.Classes, data.Case(0)));
        var example = data.Read(1);
        Assert.Equal([2, 3, 4], example.Extents);
        Assert.Equal((2.0, 1.0, 1.0), example.Affine!.Spacing);
        Assert.Equal(Enumerable.Range(24, 24).Select(i => (float)i), example.Channel(1).ToArray());
        Assert.Equal(7, Decathlon.Open(folder, classes: 7).Classes);
        Assert.Contains(
            "2 modalities: wanted one",
            Assert.Throws<InvalidDataException>(() => Decathlon.Load("spleen", folder, 1, (2, 3, 4), 2)).Message, StringComparison.Ordinal);
        foreach (var wrong in (string[])[
            """{ "name": "Spleen" }""",
            """{ "name": "Spleen", "modality": {}, "labels": {}, "training": [ { "image": "a\u0000b", "label": "c" } ] }""",
        ])
        {
            File.WriteAllText(Path.Combine(folder, "dataset.json"), wrong);
            Assert.Contains(
                "no description of a task", Assert.Throws<InvalidDataException>(() => Decathlon.Open(folder)).Message,
                StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Two_patients_of_2015_are_read_with_the_modalities_they_have()
    {
        var data = Brats.Open(TestData.Real("brats2015"));
        Assert.Equal((2, 2, 5), (data.Count, data.Channels, data.Classes));
        Assert.Equal(["T1c_subtrMeanDivStd.nii.gz", "Flair_subtrMeanDivStd.nii.gz"], data.Files(0).Images.Select(Path.GetFileName));
        var example = data.Read(1);
        Assert.Equal([155, 240, 240], example.Extents);
        Assert.Equal(4, example.Labels.Max());
        var message = Assert.Throws<InvalidDataException>(() => Brats.Open(TestData.Real("brats2015"), ["t1", "flair"])).Message;
        Assert.Contains("brats_2013_pat0005_1 has no t1: found flair, labels, t1c", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("HGG/BraTS19_A_1/BraTS19_A_1_", 4, "t1", "t1ce", "t2", "flair", "seg")]
    [InlineData("BraTS-GLI-00000-000/BraTS-GLI-00000-000-", 3, "t1n", "t1c", "t2w", "t2f", "seg")]
    public void Later_years_have_four_modalities_and_four_classes(string prefix, int enhancing, params string[] kinds)
    {
        for (var kind = 0; kind < 4; kind++) Make($"{prefix}{kinds[kind]}.nii.gz", i => 100 * kind + i);
        Make($"{prefix}{kinds[4]}.nii.gz", i => i % 4 == 3 ? enhancing : i % 4);
        var data = Brats.Open(folder);
        Assert.Equal((1, 4, 4), (data.Count, data.Channels, data.Classes));
        var example = data.Read(0);
        Assert.Equal([0, 100, 200, 300], Enumerable.Range(0, 4).Select(channel => example.Channel(channel)[0]));
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 4)), example.Labels);
        Assert.Equal(
            [200, 0], [Brats.Open(folder, ["t2", "t1"]).Read(0).Channel(0)[0], Brats.Open(folder, ["t2", "t1"]).Read(0).Channel(1)[0]]);
    }

    [Fact]
    public void Masks_become_classes()
    {
        var real = TestData.Real("ct_mr_totalsegmentator");
        Directory.CreateDirectory(Path.Combine(folder, "s0001", "segmentations"));
        File.Copy(Path.Combine(real, "aorta__ct_cropped.nii.gz"), Path.Combine(folder, "s0001", "ct.nii.gz"));
        foreach (var organ in (string[])["aorta", "vertebrae_T12"])
            File.Copy(Path.Combine(real, $"aorta__{organ}.nii.gz"), Path.Combine(folder, "s0001", "segmentations", $"{organ}.nii.gz"));
        var data = TotalSegmentator.Open(folder, ["aorta", "vertebrae_T12"]);
        Assert.Equal(3, data.Classes);
        var example = data.Read(0);
        var aorta = Nifti.Read(Path.Combine(real, "aorta__aorta.nii.gz"));    // in LPS, width and height run backwards
        Assert.Equal(aorta.Values.Chunk(aorta.Extents[0] * aorta.Extents[1]).SelectMany(slice => slice.Reverse())
            .Select(value => value == 1), example.Labels.Select(label => label == 1));
        Assert.Contains((ushort)2, example.Labels);
        Assert.Contains(
            "no mask of 'spleen': found aorta, vertebrae_T12",
            Assert.Throws<InvalidDataException>(() => TotalSegmentator.Open(folder, ["spleen"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Volumes_without_labels_are_background()
    {
        var data = VolumeFiles.Unlabelled(TestData.Real("niivue"));
        Assert.Equal(["CT_AVM", "CT_pitch", "MR_Gd"], Enumerable.Range(0, data.Count).Select(data.Case));
        Assert.All(data.Read(1).Labels, label => Assert.Equal(0, label));
    }

    [Theory]
    [InlineData("other size", "is 4 x 3 x 3 at [1 0 0 0; 0 1 0 0; 0 0 2 0], but its image")]
    [InlineData("large label", "holds label 3 at voxel (1, 2, 1): wanted whole numbers from 0 to 2")]
    [InlineData("half label", "holds label 0.5 at voxel (0, 0, 0)")]
    [InlineData("no labels", "No file")]
    [InlineData("channels", "has 2 channels: bad has 1")]
    public void What_does_not_fit_is_refused(string kind, string says)
    {
        var image = Make("image.nii.gz", i => i, kind == "channels" ? [4, 3, 2, 2] : [4, 3, 2]);
        var labels = kind switch
        {
            "other size" => Make("labels.nii.gz", i => 0, 4, 3, 3),
            "large label" => Make("labels.nii.gz", i => i == 21 ? 3 : 0),
            "half label" => Make("labels.nii.gz", i => 0.5f),
            _ => Path.Combine(folder, "none.nii.gz"),
        };
        var data = new VolumeFiles("bad", [new("one", [image], [labels])], channels: 1, classes: 3);
        Assert.Contains(says, Assert.Throws<InvalidDataException>(() => data.Read(0)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Empty_folders_and_lone_images_are_refused()
    {
        Assert.Contains("No patients", Assert.Throws<InvalidDataException>(() => Brats.Open(folder)).Message, StringComparison.Ordinal);
        Assert.Contains(
            "No volumes", Assert.Throws<InvalidDataException>(() => Decathlon.Open(folder, 3)).Message, StringComparison.Ordinal);
        Assert.Contains(
            "No subjects", Assert.Throws<InvalidDataException>(() => TotalSegmentator.Open(folder, ["spleen"])).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "No volumes", Assert.Throws<InvalidDataException>(() => VolumeFiles.Unlabelled(folder)).Message, StringComparison.Ordinal);
        Make("imagesTr/a.nii.gz", i => i);
        Assert.Contains(
            "a.nii.gz has no labels", Assert.Throws<InvalidDataException>(() => Decathlon.Open(folder, 3)).Message,
            StringComparison.Ordinal);
    }
}
