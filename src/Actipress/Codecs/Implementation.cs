using Actipress.Encodings;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Codecs;

/// <summary>An implementation of codecs. <see cref="Pipeline.Implementations"/> is the table of all.</summary>
abstract class Implementation
{
    /// <summary>The name that <c>status</c> shows, and by which the implementation can be forced.</summary>
    public abstract string Name { get; }

    /// <summary>Whether the implementation covers a codec.</summary>
    public abstract bool Covers(ActivationCodec codec);

    /// <summary>Whether the implementation runs on tensors of a device, on this machine.</summary>
    public abstract bool RunsOn(Device device);

    /// <summary>Packs a map.</summary>
    /// <param name="map">The map, of any shape with elements, any floating-point type and layout; detached; not disposed.</param>
    /// <param name="codec">A codec that the implementation <see cref="Covers"/>.</param>
    /// <param name="limits">The limits beyond which the map need not be packed.</param>
    /// <param name="why">Why nothing was packed.</param>
    /// <returns>The stored map, which the caller disposes; null, with a reason, where nothing was packed.</returns>
    public abstract Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why);

    /// <summary>Reads the result of <see cref="Stored.Write"/>, to the CPU.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    /// <remarks>An implementation that packs on a GPU, or codecs without a text, has no files.</remarks>
    public virtual Stored Read(ref PackedReader reader, MapHeader header) =>
        throw new InvalidOperationException($"'{Name}' reads no files.");
}

/// <summary>The properties of a packed map beside its values.</summary>
/// <param name="Codec">The codec of the map.</param>
/// <param name="Extents">The map's shape in torch.</param>
/// <param name="Type">The map's floating-point type.</param>
readonly record struct MapHeader(ActivationCodec Codec, long[] Extents, ScalarType Type)
{
    public MapShape Shape => MapShape.Of(Extents);

    /// <summary>The codec's encoding, where that is one in sections.</summary>
    public SectionEncoding SectionEncoding => (SectionEncoding)Codec.Encoding;
}

/// <summary>The limits beyond which a map is better kept in another way.</summary>
/// <param name="Bytes">The largest number of bytes.</param>
/// <param name="Error">The largest relative error of the sample that grid storage takes on the CPU.</param>
readonly record struct PackLimits(long Bytes, double Error)
{
    public static readonly PackLimits None = new(long.MaxValue, double.PositiveInfinity);
}

/// <summary>A map as an <see cref="Implementation"/> has stored it. The code that packed it disposes it.</summary>
abstract class Stored : IDisposable
{
    /// <summary>The bytes held.</summary>
    public abstract long Bytes { get; }

    /// <summary>Whether the map's zeros are rebuilt as zeros, and all other values as positive.</summary>
    public abstract bool HasZeros { get; }

    /// <summary>The norm of the map's error, divided by the norm of the map, from a sample; null where no sample was taken.</summary>
    public virtual double? RelativeError => null;

    /// <summary>The held tensors, if there are any.</summary>
    public virtual Tensor[] Tensors => [];

    /// <summary>The same stored map with copies of <see cref="Tensors"/>, which the result disposes.</summary>
    public virtual Stored With(Tensor[] tensors) => throw new InvalidOperationException($"{GetType().Name} holds no tensors.");

    /// <summary>Rebuilds the map: contiguous, in its own shape and type; the caller disposes it.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public abstract Tensor Unpack(MapHeader header);

    /// <summary>Whether a range can be rebuilt alone.</summary>
    public virtual bool HasRanges(MapHeader header) => false;

    /// <summary>Rebuilds a range, if <see cref="HasRanges"/>: (maps, rows, elements of a row); the caller disposes it.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public virtual Tensor Unpack(MapHeader header, MapRange range) =>
        throw new InvalidOperationException($"{GetType().Name} has no ranges.");

    /// <summary>Writes the stored map as docs/format.md specifies.</summary>
    public abstract void Write(BinaryWriter writer);

    /// <summary>What <see cref="Write"/> writes.</summary>
    public byte[] ToBytes()
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        Write(writer);
        return stream.ToArray();
    }

    /// <inheritdoc/>
    public abstract void Dispose();
}
