namespace Actipress.Data;

/// <summary>Maps the numbers in label files to classes.</summary>
/// <param name="Classes">The classes by the number in files.</param>
public sealed record Relabelling(IReadOnlyDictionary<int, int> Classes)
{
    /// <summary>Whether files may hold only these numbers; otherwise another number stays the same.</summary>
    public bool Only { get; init; }

    // Floating-point numbers in label files are whole numbers only approximately.
    const float Tolerance = 1e-3f;

    /// <summary>The relabelling that changes no number.</summary>
    public static Relabelling None { get; } = new(new Dictionary<int, int>());

    /// <summary>The relabelling of masks of 0 and 255.</summary>
    internal static Relabelling OfMasks { get; } = new(new Dictionary<int, int> { [255] = 1 });

    /// <summary>Reads a relabelling such as <c>4=3,255=1</c>.</summary>
    /// <exception cref="FormatException">The text is no relabelling.</exception>
    public static Relabelling Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var classes = new Dictionary<int, int>();
        foreach (var part in text.Split(','))
            if (part.Split('=') is not [var from, var to] || !int.TryParse(from, out var number) || !int.TryParse(to, out var label)
                || label is < 0 or > ushort.MaxValue || !classes.TryAdd(number, label))
                throw new FormatException($"No relabelling '{text}': wanted pairs of a number in the files and its class, each number "
                    + "once, such as 4=3,255=1.");
        return new(classes);
    }

    /// <summary>The class of a number in a file; null where the number is negative, or no whole number within a thousandth.</summary>
    public int? ClassOf(float value)
    {
        var rounded = MathF.Round(value);
        if (!(Math.Abs(value - rounded) <= Tolerance) || Math.Abs(rounded) > ushort.MaxValue) return null;
        return Classes.TryGetValue((int)rounded, out var label) ? label : !Only && rounded >= 0 ? (int)rounded : null;
    }

    /// <summary>
    /// The number that files have for a class: the smallest number that is relabelled to the class, or the class itself. Background stays
    /// 0, whatever else is relabelled to it.
    /// </summary>
    public int ValueOf(int label) => label == 0 && ClassOf(0) == 0 ? 0
        : Classes.Where(pair => pair.Value == label).Select(pair => pair.Key).DefaultIfEmpty(label).Min();

    /// <summary>Whether numbers are those of a mask: 0 and 255 only, while 255 is no class.</summary>
    internal bool IsMask(ReadOnlySpan<float> values, int most)
    {
        if (most >= 255 || Classes.ContainsKey(255)) return false;
        var isMarked = false;
        foreach (var value in values)
            if (Math.Abs(value - 255) <= Tolerance) isMarked = true;
            else if (!(Math.Abs(value) <= Tolerance)) return false;
        return isMarked;
    }

    /// <summary>The numbers that files may hold, for messages.</summary>
    internal string Wanted(int most) => Only ? string.Join(", ", Classes.Keys.Order())
        : $"whole numbers from 0 to {most}{(Classes.Count == 0 ? "" : $" after {this}")}";

    /// <summary>Numbers these values from 0 on, and allows no others.</summary>
    internal static Relabelling InOrder(IEnumerable<int> numbers) =>
        new(numbers.Index().ToDictionary(one => one.Item, one => one.Index)) { Only = true };

    /// <summary>The text that <see cref="Parse"/> reads.</summary>
    public override string ToString() => string.Join(',', Classes.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key}={pair.Value}"));
}
