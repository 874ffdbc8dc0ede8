using System.IO.Compression;
using System.Security.Cryptography;
using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Tests.Data;

public sealed class DataTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Mnist_is_read_to_the_pixel()
    {
        var mnist = Mnist.Load(TestData.Real("mnist"));
        Assert.Equal((60_000, 10_000), (mnist.Train.Count, mnist.Test.Count));
        Assert.Equal([5, 0, 4, 1, 9], mnist.Train.Labels[..5]);    // these are the well-known first labels of MNIST
        Assert.Equal([7, 2, 1, 0, 4], mnist.Test.Labels[..5]);
        using var scope = NewDisposeScope();
        var (images, labels) = mnist.Train.Batch([0, 1], 0, 1);
        Assert.Equal([2, 1, 28, 28], images.shape);
        Assert.Equal([5, 0], labels.data<long>().ToArray());
        Assert.Equal(mnist.Train.Pixels[..784].Sum(pixel => pixel / 255.0), images[0].sum().item<float>(), 1e-2);
    }

    [Theory]
    [InlineData("cut", "cut short")]
    [InlineData("three bytes", "cut short: found 3 bytes, wanted 10008")]
    [InlineData("four bytes", "magic number 0x00000102")]
    [InlineData("foreign", "magic number")]
    [InlineData("long", "too long")]
    [InlineData("other", "MD5")]
    [InlineData("broken gzip", "damaged")]
    [InlineData("missing", "No t10k-labels-idx1-ubyte.gz")]
    public void What_is_not_mnist_is_refused(string kind, string says)
    {
        var source = TestData.Real("mnist");
        foreach (var file in Directory.GetFiles(source)) File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        var victim = Path.Combine(folder, "t10k-labels-idx1-ubyte.gz");
        File.SetAttributes(victim, FileAttributes.Normal);
        byte[] content;
        using (var gzip = new GZipStream(File.OpenRead(victim), CompressionMode.Decompress))
        using (var memory = new MemoryStream())
        {
            gzip.CopyTo(memory);
            content = memory.ToArray();
        }
        File.Delete(victim);
        switch (kind)
        {
            case "cut": Gzip(content[..5000]); break;
            case "three bytes": Gzip([0, 0, 1]); break;
            case "four bytes": Gzip([0, 0, 1, 2]); break;
            case "long": Gzip([.. content, 0]); break;
            case "foreign": Gzip([1, 2, 3, 4, .. content[4..]]); break;
            case "other": content[100] ^= 1; Gzip(content); break;
            case "broken gzip": File.WriteAllBytes(victim, [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0xFF, 0xFF, 0xFF, 0xFF]); break;
        }
        Assert.Contains(says, Assert.Throws<InvalidDataException>(() => Mnist.Load(folder)).Message, StringComparison.Ordinal);

        void Gzip(byte[] bytes)
        {
            using var gzip = new GZipStream(File.Create(victim), CompressionLevel.Fastest);
            gzip.Write(bytes);
        }
    }

    [Fact]
    public void Generated_digits_depend_on_their_seed_alone()
    {
        var (a, b, c) = (GeneratedDigits.Make(50, 20), GeneratedDigits.Make(50, 20), GeneratedDigits.Make(50, 20, seed: 2));
        Assert.Equal(a.Train.Pixels, b.Train.Pixels);
        Assert.Equal(a.Test.Labels, b.Test.Labels);
        Assert.NotEqual(a.Train.Pixels, c.Train.Pixels);
        Assert.NotEqual(a.Train.Pixels[..(20 * 784)], a.Test.Pixels);
        var usual = GeneratedDigits.Make().Train;
        Assert.Equal(10, usual.Labels.Distinct().Count());
        // Stored results were trained on these pixels.
        Assert.Equal("78205E4D943F6993", Convert.ToHexString(SHA256.HashData(usual.Pixels))[..16]);
    }

    [Fact]
    public void A_coloured_digits_ground_does_not_tell_the_digit()
    {
        var images = GeneratedDigits.InColour(2000, 1).Train;
        for (var channel = 0; channel < 3; channel++)
        {
            // The corner pixel, which no digit reaches, is from 20 to 140. The mean of each digit's corners is within four standard errors
            // of the mean of all.
            var corners =
                images.Labels.Select((label, i) => (Label: label, Value: (double)images.Pixels[(i * 3 + channel) * 1024])).ToArray();
            var mean = corners.Average(corner => corner.Value);
            foreach (var digit in corners.GroupBy(corner => corner.Label))
                Assert.InRange(
                    digit.Average(corner => corner.Value), mean - 4 * 120 / Math.Sqrt(12 * digit.Count()),
                    mean + 4 * 120 / Math.Sqrt(12 * digit.Count()));
        }
    }

    [Fact]
    public void Generated_volumes_are_balls_in_noise_and_depend_on_their_seed_alone()
    {
        var (a, b, c) = (
            GeneratedVolumes.Make(3, (20, 24, 28)), GeneratedVolumes.Make(3, (20, 24, 28)),
            GeneratedVolumes.Make(3, (20, 24, 28), seed: 2));
        Assert.Equal(a.Images, b.Images);
        Assert.Equal(a.Labels, b.Labels);
        Assert.NotEqual(a.Images[0], c.Images[0]);
        Assert.NotEqual(a.Images[0], a.Images[1]);
        var largest = 0.0;
        for (var i = 0; i < 3; i++)
        {
            // The later ball is whole. Its radius is 0.1 to 0.22 of the least extent, and each of its voxels is nearer to its centre than
            // any other voxel.
            var voxels = Enumerable.Range(0, 20 * 24 * 28).Where(at => a.Labels[i][at] == 2)
                .Select(at => (Z: at / (24 * 28), Y: at / 28 % 24, X: at % 28)).ToArray();
            var (z, y, x) = (voxels.Average(at => at.Z), voxels.Average(at => at.Y), voxels.Average(at => at.X));
            var radius = Math.Pow(voxels.Length * 3 / (4 * Math.PI), 1 / 3.0);
            Assert.InRange(radius, 0.1 * 20 - 0.5, 0.22 * 20 + 0.5);
            largest = Math.Max(largest, radius);
            Assert.All(
                voxels,
                at => Assert.InRange(Math.Sqrt(Math.Pow(at.Z - z, 2) + Math.Pow(at.Y - y, 2) + Math.Pow(at.X - x, 2)), 0, radius + 1));
            Assert.All(a.Images[i].Zip(a.Labels[i]), at => Assert.InRange(at.First - at.Second + 0.3f, -0.41f, 0.41f));
        }
        Assert.InRange(largest, 3, 0.22 * 20 + 0.5);
    }

    [Fact]
    public void Classes_are_those_given_or_those_that_occur()
    {
        Assert.Equal(6, new LabelledImages(new byte[3], [0, 5, 1], 1, 1).Classes);
        Assert.Equal(9, new LabelledImages(new byte[3], [0, 5, 1], 1, 1) { Classes = 9 }.Classes);
        Assert.Equal(1, new LabelledImages([], [], 1, 1).Classes);
        Assert.Equal(0, new Example("nothing", [], [], [0, 3]).Channels);
    }

    [Fact]
    public void Arrays_are_written_and_read()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        foreach (var shape in (long[][])[[], [5], [2, 3], [2, 1, 4, 3]])
        {
            var array = randn(shape);
            var path = Path.Combine(folder, "array.npy");
            Npy.Write(path, array);
            Assert.Equal(0, (new FileInfo(path).Length - array.NumberOfElements * 4) % 64);
            var back = Npy.Read(path);
            Assert.Equal(shape, back.shape);
            Assert.True(array.Equals(back));
        }
    }

    // NumPy writes such files: values begin at the next multiple of 64 bytes, after one newline.
    [Fact]
    public void A_header_is_padded_to_the_next_64_bytes_and_no_further()
    {
        using var scope = NewDisposeScope();
        for (var axes = 1; axes <= 24; axes++)
        {
            var path = Path.Combine(folder, "array.npy");
            Npy.Write(path, zeros([.. Enumerable.Repeat(1L, axes)]));
            var bytes = File.ReadAllBytes(path);
            var text = System.Text.Encoding.Latin1.GetString(bytes, 10, BitConverter.ToUInt16(bytes, 8));
            Assert.Equal((text.TrimEnd().Length + 11 + 63) / 64 * 64 - 10, text.Length);
            Assert.Equal('\n', text[^1]);
        }
    }

    [Theory]
    [InlineData(2, "", "cut short: its header starts at byte 12, but the file has 10")]
    [InlineData(2, "ÿ\u007f", "its header of 2147418112 bytes starts at byte 12")]
    [InlineData(2, "ÿÿ", "its header of -65536 bytes starts at byte 12")]
    [InlineData(1, "'shape': (22 3)", "no header that can be read: found {'descr': '<f4', 'fortran_order': False, 'shape': (22 3)")]
    [InlineData(1, "'shape': (99999999999999999999,)", "no header that can be read")]
    [InlineData(1, "'shape': (4294967296, 4294967296)", "4294967296 x 4294967296 numbers: wanted fewer than 2^31")]
    [InlineData(1, "'shape': (4611686018427387904,)", "4611686018427387904 numbers: wanted fewer than 2^31")]
    [InlineData(1, "'shape': (0, 4611686018427387904, 4)", "wanted fewer than 2^31")]
    [InlineData(1, "'shape': (1073741824,)", "cut short: wanted 1073741824 numbers of 4 bytes")]
    public void A_header_that_lies_is_refused_before_anything_is_allocated(byte version, string rest, string says)
    {
        var header = version == 1 ? $"{{'descr': '<f4', 'fortran_order': False, {rest}}}" : rest;
        byte[] bytes =
        [
            0x93, .. "NUMPY"u8, version, 0, .. version == 1 ? BitConverter.GetBytes((ushort)header.Length) : [0, 0],
            .. System.Text.Encoding.Latin1.GetBytes(header),
        ];
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains(says, Assert.Throws<InvalidDataException>(() => Npy.Read(bytes, "array.npy")).Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void An_array_without_elements_is_written_and_read()
    {
        var path = Path.Combine(folder, "empty.npy");
        using (var array = arange(3)) Npy.Write(path, array);
        // Python writes a tuple of one in this way
        Assert.Contains("'shape': (3,), }", File.ReadAllText(path), StringComparison.Ordinal);
        using (var array = empty(0, 4)) Npy.Write(path, array);
        using var back = Npy.Read(path);
        Assert.Equal([0, 4], back.shape);
    }

    [Fact]
    public void A_cut_or_foreign_array_is_refused()
    {
        var path = Path.Combine(folder, "array.npy");
        using (var array = arange(100)) Npy.Write(path, array);
        var bytes = File.ReadAllBytes(path);
        File.WriteAllBytes(path, bytes[..^1]);
        Assert.Contains("cut short", Assert.Throws<InvalidDataException>(() => Npy.Read(path)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(path, [1, 2, 3]);
        Assert.Contains("no .npy file", Assert.Throws<InvalidDataException>(() => Npy.Read(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_data_set_lies_in_a_folder_of_its_name_or_in_the_one_named()
    {
        Assert.Equal(folder, DataFolder.Part(folder, "mnist"));
        var part = Directory.CreateDirectory(Path.Combine(folder, "mnist")).FullName;
        Assert.Equal(part, DataFolder.Part(folder, "mnist"));
        var before = Environment.GetEnvironmentVariable(DataFolder.Variable);
        try
        {
            foreach (var (variable, named, wanted) in new (string?, string?, string?)[]
            {
                ("/real", null, "/real"), ("/real", "/other", "/other"), ("", null, null), (null, null, null), (null, "/other", "/other"),
            })
            {
                Environment.SetEnvironmentVariable(DataFolder.Variable, variable);
                Assert.Equal(wanted, DataFolder.Of(named));
            }
        }
        finally { Environment.SetEnvironmentVariable(DataFolder.Variable, before); }
    }

    [Fact]
    public void Pictures_are_written_and_read()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var (grey, colour) = (randint(0, 256, [1, 1, 9, 12]).to(float32), randint(0, 256, [1, 3, 9, 5]).to(float32));
        var path = Path.Combine(folder, "picture.png");
        Picture.WriteSideBySide(path, grey, grey);
        var back = Picture.Read(path);
        Assert.Equal([1, 1, 9, 12 + 8 + 12], back.shape);
        Assert.True(back[0, 0, .., ..12].Equals(grey[0, 0]));
        Assert.True(back[0, 0, .., 20..].Equals(grey[0, 0]));
        Assert.True(back[0, 0, .., 12..20].Equals(full([9, 8], 255f)));
        // Halves are rounded to the even number, and values beyond a byte are clamped.
        Picture.WriteSideBySide(path, tensor(new[] { 1.5f, 2.5f, 2.6f, -3, 300 }).view(1, 1, 1, 5));
        Assert.Equal([2, 2, 3, 0, 255], Picture.Read(path).data<float>().ToArray());
        Picture.WriteSideBySide(path, grey, colour);
        back = Picture.Read(path);
        Assert.Equal([1, 3, 9, 12 + 8 + 5], back.shape);
        Assert.True(back[.., .., .., 20..].Equals(colour));
        Assert.True(back[0, 2, .., ..12].Equals(grey[0, 0]));
    }

    [Fact]
    public void A_file_that_is_not_gzipped_takes_no_more_than_its_own_bytes()
    {
        var path = Path.GetTempFileName();
        try
        {
            var content = Enumerable.Repeat((byte)0xFF, 1 << 20).ToArray();    // as a size at the end of a gzip stream it would be 4 GiB
            File.WriteAllBytes(path, content);
            var before = GC.GetAllocatedBytesForCurrentThread();
            Assert.Equal(content, Gzip.All(path));
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1 << 20, 5 << 18);
        }
        finally { File.Delete(path); }
    }
}
