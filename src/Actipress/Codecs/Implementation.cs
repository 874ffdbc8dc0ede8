using Actipress.Encodings;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Codecs;

/// <summary>A way to carry codecs out, of which <see cref="Pipeline.Implementations"/> has the table.</summary>
abstract class Implementation
{
    /// <summary>The name that <c>status</c> shows, and by which the implementation can be forced.</summary>
    public abstract string Name { get; }

    /// <summary>Whether it knows a codec.</summary>
    public abstract bool Covers(ActivationCodec codec);

    /// <summary>Whether it works on tensors of a device, on this machine.</summary>
    public abstract bool RunsOn(Device device);

    /// <summary>Packs a map.</summary>
    /// <param name="map">Of any shape with elements, floating-point type and layout; detached; not disposed.</param>
    /// <param name="codec">One that it <see cref="Covers"/>.</param>
    /// <param name="limits">Beyond these nothing need be packed.</param>
    /// <param name="why">Why nothing was packed.</param>
    /// <returns>What is stored, which the caller disposes; null, and why, where nothing was packed.</returns>
    public abstract Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why);

    /// <summary>Reads what <see cref="Stored.Write"/> wrote, to the CPU.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public abstract Stored Read(ref PackedReader reader, MapHeader header);
}

/// <summary>What is known of a packed map beside its values.</summary>
/// <param name="Codec">The codec by which it is stored.</param>
/// <param name="Extents">The map's shape, as torch has it.</param>
/// <param name="Type">The map's floating-point type.</param>
readonly record struct MapHeader(ActivationCodec Codec, long[] Extents, ScalarType Type)
{
    public MapShape Shape => MapShape.Of(Extents);

    /// <summary>The codec's encoding, where that is one in sections.</summary>
    public SectionEncoding SectionEncoding => (SectionEncoding)Codec.Encoding;
}

/// <summary>Beyond which a map is better kept otherwise.</summary>
/// <param name="Bytes">So many bytes.</param>
/// <param name="Error">A relative error of the sample that grid storage takes on the CPU.</param>
readonly record struct PackLimits(long Bytes, double Error)
{
    public static readonly PackLimits None = new(long.MaxValue, double.PositiveInfinity);
}

/// <summary>What an <see cref="Implementation"/> stored of a map. Whoever packed it disposes it.</summary>
abstract class Stored : IDisposable
{
    /// <summary>Bytes held.</summary>
    public abstract long Bytes { get; }

    /// <summary>Whether the map's zeros come back as zeros and everything else as positive.</summary>
    public abstract bool HasZeros { get; }

    /// <summary>The norm of the map's error by the map's own, as a sample of it told; null where none was taken.</summary>
    public virtual double? RelativeError => null;

    /// <summary>What is held, where that is tensors.</summary>
    public virtual Tensor[] Tensors => [];

    /// <summary>The same of copies of <see cref="Tensors"/>, which it takes over.</summary>
    public virtual Stored With(Tensor[] tensors) => throw new InvalidOperationException($"{GetType().Name} holds no tensors.");

    /// <summary>Rebuilds the map: contiguous, in its own shape and type; the caller disposes it.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public abstract Tensor Unpack(MapHeader header);

    /// <summary>Whether a range can be rebuilt without the rest.</summary>
    public virtual bool HasRanges(MapHeader header) => false;

    /// <summary>Rebuilds a range: (maps, rows, elements of a row); the caller disposes it. Where <see cref="HasRanges"/>.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public virtual Tensor Unpack(MapHeader header, MapRange range) => throw new InvalidOperationException($"{GetType().Name} has no ranges.");

    /// <summary>Writes it as docs/format.md specifies.</summary>
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
