using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Selection;
using Actipress.Transforms;
using static TorchSharp.torch;

namespace Actipress.Quantisation;

/// <summary>Group quantisation on the CPU, in one pass over the map's memory.</summary>
sealed class CpuQuantisation : Implementation
{
    public override string Name => "quantisation, CPU";

    public override bool Covers(ActivationCodec codec) => codec is { Encoding: Quantized, Transform: Identity, Keep: Keep.Everything };

    public override bool RunsOn(Device device) => device.type == DeviceType.CPU;

    public override Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why) =>
        new QuantizedGroups((Quantized)codec.Encoding).Pack(map, codec.ExactZeros, out why);

    public override Stored Read(ref PackedReader reader, MapHeader header) =>
        Sections.Read(ref reader, header, QuantizedGroups.Unpack, QuantizedGroups.Unpack);
}
