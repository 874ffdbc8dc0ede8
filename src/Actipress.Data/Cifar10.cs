namespace Actipress.Data;

/// <summary>CIFAR-10 in its binary version: 32 x 32 colour images of ten classes, a label byte and 3072 bytes of pixels each.</summary>
public static class Cifar10
{
    const int Edge = 32, Channels = 3, Record = 1 + Channels * Edge * Edge;

    /// <summary>
    /// Reads every <c>.bin</c> and <c>.bin.gz</c> file of a folder. <c>test_batch</c> is for testing; where there is none, every
    /// fifth image is.
    /// </summary>
    /// <param name="folder">The folder that holds them.</param>
    /// <exception cref="InvalidDataException">There is none, or one is truncated or of another format; the message says which and where.</exception>
    public static ImageClasses Load(string folder)
    {
        var files = Directory.Exists(folder) ? Directory.GetFiles(folder).Where(file => file.EndsWith(".bin", StringComparison.Ordinal) || file.EndsWith(".bin.gz", StringComparison.Ordinal)).Order(StringComparer.Ordinal).ToArray() : [];
        if (files.Length == 0) throw new InvalidDataException($"No CIFAR-10 in {folder}: wanted its binary version, files such as data_batch_1.bin or data_batch_1.bin.gz.");
        var (train, test) = (new List<byte[]>(), new List<byte[]>());
        foreach (var file in files) (Path.GetFileName(file).StartsWith("test", StringComparison.Ordinal) ? test : train).AddRange(Read(file));
        if (train.Count == 0) throw new InvalidDataException($"No images to train on in {folder}: wanted data_batch_1.bin and so on beside {Path.GetFileName(files[0])}.");
        return test.Count > 0
            ? new("cifar10", Images(train), Images(test))
            : new("cifar10", Images([.. train.Where((_, i) => i % 5 != 4)]), Images([.. train.Where((_, i) => i % 5 == 4)]));
    }

    static byte[][] Read(string path)
    {
        var bytes = Gzip.Content(path);
        if (bytes.Length == 0 || bytes.Length % Record != 0) throw new InvalidDataException($"{path} is cut short or no file of CIFAR-10: found {bytes.Length} bytes, wanted a multiple of {Record}. Get the file again.");
        var records = bytes.Chunk(Record).ToArray();
        var strange = Array.FindIndex(records, record => record[0] > 9);
        if (strange >= 0) throw new InvalidDataException($"{path} is no file of CIFAR-10: found label {records[strange][0]} at byte {(long)strange * Record}, wanted 0 to 9. (CIFAR-100 has other files.)");
        return records;
    }

    static LabelledImages Images(List<byte[]> records) => new([.. records.SelectMany(record => record.Skip(1))], [.. records.Select(record => record[0])], Edge, Edge, Channels);
}
