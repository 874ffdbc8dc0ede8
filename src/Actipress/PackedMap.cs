using System.Buffers.Binary;

using Actipress.Autograd;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>An activation map as <see cref="Pipeline.Pack(Tensor, ActivationCodec, out LeftRaw)"/> keeps it, on the map's own device. Whoever packed it disposes it.</summary>
public sealed class PackedMap : Packed
{
    static ReadOnlySpan<byte> Magic => "ACTP"u8;
    const byte FormatVersion = 1;

    // What a damaged or hostile header may ask for: any storage takes more bytes than this, but for a ratio beyond all use.
    const long MostElementsPerByte = 1 << 16;

    internal PackedMap(ActivationCodec codec, long[] shape, ScalarType type, Tensor? zeros, Tensor[] sections)
    {
        (Codec, Shape, Type, Zeros, Sections) = (codec, shape, type, zeros, sections);
        zeros?.DetachFromDisposeScope();
        foreach (var section in sections) section.DetachFromDisposeScope();
        Bytes = (zeros?.NumberOfElements ?? 0) + sections.Sum(section => section.Bytes());
    }

    internal PackedMap(ActivationCodec codec, long[] shape, ScalarType type, Tensor? zeros, GridMap grid)
        : this(codec, shape, type, zeros, sections: [])
    {
        Grid = grid;
        Bytes += grid.Bytes;
    }

    internal PackedMap(ActivationCodec codec, long[] shape, ScalarType type, GridOnGpu grid)
        : this(codec, shape, type, null, sections: [])
    {
        GridOnGpu = grid;
        Bytes += grid.Bytes;
    }

    /// <summary>How it is stored.</summary>
    public ActivationCodec Codec { get; }

    /// <summary>The map's shape.</summary>
    public long[] Shape { get; }

    /// <summary>The map's type.</summary>
    public ScalarType Type { get; }

    /// <summary>Whether the map's zeros come back as zeros and everything else as positive.</summary>
    public bool HasExactZeros => Zeros is not null || Grid is { HasZeros: true } || GridOnGpu is { HasZeros: true };

    /// <summary>The norm of the map's error by the map's own, as a sample of it told while it was packed; null where none was taken.</summary>
    public double? RelativeError => Grid?.RelativeError;

    internal Tensor? Zeros { get; }
    internal Tensor[] Sections { get; }
    internal GridMap? Grid { get; }
    internal GridOnGpu? GridOnGpu { get; }

    internal override bool KeepsExactZeros => HasExactZeros;

    /// <inheritdoc/>
    public override long Bytes { get; }

    /// <summary>What is kept, where that is tensors.</summary>
    internal Tensor[] Tensors => GridOnGpu?.Tensors ?? [.. Zeros is null ? (Tensor[])[] : [Zeros], .. Sections];

    /// <summary>The same map of copies of <see cref="Tensors"/>, which it takes over.</summary>
    internal PackedMap Rebuild(Tensor[] tensors) => GridOnGpu is not null
        ? new(Codec, Shape, Type, GridOnGpu.Rebuild(tensors))
        : new(Codec, Shape, Type, Zeros is null ? null : tensors[0], tensors[(Zeros is null ? 0 : 1)..]);

    /// <inheritdoc/>
    public override Tensor Unpack() => Pipeline.Unpack(this);

    internal override bool HasRanges => Grid is not null && Actipress.Grid.Fused(Codec.Transform, MapShape.Of(Shape)) is { HaveRanges: true };

    internal override Tensor Unpack(MapRange range) => Actipress.Grid.Unpack(Grid!, this, MapShape.Of(Shape), range);

    /// <inheritdoc/>
    public override void Dispose()
    {
        Zeros?.Dispose();
        Grid?.Dispose();
        GridOnGpu?.Dispose();
        foreach (var section in Sections) section.Dispose();
    }

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
        writer.Write(Zeros is not null);
        if (Zeros is not null) Write(Zeros);
        if (Grid is not null)
        {
            Grid.Write(writer);
            return stream.ToArray();
        }
        if (GridOnGpu is not null)
        {
            GridOnGpu.Write(writer);
            return stream.ToArray();
        }
        writer.Write((byte)Sections.Length);
        foreach (var section in Sections) Write(section);
        return stream.ToArray();

