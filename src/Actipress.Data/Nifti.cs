using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Actipress.Data;

/// <summary>The number types of a NIfTI file, with NIfTI's own codes.</summary>
public enum NiftiType
{
    UInt8 = 2,
    Int16 = 4,
    Int32 = 8,
    Float32 = 16,
    Float64 = 64,
    Int8 = 256,
    UInt16 = 512,
    UInt32 = 768,
    Int64 = 1024,
    UInt64 = 1280,
}

/// <summary>
/// NIfTI-1 and NIfTI-2, in one file (<c>.nii</c>, <c>.nii.gz</c>) or a pair (<c>.hdr</c> and <c>.img</c>, gzipped or not): every integer
/// and floating-point type, both byte orders.
/// </summary>
public static partial class Nifti
{
    const int NumbersAtOnce = 1 << 16;

    /// <summary>Reads a volume. Its values are the stored numbers, times the file's slope, plus its intercept.</summary>
    /// <param name="path">The file; either file of a pair.</param>
    /// <exception cref="InvalidDataException">
    /// The file is no NIfTI file, is cut short, or has a type without plain numbers; the message says what was found, and where.
    /// </exception>
    public static Volume Read(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (Sibling(path, ".img", ".hdr") is { } headerPath) return Read(headerPath);
        if (!File.Exists(path))
            throw new InvalidDataException($"No file {path}: wanted a NIfTI volume, .nii, .nii.gz or .hdr beside .img.");
        NiftiHeader header;
        using (var beginning = Gzip.Open(path))
        {
            header = NiftiHeader.Read(beginning, path);
            if (!header.IsPair) return Numbers(beginning, header, path, header.Bytes.Length);
        }
        path = Sibling(path, ".hdr", ".img")
            ?? throw new InvalidDataException($"{path} has its numbers in a file of their own: wanted one beside it, of the same name "
            + "with .hdr for .img. Convert both to one .nii.gz.");
        if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted the numbers that belong to the header beside it.");
        using var file = Gzip.Open(path);
        return Numbers(file, header, path, 0);
    }

    /// <summary>The number of channels in a file: the extent of its fourth axis, or 1.</summary>
    internal static int Channels(string path) => HeaderOf(path).Extents() is [_, _, _, var channels]
        ? channels : 1;

    // The numbers are read piece by piece, so that only the volume itself is held in memory, whatever its type in the file.
    static Volume Numbers(Gzip.Content file, NiftiHeader header, string path, long position)
    {
        var extents = header.Extents();
        var (count, start, size) =
            (extents.Aggregate(1L, (product, extent) => product * extent), header.DataStart, Size(header.DataType, path));
        if (start < position)
            throw new InvalidDataException($"{path} has its numbers from byte {start} on, inside its header of {position} bytes: wanted "
                + "them behind it. Convert the file to .nii.gz anew.");
        if (file.MostBytes - start < count * size) throw CutShort(file.MostBytes);
        if (file.Skip(start - position) is var skipped && skipped < start - position) throw CutShort(position + skipped);
        var (slope, intercept) = header.Scale();
        var values = new float[count];
        var piece = new byte[Math.Min(count, NumbersAtOnce) * size];
        for (var done = 0L; done < count;)
        {
            var wanted = (int)Math.Min(count - done, NumbersAtOnce);
            var bytes = piece.AsSpan(0, wanted * size);
            if (file.Fill(bytes) is var got && got < bytes.Length) throw CutShort(start + done * size + got);
            if (header.BigEndian) Reverse(bytes, size);
            var into = values.AsSpan((int)done, wanted);
            switch (header.DataType)
            {
                case NiftiType.UInt8: Scale<byte>(bytes, into); break;
                case NiftiType.Int8: Scale<sbyte>(bytes, into); break;
                case NiftiType.Int16: Scale<short>(bytes, into); break;
                case NiftiType.UInt16: Scale<ushort>(bytes, into); break;
                case NiftiType.Int32: Scale<int>(bytes, into); break;
                case NiftiType.UInt32: Scale<uint>(bytes, into); break;
                case NiftiType.Int64: Scale<long>(bytes, into); break;
                case NiftiType.UInt64: Scale<ulong>(bytes, into); break;
                case NiftiType.Float32: Scale<float>(bytes, into); break;
                case NiftiType.Float64: Scale<double>(bytes, into); break;
            }
            done += wanted;
        }
        file.Finish();
        return new(values, extents, header.Spacing(extents.Length), header.Affine()) { HasOrientation = header.HasOrientation };

        void Scale<T>(ReadOnlySpan<byte> bytes, Span<float> into) where T : unmanaged, INumberBase<T>
        {
            var stored = MemoryMarshal.Cast<byte, T>(bytes);
            for (var i = 0; i < into.Length; i++) into[i] = (float)(double.CreateTruncating(stored[i]) * slope + intercept);
        }

        InvalidDataException CutShort(long found) =>
            new($"{path} is cut short: wanted {count} numbers of {size} bytes from byte {start} on, but it has {found} bytes at most. Get "
                + "the file again.");
    }

    static int Size(NiftiType type, string path) => type switch
    {
        NiftiType.UInt8 or NiftiType.Int8 => 1,
        NiftiType.Int16 or NiftiType.UInt16 => 2,
        NiftiType.Int32 or NiftiType.UInt32 or NiftiType.Float32 => 4,
        NiftiType.Int64 or NiftiType.UInt64 or NiftiType.Float64 => 8,
        _ => throw new InvalidDataException($"{path} holds numbers of NIfTI type {(int)type}: wanted 2, 4, 8, 16, 64, 256, 512, 768, 1024 "
            + "or 1280 (integers of 8 to 64 bits, float32, float64). Convert it to one of them."),
    };

    static void Reverse(Span<byte> numbers, int size)
    {
        switch (size)
        {
            case 2: Turn<ushort>(numbers, BinaryPrimitives.ReverseEndianness); break;
            case 4: Turn<uint>(numbers, BinaryPrimitives.ReverseEndianness); break;
            case 8: Turn<ulong>(numbers, BinaryPrimitives.ReverseEndianness); break;
        }

        static void Turn<T>(Span<byte> numbers, Turning<T> turn) where T : unmanaged
        {
            var words = MemoryMarshal.Cast<byte, T>(numbers);
            turn(words, words);
        }
    }

    delegate void Turning<T>(ReadOnlySpan<T> from, Span<T> to);

    // The other file of a pair; null where the path has no ending of a pair.
    static string? Sibling(string path, string ending, string other)
    {
        foreach (var gz in (string[])["", ".gz"])
            if (path.EndsWith(ending + gz, StringComparison.OrdinalIgnoreCase))
            {
                var stem = path[..^(ending + gz).Length] + other;
                return File.Exists(stem) || !File.Exists(stem + ".gz") ? stem : stem + ".gz";
            }
        return null;
    }
}
