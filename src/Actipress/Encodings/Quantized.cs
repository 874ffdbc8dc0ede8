using System.Numerics;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// Group quantisation with stochastic rounding, the comparator of ActNN and its kin: each group of 256 values is stored as its
/// minimum, a step (float32 both) and a code of few bits a value, code = floor((x - minimum) / step + u) with u from 0 to 1.
/// </summary>
/// <remarks>u is a hash of the element's index and so the same on every device; the rounding is right on average over elements.</remarks>
public sealed record Quantized : Encoding
{
    const int Group = 256;

    /// <summary>Bits a value: 8, 4 or 2.</summary>
    public int Bits { get; }

    /// <param name="bits">8, 4 or 2.</param>
    /// <exception cref="ArgumentOutOfRangeException">Another number.</exception>
    public Quantized(int bits)
    {
        if (bits is not (8 or 4 or 2)) throw new ArgumentOutOfRangeException(nameof(bits), $"No quantisation to {bits} bits: wanted 8, 4 or 2.");
        Bits = bits;
    }

    /// <inheritdoc/>
    public override string Name => "quant";

    int Levels => (1 << Bits) - 1;
    int CodesPerByte => 8 / Bits;

    internal override Tensor[] Encode(Kept kept, long coefficients)
    {
        if (kept.Positions is not null) throw new InvalidOperationException("Group quantisation keeps every value.");
        var values = kept.Values;
        var groups = (coefficients + Group - 1) / Group;
        if (values.device_type != DeviceType.CPU) return EncodeByTorch(values, groups);
        var (scales, codes) = (empty([groups, 2], float32), empty((coefficients + CodesPerByte - 1) / CodesPerByte, uint8));
        CpuTeam.Each(coefficients, Stretch, (start, end) => Encode(values.Elements<float>()[(int)start..(int)end], start, scales.Elements<float>()[(int)(start / Group * 2)..], codes.Elements<byte>()[(int)(start / CodesPerByte)..]));
        return [scales, codes];
    }

    // Values that one thread takes at a time: whole groups.
    const long Stretch = 1 << 14;

    internal override Tensor Decode(Tensor[] sections, long coefficients)
    {
        var groups = (coefficients + Group - 1) / Group;
        Expect(sections is [{ dtype: ScalarType.Float32 }, { dtype: ScalarType.Byte }], "float32 scales and codes");
        Expect(sections[0].NumberOfElements == 2 * groups && sections[1].NumberOfElements == (coefficients + CodesPerByte - 1) / CodesPerByte, $"{groups} scales and {coefficients} codes");
        if (sections[0].device_type != DeviceType.CPU) return DecodeByTorch(sections[0], sections[1], coefficients);
        var values = empty(coefficients, float32);
        CpuTeam.Each(coefficients, Stretch, (start, end) => Decode(sections[0].Elements<float>()[(int)(start / Group * 2)..], sections[1].Elements<byte>()[(int)(start / CodesPerByte)..], values.Elements<float>()[(int)start..(int)end]));
        return values;
    }

    /// <summary>The definition, a few values at a time where that fits.</summary>
    /// <param name="values">Whole groups, but for the last.</param>
    /// <param name="first">The index of the first of them in the map: a multiple of 256.</param>
    /// <param name="scales">Receives a minimum and a step for each group.</param>
    /// <param name="codes">Receives the codes.</param>
    void Encode(ReadOnlySpan<float> values, long first, Span<float> scales, Span<byte> codes)
    {
        Span<int> levels = stackalloc int[Group];
        for (var start = 0; start < values.Length; start += Group)
        {
            var group = values[start..Math.Min(start + Group, values.Length)];
            float minimum = group[0], maximum = group[0];
            foreach (var value in group) (minimum, maximum) = (Math.Min(minimum, value), Math.Max(maximum, value));
            var step = (maximum - minimum) / Levels;
            (scales[start / Group * 2], scales[start / Group * 2 + 1]) = (minimum, step);
            levels.Clear();
            if (step != 0)
            {
                var i = 0;
                for (; i + Vector<float>.Count <= group.Length; i += Vector<float>.Count)
                    Vector.ConvertToInt32((new Vector<float>(group[i..]) - new Vector<float>(minimum)) / new Vector<float>(step) + Uniforms((uint)(first + start + i))).CopyTo(levels[i..]);
                for (; i < group.Length; i++) levels[i] = (int)((group[i] - minimum) / step + Uniform((uint)(first + start + i)));
            }
            var bytes = codes.Slice(start / CodesPerByte, (group.Length + CodesPerByte - 1) / CodesPerByte);
            for (var place = 0; place < bytes.Length; place++)
            {
                var code = 0;
                for (var part = CodesPerByte - 1; part >= 0; part--) code = code << Bits | Math.Min(levels[place * CodesPerByte + part], Levels);
                bytes[place] = (byte)code;
            }
        }
    }

