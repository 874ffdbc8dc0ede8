using Actipress.Maps;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Encodings;

/// <summary>How <see cref="Compact"/> stores the positions of kept coefficients.</summary>
enum IndexForm
{
    /// <summary>The smaller of the other two for the map.</summary>
    Auto,

    /// <summary>A count of two bytes for each 256 coefficients, and one byte for each kept coefficient.</summary>
    Byte,

    /// <summary>One bit for each coefficient.</summary>
    Bitmap,
}

/// <summary>How <see cref="Compact"/> stores the values of kept coefficients.</summary>
enum ValueForm
{
    /// <summary>
    /// One byte a value: a multiple of a step. Each 256 kept values have one step as float32: their largest magnitude, divided by 127.
    /// </summary>
    Int8,

    /// <summary>
    /// Two bytes a value: 11 bits of precision, magnitudes up to 65504. Where a value is larger, all are stored as <see cref="BFloat16"/>.
    /// </summary>
    Float16,

    /// <summary>Two bytes a value: 8 bits of precision, the range of float32.</summary>
    BFloat16,

    /// <summary>Four bytes a value, exactly.</summary>
    Float32,
}

/// <summary>Positions as bytes within 256 coefficients or as a bitmap, and values as 8-bit integers or floats.</summary>
/// <param name="Index">How positions are stored.</param>
/// <param name="Values">How values are stored.</param>
sealed record Compact(IndexForm Index = IndexForm.Auto, ValueForm Values = ValueForm.Int8) : SectionEncoding
{
    const int Group = 256;

    /// <inheritdoc/>
    public override string Name => "compact";

    internal override Tensor[] Encode(Kept kept, long coefficients) =>
        kept.Positions is { } positions
            ? [.. EncodePositions(positions, coefficients), .. EncodeValues(kept.Values)] : EncodeValues(kept.Values);

    internal override Tensor Decode(Tensor[] sections, long coefficients)
    {
        var valueSections = Values == ValueForm.Int8 ? 2 : 1;
        Expect(
            sections.Length >= valueSections && sections.Length <= valueSections + 2,
            $"{valueSections} to {valueSections + 2} sections, found {sections.Length}");
        using var values = DecodeValues(sections[^valueSections..]);
        if (sections.Length == valueSections)
        {
            Expect(values.NumberOfElements == coefficients, $"{coefficients} values, found {values.NumberOfElements}");
            return values.alias();
        }
        using var positions = DecodePositions(sections[..^valueSections], coefficients);
        return Scatter(positions, values, coefficients);
    }

    internal override float Step(Tensor[] sections) => LeastMagnitude(Values == ValueForm.Int8 ? sections[^2] : sections[^1]);

    Tensor[] EncodePositions(Tensor positions, long coefficients)
    {
        var (kept, groups) = (positions.NumberOfElements, (coefficients + Group - 1) / Group);
        var asBytes = Index == IndexForm.Byte || (Index == IndexForm.Auto && kept + 2 * groups < (coefficients + 7) / 8);
        if (!asBytes)
        {
            using var set = zeros(coefficients, @bool, positions.device);
            set.IndexFill_(0, positions, true);
            return [ExactBits.ToBits(set)];
        }
        using var group = positions.Div(Group, RoundingMode.floor);
        using var within = positions.Remainder(Group);
        using var counts = group.bincount(null, (int)groups);
        return [counts.to(int16), within.to(uint8)];
    }

    Tensor DecodePositions(Tensor[] sections, long coefficients)
    {
        if (sections.Length == 1)
        {
            Expect(
                sections[0].dtype == uint8 && sections[0].NumberOfElements == (coefficients + 7) / 8,
                $"a bitmap of {(coefficients + 7) / 8} bytes");
            using var set = ExactBits.FromBits(sections[0], coefficients);
            using var found = set.nonzero();
            return found.reshape(-1);
        }
        var groups = (coefficients + Group - 1) / Group;
        Expect(sections[0].dtype == int16 && sections[0].NumberOfElements == groups, $"{groups} counts");
        Expect(sections[1].dtype == uint8, "positions of one byte");
        using var counts = sections[0].to(int64);
        using var total = counts.sum();
        using var negative = counts.Lt(0);
        using var anyNegative = negative.any();
        Expect(
            !anyNegative.item<bool>() && total.item<long>() == sections[1].NumberOfElements,
            $"counts that add up to {sections[1].NumberOfElements}, found {total.item<long>()}");
        using var numbers = HeldScalars.Arange(groups, int64, counts.device);
        using var starts = numbers.Mul_(Group);
        var positions = starts.repeat_interleave(counts);
        using var within = sections[1].to(int64);
        return positions.Add_(within);
    }

    Tensor[] EncodeValues(Tensor values)
    {
        if (Values == ValueForm.Float32) return [values.clone()];
        if (Values == ValueForm.Float16) return [values.to(AreInRangeOfFloat16(values) ? float16 : bfloat16)];
        if (Values == ValueForm.BFloat16) return [values.to(bfloat16)];
        using var groups = Grouped(values);
        using var magnitudes = groups.abs();
        using var largest = magnitudes.amax([1], keepdim: true);
        var steps = largest.Div(127);
        using var divisors = steps.clone();
        using var still = divisors.Eq(0);
        divisors.MaskedFill_(still, 1);
        using var scaled = groups.div(divisors);
        using var rounded = scaled.round_();
        using var flat = rounded.view(-1);
        using var own = flat.narrow(0, 0, values.NumberOfElements);
        using var flatSteps = steps;
        return [flatSteps.reshape(-1), own.to(int8)];
    }

    static bool AreInRangeOfFloat16(Tensor values)
    {
        if (values.NumberOfElements == 0) return true;
        var (lowest, highest) = ValueRange.Of(values);
        return lowest >= finfo(float16).min && highest <= finfo(float16).max;
    }

    Tensor DecodeValues(Tensor[] sections)
    {
        if (Values != ValueForm.Int8)
        {
            ScalarType[] forms = Values switch
            {
                ValueForm.Float16 => [float16, bfloat16],
                ValueForm.BFloat16 => [bfloat16],
                _ => [float32],
            };
            Expect(forms.Contains(sections[0].dtype), $"values as {string.Join(" or ", forms)}, found {sections[0].dtype}");
            return sections[0].to(float32, copy: true);
        }
        var kept = sections[1].NumberOfElements;
        Expect(
            sections[0].dtype == float32 && sections[0].NumberOfElements == (kept + Group - 1) / Group,
            $"{(kept + Group - 1) / Group} steps");
        Expect(sections[1].dtype == int8, "values of one byte");
        using var values = sections[1].to(float32);
        using var groups = Grouped(values);
        using var steps = sections[0].unsqueeze(1);
        using var scaled = groups.mul(steps);
        using var flat = scaled.view(-1);
        return flat.narrow(0, 0, kept);
    }

    // (k) as (ceil(k / 256), 256), the last row filled with zeros.
    static Tensor Grouped(Tensor values)
    {
        var kept = values.NumberOfElements;
        if (kept % Group == 0) return values.view(-1, Group);
        var padded = zeros((kept + Group - 1) / Group * Group, values.dtype, values.device);
        using (padded)
        {
            using (var places = padded.narrow(0, 0, kept)) places.copy_(values);
            return padded.view(-1, Group);
        }
    }
}
