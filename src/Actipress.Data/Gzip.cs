using System.Buffers.Binary;
using System.IO.Compression;

namespace Actipress.Data;

static class Gzip
{
    /// <summary>A new file, gzipped where the name that it is to have ends in <c>.gz</c>.</summary>
    /// <param name="part">Where it is written.</param>
    /// <param name="path">Its name once it is complete.</param>
    public static Stream Create(string part, string path) => path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase)
        ? new GZipStream(File.Create(part), CompressionLevel.Optimal) : File.Create(part);

    // Deflate makes no more than this of a byte.
    const long LargestRatio = 1032;

    // What a file's end says of its size is believed up to this; beyond it, memory is taken as the content comes.
    const long BelievedRatio = 8;

    // What follows a gzip stream is mostly a line's end, or zeros up to a whole block.
    const int LongestTail = 1 << 12;

    /// <summary>A file's content, unpacked where it is gzipped, from its beginning on.</summary>
    /// <exception cref="InvalidDataException">Its name says that it is gzipped, and it is not.</exception>
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

    /// <summary>All of a file's content, unpacked where it is gzipped. What follows a gzip stream is no part of it, as for gzip
    /// itself.</summary>
    /// <exception cref="InvalidDataException">It is cut short or damaged; the message says where.</exception>
    public static byte[] All(string path)
    {
        using var content = Open(path);
        return content.ToEnd();
    }

    /// <summary>A file that is read forwards.</summary>
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

        /// <summary>It has no more bytes than these.</summary>
        public long MostBytes { get; }

        /// <summary>Reads on until the bytes are full or the content ends.</summary>
        /// <returns>How many there were.</returns>
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

        /// <summary>Reads to the end, which .NET does not tell from a file that was cut short.</summary>
        /// <exception cref="InvalidDataException">It is damaged or cut short; the message says where.</exception>
        public void Finish()
        {
            Skip(long.MaxValue);
            if (stream == file) return;
            // The last four bytes of a gzip stream are its content's size, modulo 2^32. Something may follow it, or several streams one
            // another.
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

        /// <summary>Passes over bytes.</summary>
        /// <returns>How many there were.</returns>
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

        // The last four bytes tell the size, modulo 2^32, of the last member: mostly right.
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
