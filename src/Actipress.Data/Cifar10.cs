namespace Actipress.Data;

/// <summary>CIFAR-10 in its binary version: 32 x 32 colour images of ten classes, a label byte and 3072 bytes of pixels each.</summary>
public static class Cifar10
{
    /// <summary>
    /// Reads every <c>.bin</c> and <c>.bin.gz</c> file of a folder. <c>test_batch</c> is for testing. Where there is no such file, every
    /// fifth image is for testing.
    /// </summary>
    /// <param name="folder">The folder that holds them.</param>
    /// <exception cref="InvalidDataException">
    /// There is none, or one is truncated or of another format; the message says which and where.
    /// </exception>
    public static ImageClasses Load(string folder) => CifarRecords.Load("CIFAR-10", folder, "data_batch_1.bin", [10], labelAt: 0);
}

/// <summary>CIFAR-100 in its binary version: 32 x 32 colour images of a hundred classes in twenty superclasses.</summary>
public static class Cifar100
{
    /// <summary>
    /// Reads every <c>.bin</c> and <c>.bin.gz</c> file of a folder. <c>test.bin</c> is for testing. Where there is no such file, every
    /// fifth image is for testing.
    /// </summary>
    /// <param name="folder">The folder that holds them.</param>
    /// <param name="coarse">Whether labels are the twenty superclasses in place of the hundred classes.</param>
    /// <exception cref="InvalidDataException">
    /// There is none, or one is truncated or of another format; the message says which and where.
    /// </exception>
    public static ImageClasses Load(string folder, bool coarse = false) =>
        CifarRecords.Load("CIFAR-100", folder, "train.bin", [20, 100], labelAt: coarse ? 0 : 1);
}

// Reads records of one or two label bytes and the planes of red, green and blue.
static class CifarRecords
{
    const int Edge = 32, Channels = 3, Pixels = Channels * Edge * Edge;

    public static ImageClasses Load(string name, string folder, string example, int[] classes, int labelAt)
    {
        var all = Directory.Exists(folder) ? Directory.GetFiles(folder).Order(StringComparer.Ordinal) : Enumerable.Empty<string>();
        var files = all.Where(file => file.EndsWith(".bin", StringComparison.Ordinal) || file.EndsWith(".bin.gz", StringComparison.Ordinal))
            .ToArray();
        if (files.Length == 0)
            throw new InvalidDataException($"No {name} in {folder}: wanted its binary version, files such as {example} or {example}.gz.");
        var (train, test) = (new List<ReadOnlyMemory<byte>>(), new List<ReadOnlyMemory<byte>>());
        foreach (var file in files)
            (Path.GetFileName(file).StartsWith("test", StringComparison.Ordinal) ? test : train).AddRange(Read(name, file, classes));
        if (train.Count == 0)
            throw new InvalidDataException($"No images to train on in {folder}: wanted {example} and so on beside "
                + $"{Path.GetFileName(files[0])}.");
        if (test.Count == 0) (train, test) = ([.. train.Where((_, i) => i % 5 != 4)], [.. train.Where((_, i) => i % 5 == 4)]);
        var word = name.ToLowerInvariant().Replace("-", "", StringComparison.Ordinal);
        return new(word, Images(train), Images(test));

        LabelledImages Images(List<ReadOnlyMemory<byte>> records)
        {
            var (pixels, labels) = (new byte[checked(records.Count * Pixels)], new byte[records.Count]);
            for (var i = 0; i < labels.Length; i++)
            {
                labels[i] = records[i].Span[labelAt];
                records[i].Span[classes.Length..].CopyTo(pixels.AsSpan(i * Pixels));
            }
            return new(pixels, labels, Edge, Edge, Channels) { Name = word, Classes = classes[labelAt] };
        }
    }

    static IEnumerable<ReadOnlyMemory<byte>> Read(string name, string path, int[] classes)
    {
        var bytes = Gzip.All(path);
        var record = classes.Length + Pixels;
        if (bytes.Length == 0 || bytes.Length % record != 0)
            throw new InvalidDataException($"{path} is cut short or no file of {name}: found {bytes.Length} bytes, wanted a multiple of "
                + $"{record}. Get the file again.");
        for (var at = 0; at < bytes.Length; at += record)
            for (var label = 0; label < classes.Length; label++)
                if (bytes[at + label] >= classes[label])
                    throw new InvalidDataException($"{path} is no file of {name}: found label {bytes[at + label]} at byte {at + label}, "
                        + $"wanted 0 to {classes[label] - 1}. Get {name}'s own file.");
        return Enumerable.Range(0, bytes.Length / record).Select(i => new ReadOnlyMemory<byte>(bytes, i * record, record));
    }
}
