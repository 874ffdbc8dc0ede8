using System.Buffers.Binary;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Codecs;

/// <summary>Reads the parts of a packed map's file in order, and says where they are damaged.</summary>
ref struct PackedReader(ReadOnlySpan<byte> all)
{
    readonly ReadOnlySpan<byte> all = all;
    int at;

    public readonly InvalidDataException Wrong(string found, string wanted) =>
        new($"Not a packed map, or a damaged one: found {found} before byte {at}, wanted {wanted}.");

    public ReadOnlySpan<byte> Bytes(long count, string what)
    {
        if (count < 0 || count > all.Length - at)
            throw new InvalidDataException($"A packed map is cut short: {what} of {count} bytes at byte {at}, "
                + $"but only {all.Length - at} follow.");
        at += (int)count;
        return all.Slice(at - (int)count, (int)count);
    }

    public byte Byte(string what) => Bytes(1, what)[0];

    public long Int64(string what) => BinaryPrimitives.ReadInt64LittleEndian(Bytes(sizeof(long), what));

    public string Text(string what) => System.Text.Encoding.UTF8.GetString(Bytes(Byte(what), what));

    /// <summary>Reads a flat tensor, which the caller disposes.</summary>
    /// <param name="wanted">The type of the tensor; null for any type of a section.</param>
    public Tensor Section(ScalarType? wanted)
    {
        var type = (ScalarType)Byte("a section's type");
        if (SizeOf(type) is not { } size || (wanted ?? type) != type)
            throw Wrong($"a section of type {(byte)type}", wanted is null ? "a number's type" : $"{wanted}");
        var elements = Int64("a section's length");
        if (elements < 0 || elements > all.Length) throw Wrong($"a section of {elements} elements", $"at most {all.Length}");
        var bytes = Bytes(elements * size, "a section");
        var section = empty(elements, type);
        bytes.CopyTo(RawBytes(section));
        return section;
    }

    /// <summary>Reads the bits of <see cref="ExactZeros"/> where the file has them; the caller disposes them.</summary>
    public Tensor? Zeros(long elements)
    {
        if (Byte("the flag of exact zeros") == 0) return null;
        var zeros = Section(uint8);
        if (zeros.NumberOfElements == ExactZeros.Bytes(elements)) return zeros;
        using (zeros) throw Wrong($"{zeros.NumberOfElements} bytes of zeros", $"{ExactZeros.Bytes(elements)}");
    }

    public ReadOnlySpan<byte> Rest(string what) => Bytes(all.Length - at, what);

    public readonly void End()
    {
        if (at != all.Length) throw Wrong($"{all.Length - at} bytes more", "the end");
    }

    static int? SizeOf(ScalarType type) => type switch
    {
        ScalarType.Byte or ScalarType.Int8 => 1,
        ScalarType.Int16 or ScalarType.Float16 or ScalarType.BFloat16 => 2,
        ScalarType.Int32 or ScalarType.Float32 => 4,
        ScalarType.Int64 or ScalarType.Float64 => 8,
        _ => null,
    };

    /// <summary>Writes a section for <see cref="Section"/>.</summary>
    public static void Write(BinaryWriter writer, Tensor section)
    {
        using var local = section.cpu();
        using var contiguous = local.contiguous();
        writer.Write((byte)section.dtype);
        writer.Write(section.NumberOfElements);
        writer.Write(RawBytes(contiguous));
    }

    /// <summary>Writes the bits of exact zeros for <see cref="Zeros"/>.</summary>
    public static void WriteZeros(BinaryWriter writer, Tensor? zeros)
    {
        writer.Write(zeros is not null);
        if (zeros is not null) Write(writer, zeros);
    }

    static unsafe Span<byte> RawBytes(Tensor tensor) => new((void*)LibTorch.Data(tensor), checked((int)tensor.Bytes()));
}
