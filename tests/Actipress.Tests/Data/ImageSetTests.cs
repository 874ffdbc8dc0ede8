using System.Formats.Tar;
using System.IO.Compression;
using Actipress.Data;
using Actipress.Fuzz;
using SkiaSharp;
using static TorchSharp.torch;

namespace Actipress.Tests.Data;

public sealed class ImageSetTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Cifar10_is_read()
    {
        var data = Cifar10.Load(TestData.Real("cifar10_first4000"));
        Assert.Equal((3200, 800, 10, 3), (data.Train.Count, data.Test.Count, data.Train.Classes, data.Train.Channels));
        Assert.Equal((byte[])[6, 9, 9, 4, 1], data.Train.Labels[..4].Append(data.Test.Labels[0]));     // the first labels of data_batch_1
        Assert.Equal([59, 43, 50], data.Train.Pixels[..3]);
    }

    [Fact]
    public void Flowers_of_cifar100_are_read()
    {
        var (fine, coarse) =
            (Cifar100.Load(TestData.Real("cifar100_flowers")), Cifar100.Load(TestData.Real("cifar100_flowers"), coarse: true));
        Assert.Equal((2400, 600, 100, 20), (fine.Train.Count, fine.Test.Count, fine.Train.Classes, coarse.Train.Classes));
        Assert.Equal((byte[])[54, 62, 70, 82, 92], fine.Train.Labels.Concat(fine.Test.Labels).Distinct().Order());
        Assert.Equal((byte[])[2], coarse.Train.Labels.Distinct());
        Assert.Equal(fine.Train.Pixels, coarse.Train.Pixels);
    }

    [Theory]
    [InlineData(3073, 9, null)]
    [InlineData(3073, 10, "found label 10 at byte 0, wanted 0 to 9")]
    [InlineData(3072, 0, "found 3072 bytes, wanted a multiple of 3073")]
    [InlineData(0, 0, "found 0 bytes")]
    public void What_is_no_cifar10_is_refused(int length, byte label, string? says)
    {
        var bytes = new byte[length];
        if (length > 0) bytes[0] = label;
        File.WriteAllBytes(Path.Combine(folder, "data_batch_1.bin"), bytes);
        if (says is null) Assert.Equal(1, Cifar10.Load(folder).Train.Count);
        else Assert.Contains(says, Assert.Throws<InvalidDataException>(() => Cifar10.Load(folder)).Message, StringComparison.Ordinal);
        if (length > 0)
            Assert.Contains(
                "CIFAR-100", Assert.Throws<InvalidDataException>(() => Cifar100.Load(folder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tree_of_jpegs_is_read_close_to_the_lossless_images()
    {
        using var archive =
            new TarReader(new GZipStream(File.OpenRead(TestData.Real("cifar10_jpeg/cifar10-jpeg.tar.gz")), CompressionMode.Decompress));
        for (var (taken, each) = (0, new Dictionary<string, int>()); taken < 200 && archive.GetNextEntry() is { } entry;)
        {
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile)
                || !entry.Name.EndsWith(".jpg", StringComparison.Ordinal))
                continue;
            var path = Path.Combine(folder, entry.Name);
            var owner = Path.GetDirectoryName(path)!;
            if ((each[owner] = each.GetValueOrDefault(owner) + 1) > 10) continue;
            Directory.CreateDirectory(owner);
            entry.ExtractToFile(path, overwrite: true);
            taken++;
        }
        var root = Path.GetDirectoryName(Directory.GetDirectories(folder, "train", SearchOption.AllDirectories).Single())!;
        var (train, test) = ImageFolder.TrainAndTest(root);
        Assert.Equal((100, 100, 10, 10), (train.Count, test.Count, train.Classes, test.Classes));
        Assert.Equal("airplane", train.ClassNames[0]);
        Assert.StartsWith("airplane/", train.Case(0), StringComparison.Ordinal);
        using var batch = Batch.Of(train, [.. Enumerable.Range(0, 100)]);
        Assert.Equal([100, 3, 32, 32], batch.Images.shape);
        var decoded = ImageFolder.Load(root);
        Assert.Equal((100, 100, 10), (decoded.Train.Count, decoded.Test.Count, decoded.Test.Classes));
        Assert.Equal(train.Read(99).Image, decoded.Train.Read(99).Image);
        Assert.Equal(Enumerable.Range(0, 100).Select(i => (long)(i / 10)), batch.Labels.data<long>().ToArray());
        // The first image of each class is among the first 4000 images, and JPEG changed it little.
        var lossless = Cifar10.Load(TestData.Real("cifar10_first4000"));
        Assert.All(Enumerable.Range(0, 10), label => Assert.InRange(Closest(train.Read(10 * label).Image, (byte)label), 0, 10.0 / 255));

        double Closest(float[] image, byte label) =>
            ((LabelledImages[])[lossless.Train, lossless.Test]).SelectMany(part => Enumerable.Range(0, part.Count)
                .Where(i => part.Labels[i] == label).Select(i => Distance(image, part.Pixels.AsSpan(i * 3072, 3072)))).Min();

        static double Distance(float[] image, ReadOnlySpan<byte> pixels)
        {
            double sum = 0;
            for (var i = 0; i < pixels.Length; i++) sum += Math.Abs(image[i] - pixels[i] / 255.0);
            return sum / pixels.Length;
        }
    }

    [Fact]
    public void Pictures_are_scaled_and_made_grey()
    {
        using var scope = NewDisposeScope();
        foreach (var name in (string[])["b", "a"])
        {
            Directory.CreateDirectory(Path.Combine(folder, name));
            Picture.WriteSideBySide(Path.Combine(folder, name, "one.png"), full([1, 3, 8, 12], name == "a" ? 100f : 200f));
        }
        var data = new ImageFolder(folder, channels: 1, size: (4, 6));
        Assert.Equal([4, 6], data.Extents);
        Assert.All(data.Read(0).Image, value => Assert.Equal(100 / 255f, value));
        Assert.Equal([24, 24], [data.Read(0).Image.Length, data.Read(1).Image.Length]);
        Assert.Equal((0, 1), (data.Read(0).Labels[0], data.Read(1).Labels[0]));
        Assert.Equal([8, 12], new ImageFolder(folder).Read(1).Extents);
        // The luma of colours has the weights of ITU-R BT.601.
        Directory.CreateDirectory(Path.Combine(folder, "c"));
        using (var colour = tensor(new[] { 200f, 50f, 10f }).view(1, 3, 1, 1))
            Picture.WriteSideBySide(Path.Combine(folder, "c", "one.png"), colour);
        Assert.Equal(
            (0.299 * 200 + 0.587 * 50 + 0.114 * 10) / 255, Assert.Single(new ImageFolder(folder, channels: 1).Read(2).Image), 1e-5);
        Assert.Equal([200 / 255f, 50 / 255f, 10 / 255f], new ImageFolder(folder, channels: 3).Read(2).Image);
        Directory.Delete(Path.Combine(folder, "c"), recursive: true);
        Directory.CreateDirectory(Path.Combine(folder, "train"));
        Directory.CreateDirectory(Path.Combine(folder, "test"));
        foreach (var name in (string[])["b", "a"])
        {
            Directory.CreateDirectory(Path.Combine(folder, "test", name));
            File.Copy(Path.Combine(folder, name, "one.png"), Path.Combine(folder, "test", name, "one.png"));
            Directory.Move(Path.Combine(folder, name), Path.Combine(folder, "train", name));
        }
        Picture.WriteSideBySide(Path.Combine(folder, "train", "b", "two.png"), full([1, 3, 8, 13], 3f));
        Assert.Contains(
            "two.png is 8 x 13, but", Assert.Throws<InvalidDataException>(() => ImageFolder.Load(folder)).Message,
            StringComparison.Ordinal);
        Assert.Equal(3, ImageFolder.Load(folder, size: (8, 12)).Train.Count);
        Assert.Contains(
            "b is no class",
            Assert.Throws<InvalidDataException>(() => new ImageFolder(Path.Combine(folder, "train"), classNames: ["a"])).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void As_many_classes_as_a_byte_can_tell_are_decoded_into_memory()
    {
        foreach (var part in (string[])["train", "test"])
            for (var label = 0; label < 257; label++) Directory.CreateDirectory(Path.Combine(folder, part, $"{label:000}"));
        foreach (var part in (string[])["train", "test"])
            using (var grey = full([1, 1, 2, 3], 7f)) Picture.WriteSideBySide(Path.Combine(folder, part, "255", "one.png"), grey);
        Assert.Contains(
            "257 classes: wanted at most 256", Assert.Throws<InvalidDataException>(() => ImageFolder.Load(folder)).Message,
            StringComparison.Ordinal);
        foreach (var part in (string[])["train", "test"]) Directory.Delete(Path.Combine(folder, part, "256"));
        var loaded = ImageFolder.Load(folder);
        Assert.Equal((256, 256, 1), (loaded.Train.Classes, loaded.Test.Classes, loaded.Train.Count));
        Assert.Equal(255, loaded.Train.Labels[0]);
    }

    [Fact]
    public void Broken_pictures_and_empty_folders_are_refused()
    {
        Assert.Contains(
            "No pictures", Assert.Throws<InvalidDataException>(() => new ImageFolder(folder)).Message, StringComparison.Ordinal);
        Directory.CreateDirectory(Path.Combine(folder, "a"));
        var path = Path.Combine(folder, "a", "one.png");
        random.manual_seed(1);
        using (var noise = randint(0, 256, [1, 3, 40, 40]).to(float32)) Picture.WriteSideBySide(path, noise);
        var bytes = File.ReadAllBytes(path);
        File.WriteAllBytes(path, bytes[..(bytes.Length / 2)]);
        Assert.Contains(
            "cut short or damaged", Assert.Throws<InvalidDataException>(() => new ImageFolder(folder).Read(0)).Message,
            StringComparison.Ordinal);
        File.WriteAllText(path, "no picture");
        Assert.Contains(
            "no picture", Assert.Throws<InvalidDataException>(() => new ImageFolder(folder).Read(0)).Message, StringComparison.Ordinal);
        using (var bitmap = new SKBitmap(4, 4))
        using (var webp = bitmap.Encode(SKEncodedImageFormat.Webp, 90)) File.WriteAllBytes(path, webp.ToArray());
        Assert.Contains(
            "one.png is Webp: wanted PNG or JPEG", Assert.Throws<InvalidDataException>(() => new ImageFolder(folder).Read(0)).Message,
            StringComparison.Ordinal);
    }

    // The value is 100.7, and truncation would make it darker.
    [Fact]
    public void Grey_values_of_colours_are_rounded_to_bytes()
    {
        using var scope = NewDisposeScope();
        foreach (var part in (string[])["train", "test"])
        {
            Directory.CreateDirectory(Path.Combine(folder, part, "a"));
            using var colour = tensor(new[] { 100f, 101f, 101f }).view(1, 3, 1, 1);
            Picture.WriteSideBySide(Path.Combine(folder, part, "a", "one.png"), colour);
        }
        Assert.Equal([101], ImageFolder.Load(folder, channels: 1).Train.Pixels);
    }

    [Fact]
    public void A_picture_has_no_more_pixels_than_its_bytes_can_hold()
    {
        var path = Path.Combine(folder, "one.png");
        using (var bitmap = new SKBitmap(2000, 1500, SKColorType.Gray8, SKAlphaType.Opaque))
        {
            bitmap.Erase(SKColors.Black);
            using var png = bitmap.Encode(SKEncodedImageFormat.Png, 100);
            File.WriteAllBytes(path, png.ToArray());
        }
        using (var black = Picture.Read(path)) Assert.Equal([1, 1, 1500, 2000], black.shape);
        var claims =
            PngChecksums.Mended([.. File.ReadAllBytes(path)[..16], 0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, .. File.ReadAllBytes(path)[24..]]);
        File.WriteAllBytes(path, claims);
        Assert.Contains(
            "found 65535 x 65535 pixels, wanted at most", Assert.Throws<InvalidDataException>(() => Picture.Read(path)).Message,
            StringComparison.Ordinal);
    }
}
