using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Codecs;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>What happens to one saved tensor.</summary>
abstract record Treatment
{
    /// <summary>Passes untouched: it is not an activation map, or its owner keeps it anyway.</summary>
    public sealed record NotOurs : Treatment;

    /// <summary>Stays as it is, and counts.</summary>
    public sealed record LeftAlone(string Why) : Treatment;

    /// <summary>Booleans: one bit each, exactly.</summary>
    public sealed record Bits : Treatment;

    /// <summary>
    /// Floating-point numbers made by no differentiable operation: bits if they are a dropout's mask, else <see cref="NotOurs"/>.
    /// </summary>
    public sealed record BitsIfTwoValued : Treatment;

    /// <summary>Pooling indices: the few bits that they need, exactly.</summary>
    public sealed record Indices : Treatment;

    /// <summary>Goes to another device until it is asked for.</summary>
    public sealed record Moved(Device Device) : Treatment;

    /// <summary>
    /// An activation map: what its operation needs of it, values through <paramref name="Codec"/>, which a budget may change if no rule
    /// names the layer.
    /// </summary>
    public sealed record Map(ActivationCodec Codec, Need Need, bool NoRule) : Treatment;
}

/// <summary>Which saved tensor is treated how.</summary>
abstract class SavingPolicy
{
    /// <summary>What happens to a saved tensor that is no parameter.</summary>
    public abstract Treatment Decide(Tensor tensor, Layer layer, SavedBy by);

    /// <summary>The table's line of an operation; null where there is none.</summary>
    public virtual OperationNeeds? Line(Operation operation) => Operations.Of(operation);

    /// <summary>The codec of layers that no rule names; null where maps are not compressed.</summary>
    public virtual ActivationCodec? Codec => null;

    /// <summary>The rules that no layer of a step has met.</summary>
    public virtual IReadOnlyList<Note> IdleRules() => [];

    /// <summary>The codec, and what stands in for it where it would make more than some relative error, from the coarsest.</summary>
    public virtual IEnumerable<(ActivationCodec Codec, double MostError)> Finer(ActivationCodec codec, Tensor map, Need need) =>
        [(codec, double.PositiveInfinity)];

    /// <summary>The codec for a map of which more is known than its layer.</summary>
    public virtual ActivationCodec Adapt(ActivationCodec codec, Tensor map, Need need, Zeros zeros) => codec;
}

/// <summary>Maps are compressed. The rules stand in the order in which they apply.</summary>
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

/// <summary>Everything goes to a device.</summary>
/// <param name="device">Where to.</param>
/// <param name="evenIfThere">Whether what is there already is copied.</param>
sealed class OffloadingPolicy(Device device, bool evenIfThere = false) : SavingPolicy
{
    public override Treatment Decide(Tensor tensor, Layer layer, SavedBy by)
    {
        var isThere = tensor.device_type == device.type && (device.index < 0 || tensor.device_index == device.index);
        return isThere && !evenIfThere ? new Treatment.LeftAlone("there already") : new Treatment.Moved(device);
    }
}
