using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Actipress.Data;

/// <summary>MNIST: 60 000 and 10 000 handwritten digits of 28 x 28, in the four original IDX files, gzipped or not.</summary>
public static class Mnist
{
    const int ImagesMagic = 0x803, LabelsMagic = 0x801;

    static readonly (string File, int Magic, int Count, string Md5)[] files =
    [
        ("train-images-idx3-ubyte", ImagesMagic, 60_000, "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1-ubyte", LabelsMagic, 60_000, "a25bea736e30d166cdddb491f175f624"),
        ("t10k-images-idx3-ubyte", ImagesMagic, 10_000, "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1-ubyte", LabelsMagic, 10_000, "27ae3e4e09519cfbb04c329615203637"),
    ];

    /// <summary>Where the files can be downloaded.</summary>
    const string Mirror = "https://ossci-datasets.s3.amazonaws.com/mnist/";

    /// <summary>Reads the four files.</summary>
    /// <param name="folder">The folder that holds them.</param>
    /// <exception cref="InvalidDataException">
    /// A file is missing, truncated, of another format or of another data set; the message says which and where.
    /// </exception>
    public static ImageClasses Load(string folder)
    {
        if (!Directory.Exists(folder))
            throw new InvalidDataException($"No folder {folder}: wanted one with MNIST's four files. Give another with --data-dir, or get "
                + "them with --download.");
        var parts = Array.ConvertAll(files, file => Read(Find(folder, file.File), file.Magic, file.Count, file.Md5));
        return new("mnist", Images(parts[0], parts[1]), Images(parts[2], parts[3]));

        static LabelledImages Images(byte[] pixels, byte[] labels) => new(pixels, labels, 28, 28) { Name = "mnist", Classes = 10 };
    }

    static string Find(string folder, string name)
    {
        foreach (var file in (string[])[name + ".gz", name])
            if (Path.Combine(folder, file) is var path && File.Exists(path)) return path;
        throw new InvalidDataException($"No {name}.gz or {name} in {folder}: wanted MNIST's four files. Give another folder with "
            + "--data-dir, or get them with --download.");
    }

    static byte[] Read(string path, int magic, int count, string md5)
    {
        var bytes = Gzip.All(path);
        var header = magic == ImagesMagic ? 16 : 8;
        var wanted = header + count * (magic == ImagesMagic ? 28 * 28 : 1);
        if (bytes.Length < 4)
            throw new InvalidDataException($"{path} is cut short: found {bytes.Length} bytes, wanted {wanted}. Get the file again.");
        var found = BinaryPrimitives.ReadInt32BigEndian(bytes);
        if (found != magic)
            throw new InvalidDataException($"{path} is no IDX file of this kind: found magic number 0x{found:x8} at byte 0, wanted "
                + $"0x{magic:x8}. Get MNIST's own file.");
        if (bytes.Length != wanted)
            throw new InvalidDataException($"{path} is {(bytes.Length < wanted ? "cut short" : "too long")}: found {bytes.Length} bytes, "
                + $"wanted {wanted}. Get the file again.");
        var sum = Convert.ToHexStringLower(MD5.HashData(bytes));
        if (sum != md5)
            throw new InvalidDataException($"{path} is not MNIST's: found content with MD5 {sum}, wanted {md5}. Get MNIST's own file.");
        return bytes[header..];
    }

    /// <summary>
    /// Downloads the missing ones of the four files. Each file appears in the folder when it is complete and has been checked.
    /// </summary>
    /// <param name="folder">The folder, which is made where it does not exist.</param>
    /// <param name="progress">Called with each file before it is downloaded.</param>
    /// <param name="cancellation">Ends the download; complete files stay.</param>
    /// <param name="mirror">The URL of a folder with the four files, ending in a slash; null for a public server.</param>
    /// <exception cref="HttpRequestException">
    /// The server cannot be reached or refuses, or a file ends too early; the message says which.
    /// </exception>
    /// <exception cref="InvalidDataException">The server sent another file than MNIST's; the message says which.</exception>
    public static async Task DownloadAsync(string folder, IProgress<string>? progress, CancellationToken cancellation, Uri? mirror = null)
    {
        Directory.CreateDirectory(folder);
        using var client = new HttpClient();
        foreach (var (name, magic, count, md5) in files)
        {
            var path = Path.Combine(folder, name + ".gz");
            if (File.Exists(path)) continue;
            progress?.Report($"downloading {name}.gz");
            var from = new Uri(mirror ?? new Uri(Mirror), name + ".gz");
            try
            {
                var bytes = await client.GetByteArrayAsync(from, cancellation).ConfigureAwait(false);
                WholeFile.Write(path, part =>
                {
                    File.WriteAllBytes(part, bytes);
                    Read(part, magic, count, md5);
                });
            }
            catch (HttpRequestException failure)
            {
                var message = $"No {from}: {failure.Message} Get MNIST's four files otherwise, and give their folder with --data-dir.";
                throw new HttpRequestException(failure.HttpRequestError, message, failure, failure.StatusCode);
            }
            catch (InvalidDataException failure)
            {
                throw new InvalidDataException($"What {from} sent is no file of MNIST: {failure.Message}", failure);
            }
        }
    }
}
