using Actipress.Codecs;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// An activation map as <see cref="Pipeline.Pack(Tensor, ActivationCodec, out LeftRaw)"/> keeps it, on the map's own device. Whoever packed it
/// disposes it.
/// </summary>
public sealed class PackedMap : Packed
{
    static ReadOnlySpan<byte> Magic => "ACTP"u8;
    const byte FormatVersion = 1;

    // What a damaged or hostile header may ask for: any storage takes more bytes than this, but for a ratio beyond all use.
    const long MostElementsPerByte = 1 << 16;

    internal PackedMap(MapHeader header, Stored stored) => (Header, Stored, Bytes) = (header, stored, stored.Bytes);

    internal MapHeader Header { get; }

    internal Stored Stored { get; }

    /// <summary>How it is stored.</summary>
    public ActivationCodec Codec => Header.Codec;

    /// <summary>The map's shape.</summary>
    public long[] Shape => Header.Extents;

    /// <summary>The map's type.</summary>
    public ScalarType Type => Header.Type;

    /// <summary>Whether the map's zeros come back as zeros and everything else as positive.</summary>
    public bool HasExactZeros => Stored.HasZeros;

    /// <summary>The norm of the map's error by the map's own, as a sample of it told while it was packed; null where none was taken.</summary>
    public double? RelativeError => Stored.RelativeError;

    internal override bool KeepsExactZeros => HasExactZeros;

    /// <inheritdoc/>
    public override long Bytes { get; }

    /// <summary>What is kept, where that is tensors.</summary>
    internal Tensor[] Tensors => Stored.Tensors;

    /// <summary>The same map of copies of <see cref="Tensors"/>, which it takes over.</summary>
    internal PackedMap Rebuild(Tensor[] tensors) => new(Header, Stored.With(tensors));

    /// <inheritdoc/>
    public override Tensor Unpack()
    {
        using var gradients = no_grad();
        return Stored.Unpack(Header);
    }

    internal override bool HasRanges => Stored.HasRanges(Header);

    internal override Tensor Unpack(MapRange range) => Stored.Unpack(Header, range);

    /// <inheritdoc/>
    public override void Dispose() => Stored.Dispose();

    /// <summary>The map as a self-describing file, as docs/format.md specifies it.</summary>
    public byte[] ToBytes()
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream, System.Text.Encoding.UTF8);
        writer.Write(Magic);
        writer.Write(FormatVersion);
        writer.Write(Codec.ToString());
        writer.Write((byte)Type);
        writer.Write((byte)Shape.Length);
        foreach (var extent in Shape) writer.Write(extent);
        Stored.Write(writer);
        return stream.ToArray();
    }

    /// <summary>Reads what <see cref="ToBytes"/> wrote, to the CPU; the caller disposes the result.</summary>
    /// <exception cref="InvalidDataException">The bytes are not a packed map, truncated or damaged; the message says where.</exception>
    public static PackedMap Read(ReadOnlySpan<byte> bytes)
    {
        var reader = new PackedReader(bytes);
        if (!reader.Bytes(Magic.Length, "the magic number").SequenceEqual(Magic)) throw reader.Wrong("another magic number", "'ACTP'");
        if (reader.Byte("the version") is var version and not FormatVersion) throw reader.Wrong($"version {version}", $"{FormatVersion}");
        var text = reader.Text("the codec");
        if (!ActivationCodec.TryParse(text, out var codec)) throw reader.Wrong($"the codec '{text}'", "a known one");
        var type = (ScalarType)reader.Byte("the type");
        if (type is not (ScalarType.Float32 or ScalarType.Float64 or ScalarType.Float16 or ScalarType.BFloat16))
            throw reader.Wrong($"type {(byte)type}", "a floating-point type");
        var shape = new long[reader.Byte("the rank")];
        long elements = 1, most = Math.Min(int.MaxValue, bytes.Length * MostElementsPerByte);
        for (var axis = 0; axis < shape.Length; axis++)
        {
            shape[axis] = reader.Int64("the shape");
            if (shape[axis] is < 1 or > int.MaxValue || (elements *= shape[axis]) > most)
                throw reader.Wrong($"axis {axis} of {shape[axis]} elements", $"a map of 1 to {most}");
        }
        if (codec.Transform.Coefficients(MapShape.Of(shape)) is < 1 or > int.MaxValue)
            throw reader.Wrong($"a map of {elements} elements", $"at most {int.MaxValue} coefficients");
        var header = new MapHeader(codec, shape, type);
        return new(header, Pipeline.Implementations.First(one => one.Covers(codec) && one.RunsOn(CPU)).Read(ref reader, header));
    }
}
