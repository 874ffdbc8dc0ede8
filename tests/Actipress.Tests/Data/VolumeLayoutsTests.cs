using Actipress.Data;

namespace Actipress.Tests.Data;

/// <summary>The layouts of folders that users really have.</summary>
public sealed class VolumeLayoutsTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static readonly Affine own = Affine.Of(1, 1, 2);

    string Make(string path, Func<int, float> value, Affine? affine = null, params int[] extents)
    {
        path = Path.Combine(folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        if (extents.Length == 0) extents = [4, 3, 2];
        Nifti.Write(path, new([.. Enumerable.Range(0, extents.Aggregate((a, b) => a * b)).Select(value)], extents, [1, 1, 2, 1], affine
            ?? own));
        return path;
    }

    static string Refusal(Func<object?> read) => Assert.Throws<InvalidDataException>(read).Message;

    VolumeFiles One(string image, string label, int classes = 3) => new("one", [new("a", [image], [label])], channels: 1, classes);

    [Fact]
    public void A_label_that_is_stored_the_other_way_round_lies_on_its_image()
    {
        var image = Make("image.nii", i => i);
        var files = One(image, Make("label.nii", i => (3 - i % 4) % 3, new([-1, 0, 0, 3, 0, 1, 0, 0, 0, 0, 2, 0])));
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 4 % 3)), files.Read(0).Labels);
        Assert.Empty(files.Notes.Lines());
    }

    [Fact]
    public void Axes_run_to_the_right_the_front_and_the_top()
    {
        var lps = new Affine([-1, 0, 0, 3, 0, -1, 0, 2, 0, 0, 2, 0]);
        var files = One(Make("image.nii", i => i, lps), Make("label.nii", i => i % 3, lps));
        var example = files.Read(0);
        Assert.Equal(Enumerable.Range(0, 24).Select(i => i / 12 * 12 + 11f - i % 12), example.Image);
        Assert.Equal(example.Image.Select(value => (ushort)(value % 3)), example.Labels);
        Assert.Equal(own.Rows, example.Affine!.Rows);
        Assert.Equal(["a: its axes run LPS, and are turned to RAS"], files.Notes.Lines());
    }

    [Fact]
    public void What_lies_elsewhere_is_refused_with_both_affines_or_resampled_where_asked()
    {
        var image = Make("image.nii", i => i);
        var files = One(image, Make("label.nii", i => i % 4 == 3 ? 2 : 0, new([1, 0, 0, -1, 0, 1, 0, 0, 0, 0, 2, 0])));
        var refusal = Refusal(() => files.Read(0));
        foreach (var part in (string[])["[1 0 0 -1; 0 1 0 0; 0 0 2 0]", "[1 0 0 0; 0 1 0 0; 0 0 2 0]", "up to 1 voxels apart",
            "--misplaced resample"]) Assert.Contains(part, refusal, StringComparison.Ordinal);
        var resampled = files with { Misplaced = Misplaced.Resample };
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 4 == 2 ? 2 : 0)), resampled.Read(0).Labels);
        Assert.Equal(["a: labels lie elsewhere than the image, and are resampled onto its grid"], files.Notes.Lines());

        var channels = new VolumeFiles("two",
            [new("a", [image, Make("other.nii", i => i, new([1, 0, 0, 0.5, 0, 1, 0, 0, 0, 0, 2, 0]))], [])], channels: 2, classes: 1);
        Assert.Contains("0.5 voxels apart", Refusal(() => channels.Read(0)), StringComparison.Ordinal);
        var moved = (channels with { Misplaced = Misplaced.Resample }).Read(0).Channel(1).ToArray();
        Assert.Equal([0.5f, 1.5f, 2.5f], moved[1..4]);    // halfway between neighbours
    }

    [Theory]
    [InlineData(1e-7, true)]
    [InlineData(0.9e-3, true)]
    [InlineData(2e-3, false)]
    public void Labels_are_whole_numbers_within_a_thousandth(float off, bool isRead)
    {
        var files = One(Make("image.nii", i => i), Make("label.nii", i => i % 3 == 2 ? 2 - off : i % 3));
        if (isRead) Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 3)), files.Read(0).Labels);
        else Assert.Contains("wanted whole numbers from 0 to 2", Refusal(() => files.Read(0)), StringComparison.Ordinal);
        Assert.Equal((isRead ? 2 : null, null), (Relabelling.None.ClassOf((float)(2 - off)), Relabelling.None.ClassOf(-1)));
    }

    [Fact]
    public void A_mask_of_0_and_255_is_a_mask_and_no_other_255_is()
    {
        var image = Make("image.nii", i => i);
        var files = One(image, Make("mask.nii", i => i % 2 * 255));
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 2)), files.Read(0).Labels);
        Assert.Equal(["a: labels of 0 and 255 are taken for 0 and 1"], files.Notes.Lines());
        Assert.Contains("holds label 255", Refusal(() => One(image, Make("three.nii", i => i == 3 ? 1 : i % 2 * 255)).Read(0)),
            StringComparison.Ordinal);
        Assert.Equal(255, One(image, Make("mask.nii", i => i % 2 * 255), classes: 256).Read(0).Labels.Max());
        var relabelled = One(image, Make("three.nii", i => i == 3 ? 1 : i % 2 * 255)) with { Relabelling = Relabelling.Parse("255=2,1=0") };
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i == 3 ? 0 : i % 2 * 2)), relabelled.Read(0).Labels);
        foreach (var wrong in (string[])["", "4", "4=", "4=3,4=2", "a=1", "4=-1", "4=70000"]) Assert.Throws<FormatException>(() =>
            Relabelling.Parse(wrong));
        Assert.Equal("1=0,255=2", $"{Relabelling.Parse("255=2,1=0")}");
        Assert.Equal([0, 1, 255], Enumerable.Range(0, 3).Select(Relabelling.Parse("255=2").ValueOf));
    }

    [Fact]
    public void A_training_on_masks_of_0_and_255_writes_such_masks()
    {
        foreach (var name in (string[])["a", "b"])
        {
            Make($"imagesTr/{name}.nii", i => i);
            Make($"labelsTr/{name}.nii", i => i % 2 * 255);
        }
        var files = Decathlon.Open(folder);
        Assert.Equal((2, 0, 255), (files.Classes, files.Relabelling.ValueOf(0), files.Relabelling.ValueOf(1)));
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 2)), files.Read(1).Labels);
        Assert.Contains("labels 0, 255 become classes 0 to 1, and are written as they were", files.Notes.Lines().Single(),
            StringComparison.Ordinal);
        Make("labelsTr/b.nii", i => i % 2);    // as the masks of another program may be
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 2)), files.Read(1).Labels);
    }

    [Theory]
    [InlineData(0, 0, false)]
    [InlineData(1, 0, true)]
    [InlineData(0, 1, true)]
    public void A_file_without_an_orientation_counts_as_RAS_and_is_told(byte q, byte s, bool isOriented)
    {
        var image = Make("image.nii", i => i);
        var bytes = File.ReadAllBytes(image);
        (bytes[252], bytes[254]) = (q, s);    // the codes of NIfTI's q-form and s-form
        File.WriteAllBytes(image, bytes);
        var files = One(image, Make("label.nii", i => i % 3));
        Assert.Equal(isOriented, Nifti.Read(image).HasOrientation);
        Assert.Equal(0, files.Read(0).Image[0]);
        Assert.Equal(isOriented ? [] : ["a: its file says nothing of its orientation (s-form and q-form are 0): its axes count as RAS"],
            files.Notes.Lines());
    }

    [Fact]
    public void A_background_of_NaN_is_the_channels_smallest_value_and_told()
    {
        var files = One(Make("image.nii", i => i < 5 ? float.NaN : i), Make("label.nii", i => 0));
        Assert.Equal([5, 5, 5, 5, 5, 5, 6], files.Read(0).Image[..7]);
        Assert.Equal(["a: voxels of NaN are taken for the channel's smallest value"], files.Notes.Lines());
        Assert.Contains("nothing but NaN", Refusal(() => One(Make("empty.nii", i => float.NaN), Make("label.nii", i => 0)).Read(0)),
            StringComparison.Ordinal);
        Assert.Contains("holds label NaN", Refusal(() => One(Make("image.nii", i => i), Make("nan.nii", i => float.NaN)).Read(0)),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Files_count_in_any_case_and_what_is_left_out_is_named()
    {
        foreach (var name in (string[])["a.nii.gz", "b.NII.GZ", "c.Nii"])
        {
            Make($"imagesTr/{name}", i => i);
            Make($"labelsTr/{name}", i => i % 3);
        }
        Make("labelsTr/lone.nii", i => 0);
        File.WriteAllText(Path.Combine(folder, "imagesTr", "notes.txt"), "");
        File.WriteAllText(Path.Combine(folder, "imagesTr", "._a.nii.gz"), "");
        var files = Decathlon.Open(folder);
        Assert.Equal((3, 1, 3), (files.Count, files.Channels, files.Classes));
        Assert.All(Enumerable.Range(0, 3), index => Assert.Equal(2, files.Read(index).Labels.Max()));
        Assert.Equal(
            [$"{Path.Combine(folder, "labelsTr", "lone.nii")}: a label without its image, left out",
                $"{Path.Combine(folder, "imagesTr", "notes.txt")}: no volume, left out"],
            files.Notes.Lines());
    }

    [Fact]
    public void Two_files_of_one_name_and_links_to_nothing_are_refused()
    {
        Make("imagesTr/a.nii.gz", i => i);
        Make("labelsTr/a.nii.gz", i => i % 3);
        var link = Path.Combine(folder, "imagesTr", "b.nii.gz");
        File.CreateSymbolicLink(link, "nowhere.nii.gz");
        Assert.Contains($"{link} is a link to nowhere.nii.gz", Refusal(() => Decathlon.Open(folder)), StringComparison.Ordinal);
        File.Delete(link);
        Make("imagesTr/a.nii", i => i);
        var message = Refusal(() => Decathlon.Open(folder));
        Assert.Contains("a.nii.gz has the name of", message, StringComparison.Ordinal);
        Assert.Contains("a.nii:", message, StringComparison.Ordinal);
    }

    void Describe(string json) => File.WriteAllText(Path.Combine(folder, "dataset.json"), json);

    [Theory]
    [InlineData("""
        { "channel_names": { "1": "T2", "0": "T1" }, "labels": { "background": 0, "right": 2, "left": 1 },
          "numTraining": 2, "file_ending": ".nii.gz" }
        """)]
    [InlineData("""
        { "name": "Two", "modality": { "0": "T1", "1": "T2" }, "labels": { "0": "background", "1": "left", "2": "right" },
          "training": [ { "image": "./imagesTr/b.nii.gz", "label": "./labelsTr/b.nii.gz" },
                        { "image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz" } ] }
        """)]
    public void Both_versions_of_nnU_Net_are_read(string json)
    {
        foreach (var name in (string[])["a", "b"])
        {
            for (var channel = 0; channel < 2; channel++) Make($"imagesTr/{name}_{channel:0000}.nii.gz", i => 100 * channel + i);
            Make($"labelsTr/{name}.nii.gz", i => i % 3);
        }
        Describe(json);
        var files = Decathlon.Open(folder);
        Assert.Equal((2, 2, 3), (files.Count, files.Channels, files.Classes));
        Assert.Equal(["background", "left", "right"], files.ClassNames!);
        Assert.Equal(["T1", "T2"], files.ChannelNames!);
        Assert.Equal((0, 100, "b"), (files.Read(1).Channel(0)[0], files.Read(1).Channel(1)[0], files.Case(1)));
        Assert.Empty(files.Notes.Lines());
        File.Delete(Path.Combine(folder, "imagesTr", "b_0001.nii.gz"));
        Assert.Contains("b_0001.nii.gz", json.Contains("training", StringComparison.Ordinal) ? Refusal(() => files.Read(1))
            : Refusal(() => Decathlon.Open(folder)).Replace("_0000, _0001", "b_0001.nii.gz", StringComparison.Ordinal),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("dataset.json", """
        {"name": "x", "modality": {"0": "MRI"}, "labels": {"0": "ground", "1": "a"},
         "training": [{"image": "a.nii", "label": "a\u0000.nii"}]}
        """)]
    [InlineData("table.csv", "image,label\na.nii,a\0.nii\n")]
    public void A_list_that_names_a_file_with_a_null_character_is_refused(string list, string text)
    {
        File.WriteAllText(Path.Combine(folder, list), text);
        var refused = Assert.Throws<InvalidDataException>(() => list == "dataset.json"
            ? Decathlon.Open(folder, null, null) : VolumeTable.Open(Path.Combine(folder, list), null, null));
        Assert.Contains($"{list} names a file 'a\\0.nii'", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(new[] { "scan_0001", "scan_0002" }, "scan_0001 of 1, scan_0002 of 1")]    // no channel 0, so these are numbers of cases
    [InlineData(new[] { "scan_0000", "scan_0001" }, "scan of 2")]
    [InlineData(new[] { "a_0000", "b" }, "a of 1, b of 1")]
    public void Channels_are_numbered_from_0(string[] names, string cases)
    {
        foreach (var name in names) Make($"{name}.nii.gz", i => i);
        Assert.Equal(cases, string.Join(", ", ScanFolder.Open(folder, null, cases.Contains("of 2", StringComparison.Ordinal) ? 2 : 1, null)
            .Select(one => $"{one.Name} of {one.Images.Count}")));
    }

    [Fact]
    public void One_scan_finds_its_mask_beside_its_folder_and_masks_of_other_names_are_told()
    {
        foreach (var file in (string[])["imagesTs/a.nii.gz", "labelsTs/a.nii.gz", "imagesTs/b_0000.nii.gz", "labelsTs/b.nii.gz"])
            Make(file, i => i % 2);
        string At(string file) => Path.Combine(folder, file);
        foreach (var (scan, mask) in new[] { ("imagesTs/a.nii.gz", "labelsTs/a.nii.gz"), ("imagesTs/b_0000.nii.gz", "labelsTs/b.nii.gz") })
            Assert.Equal([At(mask)], ScanFolder.Open(At(scan), null, 1, null).Single().Labels);
        Make("other/c.nii.gz", i => i % 2);
        var refused = Refusal(() => ScanFolder.Open(At("imagesTs"), At("other"), 1, null));
        Assert.Contains($"No scan has a mask in {At("other")}: found c.nii.gz; wanted the scans' names, such as a.nii.gz", refused,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_patients_own_folder_is_one_scan_of_one_modality()
    {
        foreach (var kind in (string[])["t1", "t1ce", "t2", "flair", "seg"]) Make($"p_{kind}.nii.gz", i => i % 2);
        var one = ScanFolder.Open(folder, null, 1, ["flair"]).Single();
        Assert.Equal(("p_flair.nii.gz", "p_seg.nii.gz"), (Path.GetFileName(one.Images.Single()), Path.GetFileName(one.Labels.Single())));
        Assert.Equal(5, ScanFolder.Open(folder, null, 1, null).Count);    // of a network that knows no modalities
    }

    [Fact]
    public void Only_image_and_numbered_images_are_channels_of_a_table()
    {
        foreach (var file in (string[])["x.nii.gz", "y.nii.gz"]) Make(file, i => i % 2);
        var table = Path.Combine(folder, "t.csv");
        File.WriteAllText(table, "image_id,image,image_type,label\n17,x.nii.gz,MR,y.nii.gz\n");
        Assert.Equal(1, VolumeTable.Open(table, null, null).Channels);
        File.WriteAllText(table, "image1,image2,label\nx.nii.gz,y.nii.gz,y.nii.gz\n");
        Assert.Equal(2, VolumeTable.Open(table, null, null).Channels);
    }

    [Theory]
    [InlineData("2=0", 0, 0), InlineData("4=3", 3, 4), InlineData("4=3,9=3", 3, 4), InlineData("2=0,7=2", 2, 7)]
    public void Masks_have_the_numbers_of_label_files_and_a_background_of_0(string relabelling, int label, int number) =>
        Assert.Equal(number, Relabelling.Parse(relabelling).ValueOf(label));

    [Fact]
    public void Regions_are_trained_as_the_labels_that_they_are_made_of()
    {
        Make("imagesTr/a_0000.nii.gz", i => i);
        Make("labelsTr/a.nii.gz", i => i % 3 == 2 ? 4 : i % 3);
        Describe(
            """{ "channel_names": { "0": "T1" }, "labels": { "background": 0, "whole": [1, 4], "core": 4 }, "file_ending": ".nii.gz" }""");
        var files = Decathlon.Open(folder);
        Assert.Equal(["background", "whole", "core"], files.ClassNames!);
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 3)), files.Read(0).Labels);
        Assert.Equal(4, files.Relabelling.ValueOf(2));
        Describe("""{ "channel_names": { "0": "T1" }, "labels": { "background": 0, "second": 2 }, "file_ending": ".nii.gz" }""");
        Assert.Equal((1, null), (Decathlon.Open(folder).Relabelling.ClassOf(2), Decathlon.Open(folder).Relabelling.ClassOf(1)));
        Describe(
            """{ "channel_names": { "0": "T1" }, "labels": { "background": 0, "whole": [1, 4], "core": 4 }, "file_ending": ".nii.gz" }""");
        // A number that the description does not list is no class, although a class has this number.
        Make("labelsTr/a.nii.gz", i => i % 3);
        Assert.Contains("holds label 2 at voxel (2, 0, 0): wanted 0, 1, 4", Refusal(() => files.Read(0)), StringComparison.Ordinal);
        Describe("""{ "channel_names": { "0": "T1" }, "labels": { "background": 0, "left": 1, "ignore": 2 }, "file_ending": ".nii.gz" }""");
        Assert.Contains("--relabel 2=0", Refusal(() => Decathlon.Open(folder)), StringComparison.Ordinal);
        Describe("""{ "channel_names": { "0": "T1" }, "labels": { "background": 0, "left": 1 }, "file_ending": ".png" }""");
        Assert.Contains("end in .png: wanted .nii.gz or .nii", Refusal(() => Decathlon.Open(folder)), StringComparison.Ordinal);
    }

    [Fact]
    public void Numbers_that_no_file_has_get_no_class()
    {
        Make("imagesTr/a.nii", i => i);
        Make("labelsTr/a.nii", i => i % 3 * 100);
        var files = Decathlon.Open(folder);
        Assert.Equal((3, "0,100,200"), (files.Classes, string.Join(',', files.ClassNames!)));
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 3)), files.Read(0).Labels);
        Assert.Equal([0, 100, 200], Enumerable.Range(0, 3).Select(files.Relabelling.ValueOf));
        Assert.Contains("labels 0, 100, 200 become classes 0 to 2, and are written as they were", files.Notes.Lines().Single(),
            StringComparison.Ordinal);
        // The user's choice comes first. Without it, each number up to the largest is a class.
        Assert.Equal(201, Decathlon.Open(folder, relabelling: Relabelling.Parse("100=1")).Classes);
        Make("labelsTr/a.nii", i => 0);
        Assert.Equal(2, Decathlon.Open(folder).Classes);
    }

    [Fact]
    public void Names_that_end_in_four_digits_are_no_channels_where_labels_have_them()
    {
        foreach (var name in (string[])["case_0001", "case_0002"])
        {
            Make($"imagesTr/{name}.nii.gz", i => i);
            Make($"labelsTr/{name}.nii.gz", i => i % 2);
        }
        var files = Decathlon.Open(folder);
        Assert.Equal((2, 1, 2, "case_0002"), (files.Count, files.Channels, files.Classes, files.Case(1)));
    }

    static readonly string[] since2023 = ["t1n", "t1c", "t2w", "t2f"], before2023 = ["t1", "t1ce", "t2", "flair"];

    void Patient(string prefix, string[] kinds, Func<int, float> label)
    {
        foreach (var (number, kind) in kinds.Index()) Make($"{prefix}{kind}.nii.gz", i => 100 * number + i);
        Make($"{prefix}seg.nii.gz", label);
    }

    [Fact]
    public void The_resection_cavity_of_2024_is_a_class_of_its_own()
    {
        Patient("BraTS-GLI-1-100/BraTS-GLI-1-100-", since2023, i => i % 5);
        Patient("BraTS-GLI-2-100/BraTS-GLI-2-100-", since2023, i => i % 3);
        var files = Brats.Open(folder);
        Assert.Equal((2, 4, 5), (files.Count, files.Channels, files.Classes));
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (ushort)(i % 5)), files.Read(0).Labels);
        // Without a 3, 4 is the cavity all the same.
        Patient("BraTS-GLI-1-100/BraTS-GLI-1-100-", since2023, i => i % 5 == 3 ? 0 : i % 5);
        Assert.Equal((5, 4), (Brats.Open(folder).Classes, Brats.Open(folder).Read(0).Labels.Max()));
    }

    [Fact]
    public void What_a_file_is_its_last_known_word_says()
    {
        Patient("t1-study_0/t1-study_0_", before2023, i => i % 4 == 3 ? 4 : i % 4);
        var files = Brats.Open(folder);
        Assert.Equal((4, 4), (files.Channels, files.Classes));
        Assert.Equal([0, 100, 200, 300], Enumerable.Range(0, 4).Select(channel => files.Read(0).Channel(channel)[0]));
        Assert.Equal(3, files.Read(0).Labels.Max());
        Assert.Equal(4, files.Relabelling.ValueOf(3));
        Assert.Contains("label 4, the enhancing tumour of 2017 to 2022, is class 3", files.Notes.Lines()[0], StringComparison.Ordinal);
        Make("t1-study_0/again_t1.nii.gz", i => i);
        Assert.Contains("two files of t1: again_t1.nii.gz and t1-study_0_t1.nii.gz", Refusal(() => Brats.Open(folder)),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Masks_of_0_and_255_add_no_classes_to_those_of_the_year_or_of_a_relabelling()
    {
        Patient("p/p_", before2023, i => i % 2 * 255);
        var files = Brats.Open(folder);
        Assert.Equal((4, 1), (files.Classes, files.Read(0).Labels.Max()));
        Make("imagesTr/a.nii", i => i);
        Make("labelsTr/a.nii", i => i % 2 * 255);
        Assert.Equal(2, Decathlon.Open(folder, relabelling: Relabelling.Parse("4=3")).Classes);
    }

    [Fact]
    public void Years_whose_labels_mean_different_things_are_not_mixed()
    {
        Patient("old/old_", before2023, i => i % 4 == 3 ? 4 : i % 4);
        Patient("new/new-", since2023, i => i % 4);
        Assert.Contains("Give each a folder of its own", Refusal(() => Brats.Open(folder)), StringComparison.Ordinal);
        Assert.Equal(5, Brats.Open(folder, relabelling: Relabelling.Parse("4=4")).Classes);
        // Where somebody has already renumbered the older labels, they mean the same.
        Patient("old/old_", before2023, i => i % 4);
        Assert.Equal((4, 2), (Brats.Open(folder).Classes, Brats.Open(folder).Count));
    }

    [Fact]
    public void A_folder_within_itself_is_read_once_and_other_files_are_named()
    {
        Patient("p/p_", before2023, i => i % 3);
        Make("p/brainmask.nii.gz", i => 1);
        Directory.CreateSymbolicLink(Path.Combine(folder, "p", "again"), folder);
        var files = Brats.Open(folder);
        Assert.Equal(1, files.Count);
        Assert.Equal(
            [$"{Path.Combine(folder, "p", "again")}: a link to a folder that is read already, left out",
                $"{Path.Combine(folder, "p", "brainmask.nii.gz")}: neither a modality nor labels, left out"],
            files.Notes.Lines());
    }

    [Fact]
    public void Cases_without_a_mask_stop_the_run_or_are_left_out()
    {
        foreach (var name in (string[])["a", "b", "c"]) Make($"task/imagesTr/{name}.nii", i => i);
        Make("task/labelsTr/a.nii", i => i % 3);
        Make("task/labelsTr/c.nii", i => -1);
        Patient("brats/p/p_", before2023, i => i % 3);
        Make("brats/q/q_t1.nii.gz", i => i);
        Patient("brats/r/r_", before2023, i => i % 3 - 1);
        foreach (var (subject, organ) in new[] { ("s1", "spleen"), ("s2", "liver") })
        {
            Make($"total/{subject}/ct.nii.gz", i => i);
            Make($"total/{subject}/segmentations/{organ}.nii.gz", i => i % 2);
        }
        VolumeFiles Open(string name, Unreadable unreadable) => VolumeLayout.Open(
            Path.Combine(folder, name), name == "total" ? ["spleen"] : null, name == "brats" ? ["t1"] : null, unreadable: unreadable);
        foreach (var (name, lacks, kept) in new[]
        {
            ("task", "b.nii has no labels: wanted b.nii.gz in", "a"), ("brats", "q has no labels: found t1", "p"),
            ("total", "s2 has no mask of 'spleen': found liver", "s1"),
        })
        {
            var stopped = Refusal(() => Open(name, Unreadable.Stop));
            Assert.Contains(lacks, stopped, StringComparison.Ordinal);
            Assert.Contains("(--unreadable skip does)", stopped, StringComparison.Ordinal);
            var files = Open(name, Unreadable.Skip);
            Fingerprint.Of(files, Unreadable.Skip, out var readable, cancellation: TestContext.Current.CancellationToken);
            Assert.Equal([kept], readable.Select(files.Case));
            var notes = files.Notes.Lines();
            Assert.Contains(notes, note => note.Contains("cannot be read, left out: ", StringComparison.Ordinal)
                && note.Contains(lacks, StringComparison.Ordinal));
            Assert.Equal(name == "total" ? 1 : 2, notes.Count(note => note.Contains("left out: ", StringComparison.Ordinal)));
        }
        File.Delete(Path.Combine(folder, "task", "labelsTr", "a.nii"));
        File.Delete(Path.Combine(folder, "task", "labelsTr", "c.nii"));
        Assert.Contains("None of the 3 cases can be read. The first: ", Refusal(() => Open("task", Unreadable.Skip)),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Subjects_to_predict_have_their_own_masks()
    {
        foreach (var (subject, organs) in new[] { ("s1", (string[])["spleen", "liver"]), ("s2", ["liver"]) })
        {
            Make($"{subject}/ct.nii.gz", i => i);
            foreach (var organ in organs) Make($"{subject}/segmentations/{organ}.nii.gz", i => i % 2);
        }
        string[] Organs(IReadOnlyList<string>? classes, string? labels = null) =>
            [.. ScanFolder.Open(folder, labels, 1, null, classes)
                .Select(one => string.Join("+", one.Labels.Select(file => Path.GetRelativePath(folder, file))))];
        Assert.Equal(["s1/segmentations/liver.nii.gz+s1/segmentations/spleen.nii.gz", ""], Organs(["background", "liver", "spleen"]));
        Assert.Equal(["s1/segmentations/liver.nii.gz", "s2/segmentations/liver.nii.gz"], Organs(["background", "liver"]));
        Assert.Equal(["", ""], Organs(null));
        Make("masks/s2.nii.gz", i => i % 2);    // a given folder comes first
        Assert.Equal(["", "masks/s2.nii.gz"], Organs(["background", "liver"], Path.Combine(folder, "masks")));
    }

    [Fact]
    public void Two_cases_of_one_name_are_refused()
    {
        Patient("a/p/p_", before2023, i => i % 3);
        Patient("b/p/p_", before2023, i => i % 3);
        Assert.Contains("2 cases called p", Refusal(() => Brats.Open(folder)), StringComparison.Ordinal);
    }
}
