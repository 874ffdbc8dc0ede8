using System.IO.Compression;
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
        Assert.Equal([5, 0, 4, 1, 9], mnist.Train.Labels[..5]);    // as in every tutorial
        Assert.Equal([7, 2, 1, 0, 4], mnist.Test.Labels[..5]);
        using var scope = NewDisposeScope();
        var (images, labels) = mnist.Train.Batch([0, 1], 0, 1);
        Assert.Equal([2, 1, 28, 28], images.shape);
        Assert.Equal([5, 0], labels.data<long>().ToArray());
        Assert.Equal(mnist.Train.Pixels[..784].Sum(pixel => pixel / 255.0), images[0].sum().item<float>(), 1e-2);
    }

    [Theory]
    [InlineData("cut", "cut short")]
    [InlineData("foreign", "magic number")]
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
        Assert.Equal(10, GeneratedDigits.Make(500, 1).Train.Labels.Distinct().Count());
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
        Picture.WriteSideBySide(path, grey, colour);
        back = Picture.Read(path);
        Assert.Equal([1, 3, 9, 12 + 8 + 5], back.shape);
        Assert.True(back[.., .., .., 20..].Equals(colour));
        Assert.True(back[0, 2, .., ..12].Equals(grey[0, 0]));
    }
}
