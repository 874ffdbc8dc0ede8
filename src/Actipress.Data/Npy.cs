using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using static TorchSharp.torch;

namespace Actipress.Data;

/// <summary>NumPy's file format for one array, versions 1 and 2: little-endian floats and integers in C order.</summary>
public static partial class Npy
{
    /// <summary>The number of bytes of one number in the file, by the name of its type in NumPy.</summary>
    /// <exception cref="InvalidDataException">Not such a file.</exception>
    public static int BytesOfNumber(string path)
    {
        using var file = new BinaryReader(File.OpenRead(path));
        var start = file.ReadBytes(1 << 12);
        var type = Descr().Match(System.Text.Encoding.Latin1.GetString(start)).Groups[1].Value;
        return start.AsSpan().StartsWith(Magic) && char.IsAsciiDigit(type.LastOrDefault())
            ? type[^1] - '0'
            : throw new InvalidDataException($"{path} is no .npy file whose numbers' type can be told: save it with numpy.save.");
    }

    static ReadOnlySpan<byte> Magic => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    /// <summary>Reads an array of any number type as float32; the caller disposes it.</summary>
    /// <exception cref="InvalidDataException">Not such a file, or cut short; the message says where.</exception>
    public static Tensor Read(string path)
    {
        return Read(File.ReadAllBytes(path), path);
    }

    /// <summary>Reads an array from a file's bytes, which messages call <paramref name="path"/>.</summary>
    /// <exception cref="InvalidDataException">Not such a file, or cut short.</exception>
    public static Tensor Read(byte[] bytes, string path)
    {
        ArgumentNullException.ThrowIfNull(bytes);
        if (bytes.Length < 10 || !bytes.AsSpan(0, 6).SequenceEqual(Magic))
            throw new InvalidDataException($"{path} is no .npy file: wanted it to start with \\x93NUMPY.");
        if (bytes[6] is not (1 or 2))
            throw new InvalidDataException($"{path} is a .npy file of version {bytes[6]}: wanted 1 or 2. Save it with numpy.save.");
        var start = bytes[6] == 1 ? 10 : 12;
        if (bytes.Length < start)
            throw new InvalidDataException($"{path} is cut short: its header starts at byte {start}, but the file has {bytes.Length}.");
        var size = bytes.AsSpan(8);
        var length = start == 10 ? BinaryPrimitives.ReadUInt16LittleEndian(size) : BinaryPrimitives.ReadInt32LittleEndian(size);
        if (length < 0 || length > bytes.Length - start)
            throw new InvalidDataException($"{path} is cut short: its header of {length} bytes starts at byte {start}, but the file has "
                + $"{bytes.Length}.");
        var header = System.Text.Encoding.Latin1.GetString(bytes, start, length);
        var (descr, order, dims) = (Descr().Match(header), Order().Match(header), Shape().Match(header));
        if (!descr.Success || !order.Success || !dims.Success) throw NoHeader();
        if (order.Groups[1].Value == "True")
            throw new InvalidDataException($"{path} is in Fortran order: wanted C order. Save numpy.ascontiguousarray of it.");
        const StringSplitOptions Trimmed = StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries;
        var shape = dims.Groups[1].Value.Split(',', Trimmed).Select(Extent).ToArray();
        // Also for an array without elements the other extents must be possible ones.
        if (shape.Where(extent => extent > 0).Aggregate(1.0, (a, b) => a * b) > int.MaxValue)
            throw new InvalidDataException($"{path} has {string.Join(" x ", shape)} numbers: wanted fewer than 2^31.");
        var elements = shape.Aggregate(1L, (a, b) => a * b);
        var data = bytes.AsSpan(start + length);
        var values = descr.Groups[1].Value switch
        {
            "<f4" => Convert<float>(data, x => x),
            "<f8" => Convert<double>(data, x => (float)x),
            "<f2" => Convert<Half>(data, x => (float)x),
            "|u1" => Convert<byte>(data, x => x),
            "|i1" => Convert<sbyte>(data, x => x),
            "<u2" => Convert<ushort>(data, x => x),
            "<i2" => Convert<short>(data, x => x),
            "<i4" => Convert<int>(data, x => x),
            "<i8" => Convert<long>(data, x => x),
            var other => throw new InvalidDataException($"{path} holds numbers of type {other}: wanted <f4, <f8, <f2, |u1, |i1, <u2, <i2, "
                + "<i4 or <i8."),
        };
        using var flat = tensor(values);
        return flat.view(shape);

        long Extent(string text) =>
            long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var extent) ? extent : throw NoHeader();

        InvalidDataException NoHeader()
        {
            var found = header.Length > 200 ? header[..200] + "..." : header;
            return new($"{path} has no header that can be read: found {found.Trim()}. Save it with numpy.save.");
        }

        float[] Convert<T>(ReadOnlySpan<byte> data, Func<T, float> convert) where T : unmanaged
        {
            var size = Marshal.SizeOf<T>();
            if (data.Length < elements * size)
                throw new InvalidDataException($"{path} is cut short: wanted {elements} numbers of {size} bytes from byte {start + length} "
                    + $"on, but the file has {bytes.Length} bytes.");
            var values = new float[elements];
            var source = MemoryMarshal.Cast<byte, T>(data);
            for (var i = 0; i < values.Length; i++) values[i] = convert(source[i]);
            return values;
        }
    }

    /// <summary>Writes a tensor: float16 as it is, and all other types as float32.</summary>
    /// <param name="path">The file, which is replaced when the new one is complete.</param>
    /// <param name="array">Any shape and number type; not disposed.</param>
    public static void Write(string path, Tensor array)
    {
        ArgumentNullException.ThrowIfNull(array);
        var half = array.dtype == ScalarType.Float16;
        using var numbers = array.to(half ? float16 : float32);
        using var contiguous = numbers.contiguous();
        var shape = array.shape;
        var header = $"{{'descr': '{(half ? "<f2" : "<f4")}', 'fortran_order': False, 'shape': "
            + $"({string.Join(", ", shape)}{(shape.Length == 1 ? "," : "")}), }}";
        header = header.PadRight((header.Length + 11 + 63) / 64 * 64 - 11) + "\n";
        WholeFile.Write(path, part =>
        {
            using var file = File.Create(part);
            file.Write(Magic);
            file.Write([1, 0, .. BitConverter.GetBytes((ushort)header.Length), .. System.Text.Encoding.Latin1.GetBytes(header)]);
            if (contiguous.NumberOfElements > 0) file.Write(half ? Bytes<Half>() : Bytes<float>());
        });

        ReadOnlySpan<byte> Bytes<T>() where T : unmanaged => MemoryMarshal.AsBytes(contiguous.data<T>().ToArray().AsSpan());
    }

    [GeneratedRegex("'descr': *'([^']*)'")]
    private static partial Regex Descr();

    [GeneratedRegex("'fortran_order': *(True|False)")]
    private static partial Regex Order();

    [GeneratedRegex(@"'shape': *\(([0-9, ]*)\)")]
    private static partial Regex Shape();
}
