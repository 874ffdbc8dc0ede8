using System.Globalization;
using System.IO.Compression;
using Actipress.Data;

namespace Actipress.Tests.Data;

/// <summary>Masks are written, cleaned and compared.</summary>
public sealed class MaskTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    public static TheoryData<string, string> Surfaces() =>
        [.. File.ReadAllLines(TestData.Golden("surfaces.txt")).Skip(1)
            .Select(line => (line[..line.IndexOf(" | ", StringComparison.Ordinal)], line))];

    [Theory]
    [MemberData(nameof(Surfaces))]
    public void Surfaces_are_as_far_apart_and_parts_as_large_as_SciPy_says(string name, string line)
    {
        Assert.NotEmpty(name);
        var parts = line.Split(" | ");
        var extents = parts[2].Split(' ').Select(int.Parse).ToArray();
        var spacing = parts[3].Split(' ').Select(number => double.Parse(number, CultureInfo.InvariantCulture)).ToArray();
        var (found, wanted) = (Labels(parts[4]), Labels(parts[5]));
        foreach (var (index, distance) in parts[6].Split(' ').Index())
        {
            var hd95 = SurfaceDistance.Hd95(found, wanted, (ushort)(index + 1), extents, spacing);
            if (distance == "-") Assert.Null(hd95);
            else Assert.Equal(double.Parse(distance, CultureInfo.InvariantCulture), hd95!.Value, 1e-9);
        }
        Assert.Equal(Labels(parts[7]), Components.Largest(found, extents));

        static ushort[] Labels(string digits) => [.. digits.Select(digit => (ushort)(digit - '0'))];
    }

    public static TheoryData<string, string> Scans() => NiftiTests.Cases();

    // These fields place a volume: pixdim and units, forms, quaternion and rows.
    static byte[] Place(string path)
    {
        var bytes = Header(path).Bytes;
        return bytes.Length == 540 ? [.. bytes[104..168], .. bytes[344..504]] : [.. bytes[76..92], .. bytes[123..124], .. bytes[252..328]];
    }

    // The number of axes and their extents.
    static long[] Axes(string path)
    {
        var header = Header(path);
        return header.Bytes.Length == 540
            ? [.. Enumerable.Range(0, 8).Select(axis => Number(header, 16 + 8 * axis, 8))]
            : [.. Enumerable.Range(0, 8).Select(axis => Number(header, 40 + 2 * axis, 2))];
    }

    // The type of the numbers and its bits.
    static (long Type, long Bits) NumberType(string path)
    {
        var header = Header(path);
        var at = header.Bytes.Length == 540 ? 12 : 70;
        return (Number(header, at, 2), Number(header, at + 2, 2));
    }

    static long Number(NiftiHeader header, int at, int bytes)
    {
        var number = header.Bytes.Slice(at, bytes).ToArray();
        if (header.BigEndian) Array.Reverse(number);
        return bytes == 2 ? BitConverter.ToInt16(number) : BitConverter.ToInt64(number);
    }

    static NiftiHeader Header(string path)
    {
        using var file = Gzip.Open(path);
        return NiftiHeader.Read(file, path);
    }

    [Theory]
    [MemberData(nameof(Scans))]
    public void A_mask_lies_where_its_scan_lies_bit_for_bit(string name, string content)
    {
        var parts = content.Split('\n', ' ');
        var scan = Path.Combine(folder, parts.Length == 4 ? "scan.hdr" : "scan.nii");
        if (parts.Length == 4) File.WriteAllBytes(Path.Combine(folder, "scan.img"), Unpacked(parts[1]));
        File.WriteAllBytes(scan, Unpacked(parts[0]));
        var volume = Nifti.Read(scan);
        var orientation = Orientation.Of(volume.Affine);
        int[] extents = orientation.Turn(volume.Extents[..3]);
        foreach (var most in (int[])[3, 300])
        {
            ushort[] labels = [.. Enumerable.Range(0, extents[0] * extents[1] * extents[2]).Select(i => (ushort)(i * 29 % (most + 1)))];
            labels[^1] = (ushort)most;
            var mask = Path.Combine(folder, "mask.nii.gz");
            Nifti.WriteMask(mask, scan, labels);
            Assert.Equal(Place(scan), Place(mask));
            Assert.Equal(most > 255 ? (512, 16) : (2, 8), NumberType(mask));    // NIfTI's uint16 and uint8
            Assert.Equal([3, .. volume.Extents[..3].Select(extent => (long)extent), 1, 1, 1, 1], Axes(mask));
            var back = new VolumeFiles(name, [new("one", [mask], [mask])], channels: 1, classes: 301).Read(0);
            Assert.Equal(labels, back.Labels);
            Assert.Equal(labels.Select(label => (float)label), back.Image);
            Assert.Equal(volume.Affine.Rows, Nifti.Read(mask).Affine.Rows);
            Assert.Equal(volume.Extents[..3], Nifti.Read(mask).Extents);
        }
        Assert.Contains("wanted one a voxel", Assert.Throws<ArgumentException>(() => Nifti.WriteMask(scan, scan, [1])).Message,
            StringComparison.Ordinal);

        static byte[] Unpacked(string text)
        {
            using var gzip = new GZipStream(new MemoryStream(Convert.FromBase64String(text)), CompressionMode.Decompress);
            using var bytes = new MemoryStream();
            gzip.CopyTo(bytes);
            return bytes.ToArray();
        }
    }

    [Fact]
    public void A_picture_shows_both_outlines()
    {
        ushort[] Box(int from) =>
            [.. Enumerable.Range(0, 20 * 20 * 20)
                .Select(i => (ushort)(new[] { i / 400, i / 20 % 20, i % 20 }.All(place => place >= from && place < from + 8) ? 1 : 0))];
        var scan = new Example("one", [.. Enumerable.Range(0, 8000).Select(i => (float)(i % 20))], new ushort[8000],
            [20, 20, 20])
        { Affine = Affine.Of(1, 1, 2) };
        var path = Path.Combine(folder, "picture.png");
        File.WriteAllBytes(path, ScanPicture.Draw(scan, Box(6), Box(8)));
        using var picture = Picture.Read(path);
        Assert.Equal([1, 3, 320, 320 + 8 + 160 + 8 + 160], picture.shape);
        var values = picture.data<float>().ToArray();
        int Count(float red, float green, float blue)
        {
            var pixels = values.Length / 3;
            return Enumerable.Range(0, pixels).Count(i => values[i] == red && values[pixels + i] == green
                && values[2 * pixels + i] == blue);
        }
        Assert.All([Count(0xFF, 0x3B, 0x30), Count(0x3D, 0xDC, 0x84)], pixels => Assert.InRange(pixels, 400, 2500));
        // Right is at the left, where the scan is bright.
        Assert.True(values[5] > values[310], $"{values[5]} {values[310]}");
        File.WriteAllBytes(path, ScanPicture.Draw(scan, new ushort[8000], null));
        using var nothing = Picture.Read(path);
        Assert.Equal(1, nothing.shape[1]);    // the image is grey, so there is no outline
    }
}
