using Actipress.Selection;

namespace Actipress.Encodings;

/// <summary>The third stage: encodes kept coefficients as bytes, and decodes them (paper, Section 3.3, equations 12 and 13).</summary>
abstract record Encoding
{
    /// <summary>The name in a codec's specification, such as <c>paper</c> or <c>compact</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Whether packing measures the map's error by a sample.</summary>
    internal virtual bool TellsError => false;

    /// <summary>The encoding that replaces this one where no implementation stores it; null for none.</summary>
    internal virtual Encoding? Substitute => null;
}

/// <summary>An encoding of kept coefficients in a few sections, each a flat tensor of one type on the map's device.</summary>
abstract record SectionEncoding : Encoding
{
    /// <summary>Encodes kept coefficients into sections, which the caller disposes.</summary>
    /// <param name="kept">Finite; not disposed.</param>
    /// <param name="coefficients">The number of coefficients before selection.</param>
    internal abstract Tensor[] Encode(Kept kept, long coefficients);

    /// <summary>
    /// Decodes all coefficients, with zeros for those that were not kept: a flat float32 tensor, which the caller disposes.
    /// </summary>
    /// <param name="sections">The result of <see cref="Encode"/>; not disposed.</param>
    /// <param name="coefficients">The number of coefficients before selection.</param>
    /// <exception cref="InvalidDataException">The sections are damaged.</exception>
    internal abstract Tensor Decode(Tensor[] sections, long coefficients);

    /// <summary>
    /// The approximate distance of stored values: the least magnitude that was kept, or the step between levels; 0 if unknown.
    /// </summary>
    /// <param name="sections">The sections, as <see cref="Decode"/> takes them.</param>
    internal abstract float Step(Tensor[] sections);

    /// <summary>The number of coefficients that the sections keep; null where it is not known before they are decoded.</summary>
    internal virtual long? CountIn(Tensor[] sections) => sections.LastOrDefault()?.NumberOfElements ?? 0;

    private protected static float LeastMagnitude(Tensor values)
    {
        if (values.NumberOfElements == 0) return 0;
        using var magnitudes = values.abs();
        using var least = magnitudes.min();
        using var single = least.to(torch.float32);
        return single.item<float>();
    }

    private protected void Expect(bool holds, string wanted)
    {
        if (!holds) throw new InvalidDataException($"Damaged bytes in a map stored as '{Name}': wanted {wanted}. Pack the map again.");
    }

    /// <summary>Writes values at their positions into a tensor of zeros.</summary>
    private protected Tensor Scatter(Tensor positions, Tensor values, long coefficients)
    {
        Expect(
            positions.NumberOfElements == values.NumberOfElements,
            $"a value for each of {positions.NumberOfElements} positions, found {values.NumberOfElements}");
        if (positions.NumberOfElements > 0)
        {
            var (lowest, highest) = positions.aminmax();
            using (lowest)
            using (highest)
                Expect(
                    lowest.item<long>() >= 0 && highest.item<long>() < coefficients,
                    $"positions from 0 to {coefficients - 1}, found {lowest.item<long>()} to {highest.item<long>()}");
        }
        var all = torch.zeros(coefficients, torch.float32, positions.device);
        return all.scatter_(0, positions, values);
    }
}
