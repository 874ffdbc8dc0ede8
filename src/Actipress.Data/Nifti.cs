using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Actipress.Data;

/// <summary>How a NIfTI file stores a number, with NIfTI's own codes.</summary>
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
    /// <summary>Reads a volume; its values are those stored, times the file's slope, plus its intercept.</summary>
    /// <param name="path">The file; of a pair, either.</param>
    /// <exception cref="InvalidDataException">Not such a file, cut short, or of a type without plain numbers; the message says what was found where.</exception>
    public static Volume Read(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (Sibling(path, ".img", ".hdr") is { } headerPath) return Read(headerPath);
        if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted a NIfTI volume, .nii, .nii.gz or .hdr beside .img.");
        var content = Gzip.Content(path);
        var header = new NiftiHeader(content, path);
        if (header.IsPair)
        {
            path = Sibling(path, ".hdr", ".img")
                ?? throw new InvalidDataException($"{path} has its numbers in a file of their own: wanted one beside it, of the same name with .hdr for .img. Convert both to one .nii.gz.");
            if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted the numbers that belong to the header beside it.");
            content = Gzip.Content(path);
        }
        var extents = header.Extents();
        var (count, start, size) = (extents.Aggregate(1L, (product, extent) => product * extent), header.DataStart, Size(header.DataType, path));
        if (start < 0 || content.Length - start < count * size)
            throw new InvalidDataException($"{path} is cut short: wanted {count} numbers of {size} bytes from byte {start} on, but the file has {content.Length} bytes. Get the file again.");
        var numbers = content.AsSpan((int)start, checked((int)(count * size)));
        if (header.BigEndian) Reverse(numbers, size);
        var (slope, intercept) = header.Scale();
        var values = new float[count];
        switch (header.DataType)
        {
            case NiftiType.UInt8: Scale<byte>(); break;
            case NiftiType.Int8: Scale<sbyte>(); break;
            case NiftiType.Int16: Scale<short>(); break;
            case NiftiType.UInt16: Scale<ushort>(); break;
            case NiftiType.Int32: Scale<int>(); break;
            case NiftiType.UInt32: Scale<uint>(); break;
            case NiftiType.Int64: Scale<long>(); break;
            case NiftiType.UInt64: Scale<ulong>(); break;
            case NiftiType.Float32: Scale<float>(); break;
            case NiftiType.Float64: Scale<double>(); break;
        }
        return new(values, extents, header.Spacing(extents.Length), header.Affine());

        void Scale<T>() where T : unmanaged, INumberBase<T>
        {
            var stored = MemoryMarshal.Cast<byte, T>(content.AsSpan((int)start));
            for (var i = 0; i < values.Length; i++) values[i] = (float)(double.CreateTruncating(stored[i]) * slope + intercept);
        }
    }

    static int Size(NiftiType type, string path) => type switch
    {
        NiftiType.UInt8 or NiftiType.Int8 => 1,
        NiftiType.Int16 or NiftiType.UInt16 => 2,
        NiftiType.Int32 or NiftiType.UInt32 or NiftiType.Float32 => 4,
        NiftiType.Int64 or NiftiType.UInt64 or NiftiType.Float64 => 8,
        _ => throw new InvalidDataException($"{path} holds numbers of NIfTI type {(int)type}: wanted 2, 4, 8, 16, 64, 256, 512, 768, 1024 or 1280 (integers of 8 to 64 bits, float32, float64). Convert it to one of them."),
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

    // The other file of a pair; null where the path does not end so.
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
