using System.IO.Compression;

namespace Actipress.Data;

static class Gzip
{
    /// <summary>A file's content, unpacked where its name ends in <c>.gz</c>.</summary>
    /// <exception cref="InvalidDataException">It is cut short or damaged; the message says where.</exception>
    public static byte[] Content(string path)
    {
        using var file = File.OpenRead(path);
        if (!path.EndsWith(".gz", StringComparison.Ordinal))
        {
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return bytes;
        }
        using var gzip = new GZipStream(file, CompressionMode.Decompress);
        using var content = new MemoryStream();
        try { gzip.CopyTo(content); }
        catch (InvalidDataException failure) { throw new InvalidDataException($"{path} is damaged: {failure.Message} after {content.Length} bytes. Get the file again.", failure); }
        return content.ToArray();
    }
}
