using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Encodings;

/// <summary>
/// Group quantisation with stochastic rounding, as in ActNN. Each group of 256 values is stored as its minimum and a step (both float32),
/// and a code of few bits a value: code = floor((x - minimum) / step + u) with u from 0 to 1.
/// </summary>
/// <remarks>
/// u is a hash of the element's index, and so is the same on every device. The rounding has no bias on average over elements. Maps on the
/// CPU are packed in one pass over their memory (src/Actipress/Quantisation), in the same bytes.
/// </remarks>
sealed record Quantized : SectionEncoding
{
    internal const int Group = 256;

    /// <summary>Bits a value: 8, 4 or 2.</summary>
    public int Bits { get; }

    /// <param name="bits">8, 4 or 2.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of bits is another.</exception>
    public Quantized(int bits)
    {
        if (bits is not (8 or 4 or 2))
            throw new ArgumentOutOfRangeException(nameof(bits), $"No quantisation to {bits} bits: wanted 8, 4 or 2.");
        Bits = bits;
    }

    /// <inheritdoc/>
    public override string Name => "quant";

    internal int Levels => (1 << Bits) - 1;
    internal int CodesPerByte => 8 / Bits;

    internal override Tensor[] Encode(Kept kept, long coefficients)
    {
        if (kept.Positions is not null) throw new InvalidOperationException("Group quantisation keeps every value.");
        return EncodeByTorch(kept.Values, (coefficients + Group - 1) / Group);
    }

    internal override Tensor Decode(Tensor[] sections, long coefficients)
    {
        Check(sections, coefficients);
        return DecodeByTorch(sections[0], sections[1], coefficients);
    }

    internal override float Step(Tensor[] sections)
    {
        using var pairs = sections[0].view(-1, 2);
        using var steps = pairs.select(1, 1);
        using var largest = steps.max();
        return largest.item<float>();
    }

    internal override long? CountIn(Tensor[] sections) => null;

    internal void Check(Tensor[] sections, long coefficients)
    {
        var groups = (coefficients + Group - 1) / Group;
        Expect(sections is [{ dtype: ScalarType.Float32 }, { dtype: ScalarType.Byte }], "float32 scales and codes");
        Expect(
            sections[0].NumberOfElements == 2 * groups && sections[1].NumberOfElements == (coefficients + CodesPerByte - 1) / CodesPerByte,
            $"{groups} scales and {coefficients} codes");
    }

    internal Tensor[] EncodeByTorch(Tensor values, long groups)
    {
        using var outer = NewDisposeScope();
        var padded = nn.functional.pad(values.unsqueeze(0), [0, groups * Group - values.NumberOfElements], PaddingModes.Replicate)
            .view(groups, Group);
        var minimum = padded.amin([1], keepdim: true).Add_(0);    // removes the sign of a zero
        var step = padded.amax([1], keepdim: true).Add_(0).sub_(minimum).Div_(Levels);
        var divisor = step.MaskedFill(step.Eq(0), 1);
        var hash = HeldScalars.Arange(groups * Group, int64, values.device);
        hash = Mixed(Mixed(hash, 16, 0x7feb352d), 15, 0x846ca68b);
        var uniform = hash.bitwise_xor(hash.Div(1 << 16, RoundingMode.floor)).Div(1 << 8, RoundingMode.floor).to(float32)
            .Mul_(1.0 / (1 << 24)).view(groups, Group);
        var codes = padded.sub_(minimum).div_(divisor).Add_(uniform).floor_().Clamp_(0, Levels)
            .MaskedFill_(step.Eq(0).expand(groups, Group), 0);
        var whole = zeros((values.NumberOfElements + CodesPerByte - 1) / CodesPerByte * CodesPerByte, uint8, values.device);
        whole.narrow(0, 0, values.NumberOfElements).copy_(codes.view(-1).narrow(0, 0, values.NumberOfElements));
        var weights = tensor(Enumerable.Range(0, CodesPerByte).Select(i => (byte)(1 << i * Bits)).ToArray(), uint8, values.device);
        var bytes = whole.view(-1, CodesPerByte).mul_(weights).sum(1, type: uint8);
        return [cat([minimum, step], 1).MoveToOuterDisposeScope(), bytes.MoveToOuterDisposeScope()];

        static Tensor Mixed(Tensor hash, int shift, long factor) =>
            hash.bitwise_xor(hash.Div(1L << shift, RoundingMode.floor)).Mul_(factor).bitwise_and_(0xFFFFFFFF);
    }

    internal Tensor DecodeByTorch(Tensor scales, Tensor codes, long coefficients)
    {
        using var outer = NewDisposeScope();
        var groups = (coefficients + Group - 1) / Group;
        var parts = tensor(Enumerable.Range(0, CodesPerByte).Select(i => 1 << i * Bits).ToArray(), int32, codes.device);
        var each = codes.to(int32).unsqueeze(1).div(parts, RoundingMode.floor).Remainder_(1 << Bits).view(-1);
        var padded = zeros(groups * Group, float32, codes.device);
        padded.narrow(0, 0, coefficients).copy_(each.narrow(0, 0, coefficients));
        var values = padded.view(groups, Group).mul_(scales.narrow(1, 1, 1)).Add_(scales.narrow(1, 0, 1));
        return values.view(-1).narrow(0, 0, coefficients).MoveToOuterDisposeScope();
    }
}
