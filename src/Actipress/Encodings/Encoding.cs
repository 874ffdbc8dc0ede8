namespace Actipress;

/// <summary>The third stage: how kept coefficients become bytes and come back (paper, Section 3.3, equations 12 and 13).</summary>
public abstract record Encoding
{
    /// <summary>The name in a codec's specification, such as <c>paper</c> or <c>compact</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Whether packing tells of the map's error by a sample.</summary>
    internal virtual bool TellsError => false;

    /// <summary>The encoding that takes its place where no implementation stores it; null for none.</summary>
    internal virtual Encoding? Substitute => null;
}

/// <summary>An encoding of kept coefficients in a few sections, each a flat tensor of one type on the map's device.</summary>
public abstract record SectionEncoding : Encoding
{
    /// <summary>The sections of kept coefficients, which the caller disposes.</summary>
    /// <param name="kept">Finite; not disposed.</param>
    /// <param name="coefficients">How many coefficients there were before selection.</param>
    internal abstract Tensor[] Encode(Kept kept, long coefficients);

    /// <summary>All coefficients again, those not kept as zeros: flat float32, which the caller disposes.</summary>
    /// <param name="sections">What <see cref="Encode"/> gave; not disposed.</param>
    /// <param name="coefficients">How many they are together.</param>
    /// <exception cref="InvalidDataException">The sections are damaged.</exception>
    internal abstract Tensor Decode(Tensor[] sections, long coefficients);

    /// <summary>About how far stored values are from each other: the least magnitude that was kept, or a step between levels; 0 if unknown.</summary>
    /// <param name="sections">What <see cref="Decode"/> took.</param>
    internal abstract float Step(Tensor[] sections);

    /// <summary>How many coefficients the sections keep; null where that cannot be told before they are decoded.</summary>
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

    /// <summary>Writes values to their places among zeros.</summary>
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
