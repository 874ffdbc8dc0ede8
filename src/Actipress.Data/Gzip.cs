using System.Buffers.Binary;
using System.IO.Compression;

namespace Actipress.Data;

static class Gzip
{
    // Deflate makes no more than this of a byte.
    const long LargestRatio = 1032;

    /// <summary>A file's content, unpacked where it is gzipped.</summary>
    /// <exception cref="InvalidDataException">It is cut short or damaged; the message says where.</exception>
    public static byte[] Content(string path)
    {
        using var file = File.OpenRead(path);
        if (file.Length > Array.MaxLength) throw new InvalidDataException($"{path} has {file.Length} bytes: wanted at most {Array.MaxLength}.");
        var (first, second) = (file.ReadByte(), file.ReadByte());
        if ((first, second) != (0x1F, 0x8B))
        {
            if (path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase))
                throw new InvalidDataException($"{path} is {(file.Length < 2 ? "cut short" : "no gzip file")}: found {file.Length} bytes that do not begin with 1f 8b. Get the file again, or drop .gz from its name if it is not packed.");
            file.Position = 0;
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return bytes;
        }
        // The last four bytes tell the size, modulo 2^32, of the last member: a guess that is mostly right.
        Span<byte> trailer = stackalloc byte[4];
        if (file.Length >= 18)
        {
            file.Position = file.Length - 4;
            file.ReadExactly(trailer);
        }
        var guess = BinaryPrimitives.ReadUInt32LittleEndian(trailer);
        file.Position = 0;
        using var gzip = new GZipStream(file, CompressionMode.Decompress);
        using var content = new MemoryStream((int)Math.Min(guess, Math.Min(file.Length * LargestRatio, Array.MaxLength)));
        try { gzip.CopyTo(content); }
        catch (IOException) when (content.Length > Array.MaxLength - (1 << 24))
        {
            throw new InvalidDataException($"{path} unpacks to more than {content.Length} bytes: wanted at most {Array.MaxLength}.");
        }
        catch (InvalidDataException failure) { throw new InvalidDataException($"{path} is damaged: {failure.Message} after {content.Length} bytes. Get the file again.", failure); }
        if (content.Length < guess) throw new InvalidDataException($"{path} is cut short: its content ends after {content.Length} bytes, wanted {guess}. Get the file again.");
        return content.Length == content.Capacity ? content.GetBuffer() : content.ToArray();
    }
}
