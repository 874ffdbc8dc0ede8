using System.Diagnostics.CodeAnalysis;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Maps;
using Actipress.Transforms;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// An activation map as a codec stores it, on the map's own device. The code that packed it disposes it.
/// </summary>
public sealed class PackedMap : Packed
{
    static ReadOnlySpan<byte> Magic => "ACTP"u8;
    const byte FormatVersion = 2;

    // The limit for a damaged or hostile header. Every storage takes more bytes than this, except at a useless ratio.
    const long MostElementsPerByte = 1 << 16;

    internal PackedMap(MapHeader header, Stored stored) => (Header, Stored, Bytes) = (header, stored, stored.Bytes);

    internal MapHeader Header { get; }

    internal Stored Stored { get; }

    /// <summary>Packs an activation map.</summary>
    /// <param name="map">
    /// Any floating-point type, shape, layout and device; not changed, not disposed. See <see cref="MapShape"/> for what its axes mean.
    /// </param>
    /// <param name="codec">The codec; any but <see cref="ActivationCodec.None"/>.</param>
    /// <param name="packed">The packed map, which the caller disposes; null where the map is better left as it is.</param>
    /// <param name="why">Why nothing was packed.</param>
    /// <returns>Whether the map was packed.</returns>
    public static bool TryPack(Tensor map, ActivationCodec codec, [NotNullWhen(true)] out PackedMap? packed, out LeftRaw why) =>
        (packed = Pipeline.Pack(map, codec, out why)) is not null;

    /// <inheritdoc/>
    public override Tensor Unpack()
    {
        using var gradients = no_grad();
        return Stored.Unpack(Header);
    }

    /// <summary>The codec of the map.</summary>
    public ActivationCodec Codec => Header.Codec;

    /// <summary>The map's shape.</summary>
    public ReadOnlySpan<long> Shape => Header.Extents;

    /// <summary>The map's type.</summary>
    public ScalarType Type => Header.Type;

    /// <summary>Whether the map's zeros are rebuilt as zeros, and all other values as positive.</summary>
    public bool HasExactZeros => Stored.HasZeros;

    /// <summary>
    /// The norm of the map's error, divided by the norm of the map, from a sample that packing took; null where no sample was taken.
    /// </summary>
    public double? RelativeError => Stored.RelativeError;

    internal override bool KeepsExactZeros => HasExactZeros;

    /// <inheritdoc/>
    public override long Bytes { get; }

    /// <summary>The kept tensors, if there are any.</summary>
    internal Tensor[] Tensors => Stored.Tensors;

    /// <summary>The same map with copies of <see cref="Tensors"/>, which the result disposes.</summary>
    internal PackedMap Rebuild(Tensor[] tensors) => new(Header, Stored.With(tensors));

    internal override bool HasRanges => Stored.HasRanges(Header);

    internal override Tensor Unpack(MapRange range) => Stored.Unpack(Header, range);

    /// <inheritdoc/>
    public override void Dispose() => Stored.Dispose();

    /// <summary>The map as a self-describing file, as docs/format.md specifies it.</summary>
    /// <exception cref="InvalidOperationException">The codec has a transform of a program's own, which no file can name.</exception>
    public byte[] ToBytes()
    {
        using var stream = new MemoryStream();
        WriteTo(stream);
        return stream.ToArray();
    }

    /// <summary>Writes the bytes of <see cref="ToBytes"/>.</summary>
    /// <param name="stream">The stream, which stays open.</param>
    /// <exception cref="InvalidOperationException">As for <see cref="ToBytes"/>.</exception>
    public void WriteTo(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (!Codec.HasText)
            throw new InvalidOperationException($"No file for a map of the codec '{Codec}': its transform is this program's own, and no "
                + "text names it. Store the map by one of the library's codecs, or keep it packed in memory.");
        using var writer = new BinaryWriter(stream, System.Text.Encoding.UTF8, leaveOpen: true);
        writer.Write(Magic);
        writer.Write(FormatVersion);
        writer.Write(Codec.ToString());
        writer.Write((byte)Type);
        writer.Write((byte)Shape.Length);
        foreach (var extent in Shape) writer.Write(extent);
        Stored.Write(writer);
    }

    /// <summary>Reads the map of <see cref="WriteTo"/>, up to the stream's end; the caller disposes the result.</summary>
    /// <exception cref="InvalidDataException">As for <see cref="FromBytes"/>.</exception>
    public static PackedMap ReadFrom(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return FromBytes(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    /// <summary>Reads the bytes of <see cref="ToBytes"/>, to the CPU; the caller disposes the result.</summary>
    /// <exception cref="InvalidDataException">The bytes are no packed map, or are truncated or damaged; the message says where.</exception>
    public static PackedMap FromBytes(ReadOnlySpan<byte> bytes)
    {
        var reader = new PackedReader(bytes);
        if (!reader.Bytes(Magic.Length, "the magic number").SequenceEqual(Magic)) throw reader.Wrong("another magic number", "'ACTP'");
        var version = reader.Byte("the version");
        if (version is not (1 or FormatVersion)) throw reader.Wrong($"version {version}", $"1 or {FormatVersion}");
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
        if (version == 1 && HasOtherBlocks(header))
            throw reader.Wrong($"version 1 of '{codec}' on lines, which had larger blocks", $"version {FormatVersion}: pack the map again");
        return new(header, Pipeline.Implementations.First(one => one.Covers(codec) && one.RunsOn(CPU)).Read(ref reader, header));
    }

    // Before version 2, blocks of lines had as many points as blocks of planes, except in grid storage.
    static bool HasOtherBlocks(MapHeader header) =>
        header is { Codec: { Transform: Dct dct, Encoding: SectionEncoding }, Shape.SpatialRank: 1 } && header.Shape.Width > dct.Block;
}
