using Actipress.Encodings;
using static TorchSharp.torch;

namespace Actipress.Codecs;

/// <summary>Stores a map as a copy, on any device, so that the hooks run without a lossy codec.</summary>
sealed class ExactCopy : Implementation
{
    public override string Name => "copy, torch";

    public override bool Covers(ActivationCodec codec) => codec.Encoding is Copy;

    public override bool RunsOn(Device device) => true;

    public override Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why)
    {
        why = LeftRaw.No;
        using var flat = map.reshape(-1);
        return new Sections(null, [flat.clone()], Unpack);
    }

    static Tensor Unpack(Sections stored, MapHeader header)
    {
        using var shaped = stored.Encoded[0].view(header.Extents);
        return shaped.clone();
    }

    public override Stored Read(ref PackedReader reader, MapHeader header)
    {
        if (reader.Byte("the flag of exact zeros") != 0) throw reader.Wrong("bits of exact zeros", "none beside a copy");
        if (reader.Byte("the number of sections") is var count and not 1) throw reader.Wrong($"{count} sections", "1");
        var values = reader.Section(header.Type);
        try
        {
            if (values.NumberOfElements != header.Shape.Elements)
                throw reader.Wrong($"{values.NumberOfElements} values", $"{header.Shape.Elements}");
            reader.End();
            return new Sections(null, [values], Unpack);
        }
        catch
        {
            values.Dispose();
            throw;
        }
    }
}
