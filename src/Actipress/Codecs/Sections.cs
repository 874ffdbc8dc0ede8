using Actipress.Autograd;
using Actipress.Encodings;
using Actipress.Maps;

namespace Actipress.Codecs;

/// <summary>A map stored as the sections of a <see cref="SectionEncoding"/>, and its exact zeros.</summary>
sealed class Sections : Stored
{
    readonly Func<Sections, MapHeader, Tensor> unpack;

    /// <param name="zeros">The bits of <see cref="ExactZeros"/>; null where there are none. This object disposes them.</param>
    /// <param name="tensors">The sections of <see cref="SectionEncoding.Encode"/>, which this object disposes.</param>
    /// <param name="unpack">Rebuilds the map, as the implementation of the sections does.</param>
    public Sections(Tensor? zeros, Tensor[] tensors, Func<Sections, MapHeader, Tensor> unpack)
    {
        (Zeros, Encoded, this.unpack) = (zeros, tensors, unpack);
        foreach (var tensor in Tensors) tensor.DetachFromDisposeScope();
        Bytes = Tensors.Sum(tensor => tensor.Bytes());
    }

    /// <summary>Rebuilds a range, if the implementation of the sections can.</summary>
    public Func<Sections, MapHeader, MapRange, Tensor>? UnpackRange { get; init; }

    public Tensor? Zeros { get; }

    /// <summary>The sections.</summary>
    public Tensor[] Encoded { get; }

    public override long Bytes { get; }

    public override bool HasZeros => Zeros is not null;

    public override Tensor[] Tensors => Zeros is null ? Encoded : [Zeros, .. Encoded];

    public override Stored With(Tensor[] tensors) =>
        new Sections(Zeros is null ? null : tensors[0], Zeros is null ? tensors : tensors[1..], unpack) { UnpackRange = UnpackRange };

    public override Tensor Unpack(MapHeader header) => unpack(this, header);

    public override bool HasRanges(MapHeader header) => UnpackRange is not null;

    public override Tensor Unpack(MapHeader header, MapRange range) =>
        UnpackRange is { } unpackRange ? unpackRange(this, header, range) : base.Unpack(header, range);

    public override void Write(BinaryWriter writer)
    {
        PackedReader.WriteZeros(writer, Zeros);
        writer.Write((byte)Encoded.Length);
        foreach (var section in Encoded) PackedReader.Write(writer, section);
    }

    /// <summary>Reads the result of <see cref="Write"/>.</summary>
    public static Sections Read(
        ref PackedReader reader, MapHeader header, Func<Sections, MapHeader, Tensor> unpack,
        Func<Sections, MapHeader, MapRange, Tensor>? unpackRange = null)
    {
        var elements = header.Shape.Elements;
        var read = new List<Tensor>();
        var zeros = reader.Zeros(elements);
        try
        {
            for (var rest = reader.Byte("the number of sections"); rest > 0; rest--) read.Add(reader.Section(null));
            reader.End();
            var wanted = header.Codec.Keep.Count(header.Codec.Transform.Coefficients(header.Shape), elements);
            if (wanted is { } kept && header.SectionEncoding.CountIn([.. read]) is { } found && found != kept)
                throw reader.Wrong($"{found} kept coefficients", $"{kept}");
            return new(zeros, [.. read], unpack) { UnpackRange = unpackRange };
        }
        catch
        {
            zeros?.Dispose();
            foreach (var section in read) section.Dispose();
            throw;
        }
    }

    public override void Dispose()
    {
        foreach (var tensor in Tensors) tensor.Dispose();
    }
}