        void Write(Tensor section)
        {
            using var local = section.cpu();
            using var contiguous = local.contiguous();
            writer.Write((byte)section.dtype);
            writer.Write(section.NumberOfElements);
            writer.Write(RawBytes(contiguous));
        }
    }

    /// <summary>Reads what <see cref="ToBytes"/> wrote, to the CPU; the caller disposes the result.</summary>
    /// <exception cref="InvalidDataException">The bytes are not a packed map, truncated or damaged; the message says where.</exception>
    public static PackedMap Read(ReadOnlySpan<byte> bytes)
    {
        var reader = new Reader(bytes);
        if (!reader.Bytes(Magic.Length, "the magic number").SequenceEqual(Magic)) throw reader.Wrong("another magic number", "'ACTP'");
        if (reader.Byte("the version") is var version and not FormatVersion) throw reader.Wrong($"version {version}", $"{FormatVersion}");
        var text = reader.Text("the codec");
        if (!ActivationCodec.TryParse(text, out var codec)) throw reader.Wrong($"the codec '{text}'", "a known one");
        var type = (ScalarType)reader.Byte("the type");
        if (type is not (ScalarType.Float32 or ScalarType.Float64 or ScalarType.Float16 or ScalarType.BFloat16)) throw reader.Wrong($"type {(byte)type}", "a floating-point type");
        var shape = new long[reader.Byte("the rank")];
        long elements = 1, most = Math.Min(int.MaxValue, bytes.Length * MostElementsPerByte);
        for (var axis = 0; axis < shape.Length; axis++)
        {
            shape[axis] = reader.Int64("the shape");
            if (shape[axis] is < 1 or > int.MaxValue || (elements *= shape[axis]) > most) throw reader.Wrong($"axis {axis} of {shape[axis]} elements", $"a map of 1 to {most}");
        }
        var coefficients = codec.Transform.Coefficients(MapShape.Of(shape));
        if (coefficients is < 1 or > int.MaxValue) throw reader.Wrong($"a map of {elements} elements", $"at most {int.MaxValue} coefficients");
        var sections = new List<Tensor>();
        Tensor? zeros = null;
        try
        {
            if (reader.Byte("the flag of exact zeros") != 0) zeros = reader.Section(uint8);
            if (zeros is not null && zeros.NumberOfElements != (elements + 7) / 8) throw reader.Wrong($"{zeros.NumberOfElements} bytes of zeros", $"{(elements + 7) / 8}");
            if (codec.Encoding is Grid) return new PackedMap(codec, shape, type, zeros, GridMap.Read(reader.Rest(), Actipress.Grid.Tiles(codec, MapShape.Of(shape))));
            for (var rest = reader.Byte("the number of sections"); rest > 0; rest--) sections.Add(reader.Section(null));
            reader.End();
            if (codec.Encoding is Coo or Compact && codec.Keep.Count(coefficients, elements) is var kept && sections.LastOrDefault()?.NumberOfElements != kept)
                throw reader.Wrong($"{sections.LastOrDefault()?.NumberOfElements ?? 0} kept coefficients", $"{kept}");
            return new PackedMap(codec, shape, type, zeros, [.. sections]);
        }
        catch
        {
            zeros?.Dispose();
            foreach (var section in sections) section.Dispose();
            throw;
        }
    }

    static unsafe Span<byte> RawBytes(Tensor tensor) => new((void*)LibTorch.Data(tensor), checked((int)tensor.Bytes()));

    ref struct Reader(ReadOnlySpan<byte> all)
    {
        readonly ReadOnlySpan<byte> all = all;
        int at;

        public readonly InvalidDataException Wrong(string found, string wanted) => new($"Not a packed map, or a damaged one: found {found} before byte {at}, wanted {wanted}.");

        public ReadOnlySpan<byte> Bytes(long count, string what)
        {
            if (count < 0 || count > all.Length - at) throw new InvalidDataException($"A packed map is cut short: {what} of {count} bytes at byte {at}, but only {all.Length - at} follow.");
            at += (int)count;
            return all.Slice(at - (int)count, (int)count);
        }

        public byte Byte(string what) => Bytes(1, what)[0];
        public long Int64(string what) => BinaryPrimitives.ReadInt64LittleEndian(Bytes(sizeof(long), what));
        public string Text(string what) => System.Text.Encoding.UTF8.GetString(Bytes(Byte(what), what));

        public Tensor Section(ScalarType? wanted)
        {
            var type = (ScalarType)Byte("a section's type");
            if (type is not (ScalarType.Byte or ScalarType.Int8 or ScalarType.Int16 or ScalarType.Int32 or ScalarType.Int64 or ScalarType.Float16 or ScalarType.BFloat16 or ScalarType.Float32) || (wanted ?? type) != type)
                throw Wrong($"a section of type {(byte)type}", wanted is null ? "a number's type" : $"{wanted}");
            var elements = Int64("a section's length");
            var size = type switch { ScalarType.Byte or ScalarType.Int8 => 1, ScalarType.Int16 or ScalarType.Float16 or ScalarType.BFloat16 => 2, ScalarType.Int64 => 8, _ => 4 };
            if (elements < 0 || elements > all.Length) throw Wrong($"a section of {elements} elements", $"at most {all.Length}");
            var bytes = Bytes(elements * size, "a section");
            var section = empty(elements, type);
            bytes.CopyTo(RawBytes(section));
            return section;
        }

        public ReadOnlySpan<byte> Rest() => Bytes(all.Length - at, "the chunks");

        public readonly void End()
        {
            if (at != all.Length) throw Wrong($"{all.Length - at} bytes more", "the end");
        }
    }
}
