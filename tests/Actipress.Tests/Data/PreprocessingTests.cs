using System.Globalization;
using System.Runtime.InteropServices;
using Actipress.Data;

namespace Actipress.Tests.Data;

public sealed class PreprocessingTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static Example Volume(params int[] extents)
    {
        var random = new Random(3);
        var elements = extents.Aggregate((a, b) => a * b);
        return new(
            "case", [.. Enumerable.Range(0, 2 * elements).Select(_ => random.NextSingle())],
            [.. Enumerable.Range(0, elements).Select(_ => (ushort)random.Next(3))], extents)
        {
            Affine = extents.Length == 3 ? new([-1.5, 0.25, 0, 90, 0.25, 2, 0.5, -126, 0, -0.5, 3, -72]) : null,
        };
    }

    public static TheoryData<string, string> Golden()
    {
        var lines = File.ReadAllLines(TestData.Golden("preprocessing.txt"));
        return [.. Enumerable.Range(0, (lines.Length - 1) / 4)
            .Select(i => (lines[1 + 4 * i], string.Join(' ', lines[(3 + 4 * i)..(5 + 4 * i)])))];
    }

    [Theory]
    [MemberData(nameof(Golden))]
    public void Places_are_looked_up_as_scipy_does(string head, string content)
    {
        var (parts, data) = (head.Split(" | "), content.Split(' '));
        int[] Extents(string text) => [.. text.Split(' ').Select(int.Parse)];
        T[] Numbers<T>(string hex) where T : unmanaged => MemoryMarshal.Cast<byte, T>(Convert.FromHexString(hex)).ToArray();
        var example =
            new Example("case", Numbers<float>(data[0]), Numbers<ushort>(data[1]), Extents(parts[1])) { Affine = Affine.Of(1, 1, 1) };
        var factor = parts[0] switch { "spacing doubled" => 2, "spacing halved" => 0.5, _ => 0 };
        var result = factor > 0
            ? example.ToSpacing(factor, factor, factor)
            : Warp.To(
                example, Extents(parts[2]),
                new([.. parts[3].Split(' ').Select(number => double.Parse(number, CultureInfo.InvariantCulture))]),
                extend: parts[4] == "extend");
        Assert.Equal(Extents(parts[2]), result.Extents);
        var wanted = Numbers<float>(data[2]);
        for (var i = 0; i < wanted.Length; i++) Assert.Equal(wanted[i], result.Image[i], 2e-6f);
        Assert.Equal(Numbers<ushort>(data[3]), result.Labels);
    }

    [Theory, InlineData(0, 1, 1), InlineData(1, 0, 1), InlineData(1, 1, 0)]
    public void A_volume_without_extent_is_not_resampled(double x, double y, double z) =>
        Assert.Contains("wanted more than 0 of each. Set the file's affine", Assert.Throws<InvalidDataException>(() =>
            (Volume(3, 4, 5) with { Affine = Affine.Of(x, y, z) }).ToSpacing(1, 1, 1)).Message, StringComparison.Ordinal);

    [Theory, InlineData(true), InlineData(false)]
    public void A_preparation_crops_where_it_is_asked_to(bool crops)
    {
        var image = new float[6 * 6 * 6];
        for (var i = 0; i < image.Length; i++)
            if (new[] { i / 36, i / 6 % 6, i % 6 }.All(place => place is >= 2 and <= 4)) image[i] = i;
        var scan = new Example("one", image, new ushort[image.Length], [6, 6, 6]) { Affine = Affine.Of(1, 1, 1) };
        var prepared = new Preparation { CropToForeground = crops, Window = [0, 300] }.Apply(scan);
        Assert.Equal(crops ? scan.CropToForeground().Extents : [6, 6, 6], prepared.Extents);
        Assert.NotEqual(crops, prepared.Extents is [6, 6, 6]);
    }

    // Whatever the spacings are, a scan's outermost voxels have the label of the nearest voxel of its resampled form.
    [Fact]
    public void Labels_of_a_resampled_scan_reach_its_border()
    {
        foreach (var extent in (int[])[7, 17, 34, 37])
            foreach (var spacing in (double[])[0.4, 0.9, 1.7, 2, 3.3, 4])
            {
                var scan = new Example("one", [], [.. Enumerable.Repeat((ushort)1, extent * 9 * 8)], [8, 9, extent])
                {
                    Affine = new([1, 0, 0, 5, 0, 1, 0, -3, 0, 0, 1.5, 0]),
                };
                var back = scan.ToSpacing(2.5, 1, spacing).Onto(scan.Extents, scan.Affine, Resample.BeyondSpacing);
                Assert.All(back.Labels, label => Assert.Equal(1, label));
            }
    }

    [Fact]
    public void Scans_of_another_spacing_than_that_of_all_in_the_training_are_resampled()
    {
        var preparation = new Preparation { Spacing = [1, 1, 1], KeepsNearSpacing = true };
        Assert.Equal([10, 10, 10], Extents(1.009));
        Assert.Equal([20, 20, 20], Extents(2));

        IReadOnlyList<int> Extents(double spacing)
        {
            var scan = new Example("one", [.. Enumerable.Range(0, 1000).Select(i => (float)i)], [0], [10, 10, 10])
            {
                Affine = new([spacing, 0, 0, 0, 0, spacing, 0, 0, 0, 0, spacing, 0]),
            };
            return preparation.Apply(scan).Extents;
        }
    }

    [Fact]
    public void Resampling_keeps_places_in_the_scanner_and_comes_back()
    {
        var volume = Volume(9, 10, 11);
        var (depth, height, width) = volume.Affine!.Spacing;
        var finer = volume.ToSpacing(depth / 3, height / 3, width / 3);
        Assert.Equal([27, 30, 33], finer.Extents);
        Assert.Equal(depth / 3, finer.Affine!.Spacing.Depth, 1e-9);
        // The middle voxel of each three is the original one.
        Assert.Equal(volume.Affine.At(4, 5, 6), finer.Affine.At(13, 16, 19), Near);
        var back = finer.Onto(volume.Extents, volume.Affine);
        Assert.Equal(volume.Labels, back.Labels);
        for (var i = 0; i < volume.Image.Length; i++) Assert.Equal(volume.Image[i], back.Image[i], 1e-5f);

        static bool Near((double X, double Y, double Z) a, (double X, double Y, double Z) b) =>
            Math.Abs(a.X - b.X) + Math.Abs(a.Y - b.Y) + Math.Abs(a.Z - b.Z) < 1e-9;
    }

    [Fact]
    public void A_prediction_goes_back_onto_the_scan()
    {
        var scan = Volume(12, 14, 16);
        var part = scan.Box([3, 4, 5], [6, 6, 6]);
        var back = part.Onto(scan.Extents, scan.Affine!);
        for (var (z, at) = (0, 0); z < 12; z++)
            for (var y = 0; y < 14; y++)
                for (var x = 0; x < 16; x++, at++)
                    Assert.Equal(z is >= 3 and < 9 && y is >= 4 and < 10 && x is >= 5 and < 11 ? scan.Labels[at] : 0, back.Labels[at]);
    }

    [Fact]
    public void Values_are_standardised_and_windowed()
    {
        var standard = Volume(5, 6, 7).ZScore();
        foreach (var channel in (int[])[0, 1])
        {
            var values = standard.Channel(channel).ToArray();
            Assert.Equal(0, values.Average(), 1e-5);
            Assert.Equal(1, values.Average(value => value * value), 1e-5);
        }
        Example Of(params float[] values) => new("case", values, [0], [1, values.Length]);
        Assert.Equal([0, -1, 1, 0], Of(0, 4, 8, 0).ZScore(amongNonZero: true).Image);
        Assert.Equal([0, 0, 0], Of(7, 7, 7).ZScore().Image);
        Assert.Equal([-1, 0, 1], Of(3, 5, 7).Rescale().Image);
        Assert.Equal([-1, -1], Of(3, 3).Rescale().Image);
        Assert.Equal([-1, -1, 0, 1, 1], Of(-1024, -160, 40, 240, 3000).Window(-160, 240).Image);
        foreach (var spoil in (float[])[float.NaN, float.PositiveInfinity])
            foreach (var step in (Func<Example, Example>[])[one => one.ZScore(), one => one.Rescale()])
                Assert.Contains(
                    "NaN or infinities", Assert.Throws<InvalidDataException>(() => step(Of(1, spoil, 2))).Message,
                    StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => Of(float.NaN).Window(0, 1));
    }

    [Theory]
    [InlineData(6, 7)]
    [InlineData(5, 6, 7)]
    public void Fitting_pads_with_air_and_cuts_about_the_middle(params int[] extents)
    {
        var example = Volume(extents);
        var larger = example.Fit([.. extents.Select(extent => extent + 3)]);
        Assert.Equal(example.Channel(1).ToArray().Min(), larger.Channel(1)[0]);
        Assert.Equal(0, larger.Labels[0]);
        Assert.Equal(example.Labels.Sum(label => label), larger.Labels.Sum(label => label));
        Assert.Equal(example.Image, larger.Box([.. extents.Select(_ => 1)], extents).Image);
        Assert.Same(example, example.Fit(extents));
        // Of an odd number of voxels the last side gets one more.
        Assert.Equal(
            example.Box([.. extents.Select(_ => 1)], [.. extents.Select(extent => extent - 3)]).Image,
            example.Fit([.. extents.Select(extent => extent - 3)]).Image);
        Assert.Equal(extents, example.PadTo([.. extents.Select(extent => extent - 2)]).Extents);
        Assert.Equal(9, example.Fit([.. extents.Select(extent => extent + 3)], outside: 9).Image[0]);
    }

    [Fact]
    public void Foreground_is_cropped_and_keeps_its_place()
    {
        var image = new float[2 * 5 * 6 * 7];
        Array.Fill(image, -3);
        int At(int channel, int z, int y, int x) => ((channel * 5 + z) * 6 + y) * 7 + x;
        (image[At(0, 1, 2, 3)], image[At(1, 3, 4, 3)]) = (1, 2);
        var example = new Example("case", image, new ushort[210], [5, 6, 7]) { Affine = Affine.Of(2, 3, 4) };
        var cropped = example.CropToForeground();
        Assert.Equal([3, 3, 1], cropped.Extents);
        Assert.Equal((6.0, 6.0, 4.0), cropped.Affine!.At(0, 0, 0));
        Assert.Equal([5, 5, 3], example.CropToForeground(margin: 1).Extents);
        Assert.Equal([1, 1, 1], example.CropToForeground(above: 1.5f).Extents);
        Assert.Same(example, example.CropToForeground(above: 9));
    }

    [Fact]
    public void The_bias_field_is_corrected_by_a_program_of_the_machine()
    {
        var volume = Volume(3, 4, 5);
        var missing = Assert.Throws<PlatformNotSupportedException>(() => new BiasField("no-such-program").Correct(volume)).Message;
        Assert.Contains("apt-get install ants", missing, StringComparison.Ordinal);
        // A script in place of the program. It checks its input and returns it.
        var program = Script("""[ "$1 $2 $3 $5" = "-d 3 -i -o" ] && cp "$4" "$6" """);
        Assert.Equal(volume.Image, new BiasField(program).Correct(volume).Image);
        var failing =
            Assert.Throws<InvalidDataException>(() => new BiasField(Script("echo cannot allocate >&2; exit 3")).Correct(volume)).Message;
        Assert.Contains("exit code 3: cannot allocate", failing, StringComparison.Ordinal);
        Assert.Contains(
            "more than",
            Assert.Throws<InvalidDataException>(() =>
                new BiasField(Script("sleep 9")) { Patience = TimeSpan.FromMilliseconds(50) }.Correct(volume)).Message,
            StringComparison.Ordinal);

        string Script(string text)
        {
            var path = Path.Combine(folder, Guid.NewGuid().ToString());
            File.WriteAllText(path, $"#!/bin/sh\n{text}\n");
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
            return path;
        }
    }
}
