using Actipress.Autograd;
using Actipress.Codecs;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>The treatment of one saved tensor.</summary>
abstract record Treatment
{
    /// <summary>The tensor passes untouched. It is not an activation map, or its owner keeps it anyway.</summary>
    public sealed record NotOurs : Treatment;

    /// <summary>The tensor stays as it is, and counts.</summary>
    public sealed record LeftAlone(string Why) : Treatment;

    /// <summary>Booleans are kept as one exact bit each.</summary>
    public sealed record Bits : Treatment;

    /// <summary>
    /// Floating-point numbers that no differentiable operation made. A dropout's mask is kept as bits, and any other tensor is
    /// <see cref="NotOurs"/>.
    /// </summary>
    public sealed record BitsIfTwoValued : Treatment;

    /// <summary>Pooling indices are kept exactly, in as few bits as they need.</summary>
    public sealed record Indices : Treatment;

    /// <summary>The tensor moves to another device until it is unpacked.</summary>
    public sealed record Moved(Device Device) : Treatment;

    /// <summary>
    /// An activation map with the need of its operation. Its values are packed by <paramref name="Codec"/>, which a budget may change if no
    /// rule names the layer.
    /// </summary>
    public sealed record Map(ActivationCodec Codec, Need Need, bool NoRule) : Treatment;
}

/// <summary>Decides the treatment of each saved tensor.</summary>
abstract class SavingPolicy
{
    /// <summary>The treatment of a saved tensor that is no parameter.</summary>
    public abstract Treatment Decide(Tensor tensor, Layer layer, SavedBy by);

    /// <summary>The line of an operation in the table; null where there is none.</summary>
    public virtual OperationNeeds? Line(Operation operation) => Operations.Of(operation);

    /// <summary>The codec of layers that no rule names; null where maps are not compressed.</summary>
    public virtual ActivationCodec? Codec => null;

    /// <summary>A note for each rule that decided nothing in a step.</summary>
    public virtual IReadOnlyList<Note> IdleRules() => [];

    /// <summary>
    /// The codec and its substitutes, from the coarsest. A substitute applies where the codecs before it exceed their relative error.
    /// </summary>
    public virtual IEnumerable<(ActivationCodec Codec, double MostError)> Finer(ActivationCodec codec, Tensor map, Need need) =>
        [(codec, double.PositiveInfinity)];

    /// <summary>The largest relative error that the operation bears before a finer codec stands in.</summary>
    public double MostError(ActivationCodec codec, Tensor map, Need need) => Finer(codec, map, need).First().MostError;

    /// <summary>Adapts the codec of a layer to one of its maps.</summary>
    public virtual ActivationCodec Adapt(ActivationCodec codec, Tensor map, Need need, Zeros zeros) => codec;
}

/// <summary>Compresses maps. The rules stand in the order in which they apply.</summary>
sealed class CompressingPolicy(CompressionOptions options) : SavingPolicy
{
    public override Treatment Decide(Tensor tensor, Layer layer, SavedBy by)
    {
        if (by.Need == Need.Weight) return new Treatment.NotOurs();
        if (tensor.Bytes() < options.LeastBytes) return new Treatment.LeftAlone("small");

        var codec = options.CodecFor(layer, out var noRule);
        if (codec == ActivationCodec.None) return new Treatment.LeftAlone("rule");
        if (tensor.dtype == ScalarType.Bool) return new Treatment.Bits();
        if (tensor.dtype == ScalarType.Int64) return by.IsArgument ? new Treatment.NotOurs() : new Treatment.Indices();
        if (tensor.dtype is not (ScalarType.Float32 or ScalarType.Float64 or ScalarType.Float16 or ScalarType.BFloat16))
            return new Treatment.LeftAlone("type");
        if (LibTorch.IsLeaf(tensor)) return new Treatment.BitsIfTwoValued();

        if (codec.Fineness < Fineness.Exact && !Sensitivity.BearsSixteenBits(tensor, by.Need))
            return new Treatment.LeftAlone($"exact: large values of {by.Operation}");
        if (by.Need.Fineness > codec.Fineness && by.Need.Fineness == Fineness.Exact)
            return new Treatment.LeftAlone(by.IsKnown ? $"exact for {by.Operation}" : $"exact: {by.Operation} is not known");
        return new Treatment.Map(
            codec, options.AdaptsToLayers && codec.ExactZeros || by.Need.Fineness > Fineness.Codec ? by.Need : Need.Smooth, noRule);
    }

    public override ActivationCodec? Codec => options.DefaultCodec;

    public override IReadOnlyList<Note> IdleRules() => options.IdleRules();

    public override OperationNeeds? Line(Operation operation) => options.Line(operation);

    public override IEnumerable<(ActivationCodec Codec, double MostError)> Finer(ActivationCodec codec, Tensor map, Need need) =>
        options.Finer(codec, map, need);

    public override ActivationCodec Adapt(ActivationCodec codec, Tensor map, Need need, Zeros zeros) =>
        options.Adapt(codec, map, need, zeros);
}

/// <summary>Moves every tensor to a device.</summary>
/// <param name="device">The device.</param>
/// <param name="evenIfThere">Whether a tensor that is already on the device is copied.</param>
sealed class OffloadingPolicy(Device device, bool evenIfThere = false) : SavingPolicy
{
    public override Treatment Decide(Tensor tensor, Layer layer, SavedBy by)
    {
        var isThere = tensor.device_type == device.type && (device.index < 0 || tensor.device_index == device.index);
        return isThere && !evenIfThere ? new Treatment.LeftAlone("there already") : new Treatment.Moved(device);
    }
}
