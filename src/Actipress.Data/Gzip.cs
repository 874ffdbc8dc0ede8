using System.Buffers.Binary;
using System.IO.Compression;

namespace Actipress.Data;

static class Gzip
{
    /// <summary>Creates a file, gzipped where its final name ends in <c>.gz</c>.</summary>
    /// <param name="part">The path at which the file is written.</param>
    /// <param name="path">Its final name once it is complete.</param>
    public static Stream Create(string part, string path) => path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase)
        ? new GZipStream(File.Create(part), CompressionLevel.Optimal) : File.Create(part);

    // The largest number of bytes that deflate can make of one byte.
    const long LargestRatio = 1032;

    // The size at a file's end is trusted up to this limit. Beyond it, memory is allocated as the content is read.
    const long BelievedRatio = 8;

    // The bytes behind a gzip stream are mostly a line break, or zeros up to a whole block.
    const int LongestTail = 1 << 12;

    /// <summary>The content of a file from its beginning on, unpacked where the file is gzipped.</summary>
    /// <exception cref="InvalidDataException">The file's name ends in .gz, and the file is not gzipped.</exception>
    public static Content Open(string path)
    {
        var file = File.OpenRead(path);
        try
        {
            var isGzip = (file.ReadByte(), file.ReadByte()) == (0x1F, 0x8B);
            if (!isGzip && path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase))
                throw new InvalidDataException($"{path} is {(file.Length < 2 ? "cut short" : "no gzip file")}: found {file.Length} bytes "
                    + "that do not begin with 1f 8b. Get the file again, or drop .gz from its name if it is not packed.");
            file.Position = 0;
            return new(path, file, isGzip);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The whole content of a file, unpacked where the file is gzipped. As for gzip itself, bytes behind the gzip stream do not belong to
    /// the content.
    /// </summary>
    /// <exception cref="InvalidDataException">It is cut short or damaged; the message says where.</exception>
    public static byte[] All(string path)
    {
        using var content = Open(path);
        return content.ToEnd();
    }

    /// <summary>A file that is read from front to back.</summary>
    public sealed class Content : IDisposable
    {
        readonly string path;
        readonly FileStream file;
        readonly Stream stream;
        long read;

        internal Content(string path, FileStream file, bool isGzip)
        {
            (this.path, this.file) = (path, file);
            stream = isGzip ? new GZipStream(file, CompressionMode.Decompress) : file;
            MostBytes = isGzip ? file.Length * LargestRatio : file.Length;
        }

        /// <summary>The largest number of bytes that the content can have.</summary>
        public long MostBytes { get; }

        /// <summary>Reads until the span is full or the content ends.</summary>
        /// <returns>The number of bytes.</returns>
        /// <exception cref="InvalidDataException">It is damaged; the message says where.</exception>
        public int Fill(Span<byte> bytes)
        {
            try
            {
                var count = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
                read += count;
                return count;
            }
            catch (InvalidDataException failure)
            {
                throw new InvalidDataException($"{path} is cut short or damaged: {failure.Message} After byte {read} of its content. Get "
                    + "the file again.", failure);
            }
        }

        /// <summary>Reads to the end, and checks it: .NET does not distinguish a complete file from one that was cut short.</summary>
        /// <exception cref="InvalidDataException">It is damaged or cut short; the message says where.</exception>
        public void Finish()
        {
            Skip(long.MaxValue);
            if (stream == file) return;
            // The last four bytes of a gzip stream are the size of its content, modulo 2^32. Other bytes or further streams may follow.
            var end = new byte[Math.Min(file.Length, LongestTail)];
            file.Position = file.Length - end.Length;
            file.ReadExactly(end);
            Span<byte> size = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32LittleEndian(size, (uint)read);
            if (end.Length < 4 || end.AsSpan().LastIndexOf(size) < 0
                && BinaryPrimitives.ReadUInt32LittleEndian(end.AsSpan(end.Length - 4)) > read)
                throw new InvalidDataException($"{path} is cut short: its content ends after {read} bytes, without the end of a gzip "
                    + "stream. Get the file again.");
        }

        /// <summary>Skips bytes.</summary>
        /// <returns>The number of bytes.</returns>
        /// <exception cref="InvalidDataException">It is damaged; the message says where.</exception>
        public long Skip(long bytes)
        {
            if (stream == file)
            {
                var (from, to) = (file.Position, Math.Min(file.Length, file.Position + Math.Min(bytes, file.Length)));
                file.Position = to;
                return to - from;
            }
            var nothing = new byte[Math.Min(bytes, 1 << 16)];
            var skipped = 0L;
            while (skipped < bytes && Fill(nothing.AsSpan(0, (int)Math.Min(nothing.Length, bytes - skipped)))
                is > 0 and var count) skipped += count;
            return skipped;
        }

        internal byte[] ToEnd()
        {
            if (stream == file && file.Length > Array.MaxLength) throw new InvalidDataException($"{path} has {file.Length} bytes: wanted "
                + $"at most {Array.MaxLength}.");
            using var all = new MemoryStream((int)Math.Min(Guess(), Array.MaxLength));
            var piece = new byte[1 << 16];
            while (Fill(piece) is > 0 and var count)
            {
                if (all.Length + count > Array.MaxLength) throw new InvalidDataException($"{path} unpacks to more than {all.Length} "
                    + $"bytes: wanted at most {Array.MaxLength}.");
                all.Write(piece, 0, count);
            }
            Finish();
            return all.Length == all.Capacity ? all.GetBuffer() : all.ToArray();
        }

        // The last four bytes are the size of the last member, modulo 2^32, which is mostly the size of the content.
        long Guess()
        {
            if (stream == file) return file.Length;
            if (file.Length < 18) return 0;
            Span<byte> trailer = stackalloc byte[4];
            file.Position = file.Length - 4;
            file.ReadExactly(trailer);
            file.Position = 0;
            return Math.Min(BinaryPrimitives.ReadUInt32LittleEndian(trailer), file.Length * BelievedRatio);
        }

        /// <inheritdoc/>
        public void Dispose()
        {
            stream.Dispose();
            file.Dispose();
        }
    }
}