    void Decode(ReadOnlySpan<float> scales, ReadOnlySpan<byte> codes, Span<float> values)
    {
        for (var start = 0; start < values.Length; start += Group)
        {
            var (minimum, step, end) = (scales[start / Group * 2], scales[start / Group * 2 + 1], Math.Min(start + Group, values.Length));
            if (Bits == 8) for (var i = start; i < end; i++) values[i] = minimum + codes[i] * step;
            else for (var i = start; i < end; i++) values[i] = minimum + (codes[i / CodesPerByte] >> i % CodesPerByte * Bits & Levels) * step;
        }
    }

    // Wellons' lowbias32, whose 24 upper bits make a float.
    static float Uniform(uint index)
    {
        var hash = index;
        hash = (hash ^ hash >> 16) * 0x7feb352d;
        hash = (hash ^ hash >> 15) * 0x846ca68b;
        return ((hash ^ hash >> 16) >> 8) * (1f / (1 << 24));
    }

    static Vector<float> Uniforms(uint index)
    {
        var hash = new Vector<uint>(index) + Vector<uint>.Indices;
        hash = (hash ^ hash >>> 16) * new Vector<uint>(0x7feb352d);
        hash = (hash ^ hash >>> 15) * new Vector<uint>(0x846ca68b);
        return Vector.ConvertToSingle((hash ^ hash >>> 16) >>> 8) * new Vector<float>(1f / (1 << 24));
    }

    internal Tensor[] EncodeByTorch(Tensor values, long groups)
    {
        using var outer = NewDisposeScope();
        var padded = nn.functional.pad(values.unsqueeze(0), [0, groups * Group - values.NumberOfElements], PaddingModes.Replicate).view(groups, Group);
        var minimum = padded.amin([1], keepdim: true);
        var step = padded.amax([1], keepdim: true).sub_(minimum).div_(Levels);
        var divisor = step.masked_fill(step.eq(0), 1);
        var hash = arange(groups * Group, int64, values.device);
        hash = Mixed(Mixed(hash, 16, 0x7feb352d), 15, 0x846ca68b);
        var uniform = hash.bitwise_xor(hash.div(1 << 16, RoundingMode.floor)).div(1 << 8, RoundingMode.floor).to(float32).mul_(1f / (1 << 24)).view(groups, Group);
        var codes = padded.sub_(minimum).div_(divisor).add_(uniform).floor_().clamp_(0, Levels).masked_fill_(step.eq(0).expand(groups, Group), 0);
        var whole = zeros((values.NumberOfElements + CodesPerByte - 1) / CodesPerByte * CodesPerByte, uint8, values.device);
        whole.narrow(0, 0, values.NumberOfElements).copy_(codes.view(-1).narrow(0, 0, values.NumberOfElements));
        var weights = tensor(Enumerable.Range(0, CodesPerByte).Select(i => (byte)(1 << i * Bits)).ToArray(), uint8, values.device);
        var bytes = whole.view(-1, CodesPerByte).mul_(weights).sum(1, type: uint8);
        return [cat([minimum, step], 1).MoveToOuterDisposeScope(), bytes.MoveToOuterDisposeScope()];

        static Tensor Mixed(Tensor hash, int shift, long factor) => hash.bitwise_xor(hash.div(1L << shift, RoundingMode.floor)).mul_(factor).bitwise_and_(0xFFFFFFFF);
    }

    internal Tensor DecodeByTorch(Tensor scales, Tensor codes, long coefficients)
    {
        using var outer = NewDisposeScope();
        var groups = (coefficients + Group - 1) / Group;
        var parts = tensor(Enumerable.Range(0, CodesPerByte).Select(i => 1 << i * Bits).ToArray(), int32, codes.device);
        var each = codes.to(int32).unsqueeze(1).div(parts, RoundingMode.floor).remainder_(1 << Bits).view(-1);
        var padded = zeros(groups * Group, float32, codes.device);
        padded.narrow(0, 0, coefficients).copy_(each.narrow(0, 0, coefficients));
        var values = padded.view(groups, Group).mul_(scales.narrow(1, 1, 1)).add_(scales.narrow(1, 0, 1));
        return values.view(-1).narrow(0, 0, coefficients).MoveToOuterDisposeScope();
    }
}
