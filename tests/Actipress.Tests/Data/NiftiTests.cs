using System.Diagnostics;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Actipress.Data;

namespace Actipress.Tests.Data;

public sealed class NiftiTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    string PathOf(string name) => Path.Combine(folder, name);

    public static TheoryData<string, string> Cases()
    {
        var lines = File.ReadAllLines(TestData.Golden("nifti.txt"));
        return [.. Enumerable.Range(0, (lines.Length - 1) / 4)
            .Select(i => (lines[1 + 4 * i], string.Join('\n', lines[(3 + 4 * i)..(5 + 4 * i)])))];
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Files_of_every_kind_are_read_as_nibabel_does(string name, string content)
    {
        var parts = content.Split('\n', ' ');
        var path = PathOf("volume.nii");
        if (parts.Length == 4)
        {
            path = PathOf("volume.hdr");
            File.WriteAllBytes(PathOf("volume.img"), Unpacked(parts[1]));
        }
        File.WriteAllBytes(path, Unpacked(parts[0]));
        var volume = Nifti.Read(path);
        var extents = name.Split('|')[1].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse).ToList();
        while (extents.Count > 3 && extents[^1] == 1) extents.RemoveAt(extents.Count - 1);
        Assert.Equal(extents, volume.Extents);
        Assert.Equal(MemoryMarshal.Cast<byte, float>(Convert.FromHexString(parts[^1])).ToArray(), volume.Values);
        var affine = MemoryMarshal.Cast<byte, double>(Convert.FromHexString(parts[^2])).ToArray();
        for (var i = 0; i < affine.Length; i++) Assert.Equal(affine[i], volume.Affine.Rows[i], 1e-5);
        var (depth, height, width) = volume.Affine.Spacing;
        if (!name.Contains("both", StringComparison.Ordinal))
            Assert.All([width, height, depth], (length, axis) => Assert.Equal(length, volume.Spacing[axis], 1e-5));
        if (parts.Length == 4) Assert.Equal(volume.Values, Nifti.Read(PathOf("volume.img")).Values);

        static byte[] Unpacked(string text)
        {
            using var gzip = new GZipStream(new MemoryStream(Convert.FromBase64String(text)), CompressionMode.Decompress);
            using var content = new MemoryStream();
            gzip.CopyTo(content);
            return content.ToArray();
        }
    }

    [Fact]
    public void Real_volumes_are_read_to_the_voxel()
    {
        var root = TestData.Real("brats2015/..");
        foreach (var line in File.ReadAllLines(TestData.Golden("nifti_real.txt")).Skip(1))
        {
            var parts = line.Split(" | ");
            var volume = Nifti.Read(Path.Combine(root, parts[0]));
            Assert.Equal(parts[1], string.Join(' ', volume.Extents));
            var affine = MemoryMarshal.Cast<byte, double>(Convert.FromHexString(parts[2])).ToArray();
            for (var i = 0; i < affine.Length; i++) Assert.Equal(affine[i], volume.Affine.Rows[i], 1e-4);
            Assert.Equal(
                (parts[0], parts[3]), (parts[0], Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes(volume.Values.AsSpan())))));
        }
    }

    static readonly Affine turned = new([-1.5, 0.25, 0, 90, 0.25, 2, 0.5, -126, 0, -0.5, 3, -72]);

    [Fact]
    public void What_is_written_is_read()
    {
        foreach (var type in Enum.GetValues<NiftiType>())
            foreach (var (ending, extents) in new (string, int[])[]
            {
                (".nii", [3, 4, 5]), (".nii", [3, 4, 1]), (".nii.gz", [3, 4, 5, 2]), (".nii.gz", [50, 60, 70]),
            })
            {
                var values = Enumerable.Range(0, extents.Aggregate((a, b) => a * b)).Select(i => (float)(i % 120)).ToArray();
                var path = PathOf("written" + ending);
                Nifti.Write(path, new(values, extents, [1.5, 2, 3, 0.5], turned), type);
                var back = Nifti.Read(path);
                Assert.Equal(values, back.Values);
                Assert.Equal(extents, back.Extents);
                Assert.Equal(turned.Rows, back.Affine.Rows);
            }
        Assert.DoesNotContain(Directory.GetFiles(folder), file => file.EndsWith(".part", StringComparison.Ordinal));
    }

    // These are the positions of NIfTI-1's fields (nifti1.h), which the project's own reader alone might get wrong.
    [Fact]
    public void The_header_has_each_field_in_its_place()
    {
        Nifti.Write(PathOf("header.nii"), new(new float[24], [2, 3, 4], [1.5, 2, 3], turned), NiftiType.Int16);
        var header = File.ReadAllBytes(PathOf("header.nii"));
        Assert.Equal(352 + 24 * 2, header.Length);
        Assert.Equal(348, BitConverter.ToInt32(header, 0));
        Assert.Equal<short>([3, 2, 3, 4, 1, 1, 1, 1], MemoryMarshal.Cast<byte, short>(header.AsSpan(40, 16)).ToArray());
        Assert.Equal<short>([(short)NiftiType.Int16, 16], MemoryMarshal.Cast<byte, short>(header.AsSpan(70, 4)).ToArray());
        Assert.Equal<float>([1, 1.5f, 2, 3, 1, 1, 1, 1], MemoryMarshal.Cast<byte, float>(header.AsSpan(76, 32)).ToArray());
        // the start of the values, slope and intercept
        Assert.Equal<float>([352, 1, 0], MemoryMarshal.Cast<byte, float>(header.AsSpan(108, 12)).ToArray());
        Assert.Equal(10, header[123]);
        Assert.Equal<short>([0, 1], MemoryMarshal.Cast<byte, short>(header.AsSpan(252, 4)).ToArray());
        Assert.Equal(turned.Rows.Select(number => (float)number), MemoryMarshal.Cast<byte, float>(header.AsSpan(280, 48)).ToArray());
        Assert.Equal("n+1\0"u8.ToArray(), header[344..348]);
        Assert.Equal(new byte[4], header[348..352]);
    }

    [Fact]
    public void What_is_written_nibabel_reads()
    {
        const string Script = "import sys, nibabel; v = nibabel.load(sys.argv[1]); print(v.get_data_dtype(), v.shape, "
            + "v.affine[:3].ravel().tolist(), v.get_fdata().ravel(order='F')[:6].tolist())";
        if (!File.Exists("/usr/bin/python3") || Python("-c", "import nibabel") is null)
            Assert.Skip("No nibabel: apt-get install python3-nibabel.");
        ushort[] labels = [0, 1, 2, 3, 4, 255, 0, 0];
        Nifti.Write(PathOf("mask.nii.gz"), Volume.OfLabels(labels, [1, 2, 4], turned), NiftiType.UInt8);
        Assert.Equal(
            "uint8 (4, 2, 1) [-1.5, 0.25, 0.0, 90.0, 0.25, 2.0, 0.5, -126.0, 0.0, -0.5, 3.0, -72.0] [0.0, 1.0, 2.0, 3.0, 4.0, 255.0]",
            Python("-c", Script, PathOf("mask.nii.gz"))!.Trim());

        static string? Python(params string[] arguments)
        {
            using var process = Process.Start(new ProcessStartInfo("/usr/bin/python3", arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            var output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0 ? output : null;
        }
    }

    // nibabel refuses such a file. A slope without its intercept is undefined.
    [Fact]
    public void An_intercept_that_is_no_number_means_no_scaling()
    {
        var path = PathOf("scaled.nii");
        Nifti.Write(path, new([1, 2, 3], [3, 1, 1], [1, 1, 1], turned));
        var bytes = File.ReadAllBytes(path);
        BitConverter.TryWriteBytes(bytes.AsSpan(112), 2f);
        BitConverter.TryWriteBytes(bytes.AsSpan(116), 0.5f);
        File.WriteAllBytes(path, bytes);
        Assert.Equal([2.5f, 4.5f, 6.5f], Nifti.Read(path).Values);
        BitConverter.TryWriteBytes(bytes.AsSpan(116), float.PositiveInfinity);
        File.WriteAllBytes(path, bytes);
        Assert.Equal([1, 2, 3], Nifti.Read(path).Values);
    }

    // The first element of pixdim gives the direction of the third axis. Writers that do not know it leave 0.
    [Theory, InlineData(1f, 1), InlineData(0f, 1), InlineData(-1f, -1)]
    public void The_third_axis_goes_back_only_where_the_file_says_so(float sign, double wanted)
    {
        var path = PathOf("third.nii");
        Nifti.Write(path, new([1], [1, 1, 1], [3, 1, 1], turned));
        var bytes = File.ReadAllBytes(path);
        BitConverter.TryWriteBytes(bytes.AsSpan(76), sign);
        BitConverter.TryWriteBytes(bytes.AsSpan(252), (short)1);
        BitConverter.TryWriteBytes(bytes.AsSpan(254), (short)0);
        foreach (var at in (int[])[256, 260, 264]) BitConverter.TryWriteBytes(bytes.AsSpan(at), 0f);
        File.WriteAllBytes(path, bytes);
        Assert.Equal(wanted, Nifti.Read(path).Affine.Rows[10], 1e-6);
    }

    // In float32 the quaternion of a half turn may be a little longer than 1. Then a = sqrt(1 - b² - c² - d²) is 0, and not NaN.
    [Fact]
    public void A_quaternion_a_little_too_long_is_a_half_turn()
    {
        var path = PathOf("turned.nii");
        Nifti.Write(path, new([1], [1, 1, 1], [1, 1, 1], turned));
        var bytes = File.ReadAllBytes(path);
        BitConverter.TryWriteBytes(bytes.AsSpan(252), (short)1);
        BitConverter.TryWriteBytes(bytes.AsSpan(254), (short)0);
        foreach (var (at, value) in new[] { (256, 0.6f), (260, 0.8f), (264, 1e-3f), (268, 1f), (272, 2f), (276, 3f) })
            BitConverter.TryWriteBytes(bytes.AsSpan(at), value);
        File.WriteAllBytes(path, bytes);
        var rows = Nifti.Read(path).Affine.Rows;
        double[] wanted = [0.36 - 0.64, 0.96, 0.0012, 1, 0.96, 0.64 - 0.36, 0.0016, 2, 0.0012, 0.0016, -1, 3];
        for (var i = 0; i < rows.Count; i++) Assert.Equal(wanted[i], rows[i], 1e-5);
    }

    [Theory]
    [InlineData(NiftiType.UInt8, 256)]
    [InlineData(NiftiType.UInt8, -1)]
    [InlineData(NiftiType.Int16, 0.5)]
    [InlineData(NiftiType.Int32, double.NaN)]
    public void A_type_that_cannot_hold_a_value_is_refused_and_the_old_file_stays(NiftiType type, double value)
    {
        var path = PathOf("kept.nii.gz");
        Nifti.Write(path, new([1], [1, 1, 1], [1, 1, 1], turned));
        var message =
            Assert.Throws<ArgumentException>(() => Nifti.Write(path, new([(float)value], [1, 1, 1], [1, 1, 1], turned), type)).Message;
        Assert.Contains($"cannot hold {(float)value} as {type}", message, StringComparison.Ordinal);
        Assert.Equal([1], Nifti.Read(path).Values);
        Assert.Equal([path], Directory.GetFiles(folder));
    }

    [Theory]
    [InlineData("whole.nii.gz")]
    [InlineData("whole.nii")]
    [InlineData("cut.nii.gz")]
    public void A_file_that_was_read_is_closed(string name)
    {
        var path = PathOf(name);
        Nifti.Write(path, new([1, 2], [2, 1, 1], [1, 1, 1], turned));
        if (name.StartsWith("cut", StringComparison.Ordinal)) File.WriteAllBytes(path, File.ReadAllBytes(path)[..^12]);
        try { Nifti.Read(path); }
        catch (InvalidDataException) { }
        using var alone = File.Open(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
    }

    [Theory]
    [InlineData("1 x 1 x 1 x 1 x 1 cannot be written", 1, 1, 1, 1, 1)]
    [InlineData("cannot be written")]
    [InlineData("32768 x 1 x 1 cannot be written", 32768, 1, 1)]
    [InlineData("0 x 1 x 1 cannot be written", 0, 1, 1)]
    [InlineData("2 x 1 x 1 has 1 values", 2, 1, 1)]
    [InlineData(null, 1, 1, 1, 1)]
    [InlineData(null, 1)]
    public void What_the_format_cannot_hold_is_not_written(string? says, params int[] extents)
    {
        void Write() =>
            Nifti.Write(PathOf("one.nii"), new(new float[extents is [32768, ..] ? 32768 : 1], extents, [1, 1, 1, 1, 1], turned));
        if (says is null) Write();
        else Assert.Contains(says, Assert.Throws<ArgumentException>(Write).Message, StringComparison.Ordinal);
        Assert.Equal(says is null, File.Exists(PathOf("one.nii")));
    }

    [Theory]
    [InlineData("missing", "No file")]
    [InlineData("empty", "cut short: found 0 bytes")]
    [InlineData("short header", "wanted a header of 348")]
    [InlineData("short numbers", "wanted 60 numbers of 4 bytes from byte 352 on")]
    [InlineData("truncated gzip", "Get the file again")]
    [InlineData("no gzip", "no gzip file")]
    [InlineData("foreign", "found 1684234849 at byte 0, wanted 348 or 540")]
    [InlineData("magic", "found 'abc' at byte 344")]
    [InlineData("type", "NIfTI type 32")]
    [InlineData("extent", "3 x -4 x 5")]
    [InlineData("rank", "rank 9")]
    [InlineData("pair", "No file")]
    [InlineData("rgb series", "5 axes")]
    public void What_is_no_volume_is_refused(string kind, string says)
    {
        var path = PathOf("bad.nii");
        Nifti.Write(path, new(new float[60], [3, 4, 5], [1, 1, 1], turned));
        var bytes = File.ReadAllBytes(path);
        switch (kind)
        {
            case "missing": path = PathOf("none.nii.gz"); break;
            case "empty": bytes = []; break;
            case "short header": bytes = bytes[..200]; break;
            case "short numbers": bytes = bytes[..^1]; break;
            case "truncated gzip":
                Nifti.Write(
                    path += ".gz", new([.. Enumerable.Range(0, 6000).Select(i => (float)Math.Sin(i * i))], [30, 40, 5], [1, 1, 1], turned));
                bytes = File.ReadAllBytes(path)[..^5000];
                break;
            case "no gzip": path += ".gz"; break;
            case "foreign": "abcd"u8.CopyTo(bytes); break;
            case "magic": "abc"u8.CopyTo(bytes.AsSpan(344)); break;
            case "type": bytes[70] = 32; break;
            case "extent": bytes[44] = 252; bytes[45] = 255; break;
            case "rank": bytes[40] = 9; break;
            case "pair": "ni1"u8.CopyTo(bytes.AsSpan(344)); path = PathOf("bad.hdr"); break;
            case "rgb series": bytes[40] = 5; bytes[48] = 1; bytes[50] = 3; break;
        }
        if (kind != "missing") File.WriteAllBytes(path, bytes);
        var message = Assert.Throws<InvalidDataException>(() => Nifti.Read(path)).Message;
        Assert.Contains(says, message, StringComparison.Ordinal);
        Assert.Contains(folder, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_gzip_cut_anywhere_is_refused()
    {
        var path = PathOf("cut.nii.gz");
        Nifti.Write(path, new([.. Enumerable.Range(0, 60).Select(i => (float)Math.Sin(i * i))], [3, 4, 5], [1, 1, 1], turned));
        var bytes = File.ReadAllBytes(path);
        for (var length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(path, bytes[..length]);
            Assert.Throws<InvalidDataException>(() => Nifti.Read(path));
        }
    }

    [Theory, InlineData(1), InlineData(511), InlineData(3000)]
    public void What_follows_a_gzip_stream_is_passed_over(int bytes)
    {
        var path = PathOf("tail.nii.gz");
        float[] values = [.. Enumerable.Range(0, 6000).Select(i => (float)Math.Sin(i * i))];
        Nifti.Write(path, new(values, [30, 40, 5], [1, 1, 1], turned));
        File.AppendAllBytes(path, [.. Enumerable.Repeat((byte)'\n', bytes)]);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(values, Nifti.Read(path).Values);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);    // the numbers at the end of the file claim more
    }

    [Fact]
    public void Numbers_are_read_in_whole_pieces()
    {
        var path = PathOf("long.nii");
        float[] values = [.. Enumerable.Range(0, 70_000 * 3).Select(i => (float)(i % 30_011))];
        Nifti.Write(path, new(values, [7000, 10, 3], [1, 1, 1], turned), NiftiType.Int16);
        Assert.Equal(values, Nifti.Read(path).Values);
    }

    [Fact]
    public void An_affine_times_its_inverse_changes_nothing()
    {
        var (x, y, z) = turned.At(3, -4, 5);
        var (i, j, k) = turned.Inverse().At(x, y, z);
        Assert.All([i - 3, j + 4, k - 5], difference => Assert.Equal(0, difference, 1e-12));
        Assert.Contains(
            "span space", Assert.Throws<InvalidDataException>(() => Affine.Of(1, 0, 1).Inverse()).Message, StringComparison.Ordinal);
    }
}
