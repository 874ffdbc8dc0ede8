using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Actipress.Saving;

namespace Actipress;

/// <summary>A way to store activation maps: transform, keep, encode. Immutable; compared by value; written as text such as <c>dct:10</c>.</summary>
/// <remarks>
/// <c>dct:10</c>, <c>wt:db3:100</c> and <c>st:10</c> name a transform and a ratio, <c>quant:4</c> bits a value, <c>half</c> and <c>bf16</c>
/// 16-bit floats, <c>none</c> leaves maps alone. Options follow after commas: <c>block=</c>4, 8 or 16 (dct), <c>levels=</c>1 to 5 (wt),
/// <c>values=</c>int8, float16, bfloat16 or float32, <c>index=</c>auto, byte or bitmap, <c>zeros=</c>exact or none (exact by default, but for 16-bit floats and the paper's storage), <c>storage=</c>grid, compact or paper.
/// </remarks>
public sealed record ActivationCodec
{
    ActivationCodec(Transform transform, Keep keep, Encoding encoding) => (Transform, Keep, Encoding) = (transform, keep, encoding);

    /// <summary>The first stage.</summary>
    public Transform Transform { get; init; }

    /// <summary>The second stage.</summary>
    public Keep Keep { get; init; }

    /// <summary>The third stage.</summary>
    public Encoding Encoding { get; init; }

    /// <summary>Whether a map with zeros and no negatives keeps its zeros exactly, at one bit an element. On by default.</summary>
    public bool ExactZeros { get; init; } = true;

    /// <summary>Whether a map is packed even where that takes more bytes than it has, as in the paper. Off by default.</summary>
    public bool EvenIfLarger { get; init; }

    /// <summary>Leaves maps as they are.</summary>
    public static ActivationCodec None { get; } = As(ValueForm.Float32);

    /// <summary>Every value as a 16-bit float, as mixed precision would save it: float16.</summary>
    public static ActivationCodec Half { get; } = As(ValueForm.Float16);

    /// <summary>Every value as a 16-bit float, as mixed precision would save it: bfloat16.</summary>
    public static ActivationCodec BFloat16 { get; } = As(ValueForm.BFloat16);

    /// <summary>Block DCT, top-k (paper, Sections 3.1.2 and 3.2).</summary>
    /// <param name="ratio">The compression ratio, lambda: one coefficient in this many is kept; 1 or more.</param>
    /// <param name="block">Edge of a block: 4, 8 or 16.</param>
    public static ActivationCodec Dct(double ratio, int block = 16) => new(new Dct(block), TopKeeping(ratio), new GridStorage());

    /// <summary>Wavelet transform, top-k (paper, Sections 3.1.1 and 3.2).</summary>
    /// <param name="family">One of <see cref="Actipress.Wavelet.Families"/>, such as <c>haar</c> or <c>db3</c>.</param>
    /// <param name="ratio">The compression ratio, lambda: 1 or more.</param>
    /// <param name="levels">1 to 5.</param>
    public static ActivationCodec Wavelet(string family, double ratio, int levels = 3) => new(new Wavelet(family, levels), TopKeeping(ratio), new GridStorage());

    /// <summary>Top-k of the map itself: plain thresholding (the paper's ST).</summary>
    /// <param name="ratio">The compression ratio, lambda: 1 or more.</param>
    public static ActivationCodec Threshold(double ratio) => new(new Identity(), TopKeeping(ratio), new GridStorage());

    /// <summary>Group quantisation with stochastic rounding.</summary>
    /// <param name="bits">Bits a value: 8, 4 or 2.</param>
    public static ActivationCodec Quantized(int bits) => new(new Identity(), new Keep.Everything(), new Quantized(bits));

    /// <summary>The same stages as the paper stores them: 12 bytes a coefficient, no exact zeros, even where that is more than the map had.</summary>
    public ActivationCodec AsInPaper() => this with { Encoding = new Coo(), ExactZeros = false, EvenIfLarger = true };

    static ActivationCodec As(ValueForm values) => new(new Identity(), new Keep.Everything(), new Compact(Values: values)) { ExactZeros = false };

    static Keep.TopK TopKeeping(double ratio) =>
        ratio is >= 1 and < double.PositiveInfinity ? new(ratio) : throw new ArgumentOutOfRangeException(nameof(ratio), $"No compression ratio of {ratio}: wanted a number of 1 or more.");

    /// <summary>How finely it gives a map's values back.</summary>
    internal Fineness Fineness => (Transform, Keep, Encoding) switch
    {
        (Identity, Keep.Everything or Keep.TopK { Ratio: 1 } or Keep.Above { Threshold: 0 }, Coo or Compact { Values: ValueForm.Float32 }) => Fineness.Exact,
        (Identity, Keep.Everything, Compact { Values: ValueForm.Float16 or ValueForm.BFloat16 }) => Fineness.Sixteen,
        (_, Keep.TopK { Ratio: 1 }, Coo or Compact { Values: ValueForm.Float32 }) => Fineness.Sixteen,
        _ => Fineness.Codec,
    };

    /// <summary>One example of each kind of codec, and what it is.</summary>
    public static IReadOnlyList<(string Example, string Meaning)> Known { get; } =
    [
        ("none", "leaves maps as they are"),
        ("st:10", "keeps the largest tenth of the values themselves"),
        ("wt:db3:10", "keeps the largest tenth of the wavelet coefficients (haar, db2-db8, sym2-sym8, coif1-coif5)"),
        ("dct:10", "keeps the largest tenth of the block DCT's coefficients"),
        ("quant:4", "rounds values to 8, 4 or 2 bits in groups of 256"),
        ("half", "rounds values to float16"),
        ("bf16", "rounds values to bfloat16"),
    ];

    /// <summary>The codec that <paramref name="text"/> writes.</summary>
    /// <exception cref="FormatException">Not a codec; the message says what was found and what is known.</exception>
    public static ActivationCodec Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var parts = text.Split(',', StringSplitOptions.TrimEntries);
        var words = parts[0].Split(':');
        var options = Options(text, parts[1..]);
        try
        {
            var codec = words switch
            {
                ["none"] => None,
                ["half"] => Half,
                ["bf16"] => BFloat16,
                ["quant", var bits] => Quantized((int)Number(text, bits)),
                ["st" or "dct", var ratio] => Transformed(words[0], ratio),
                ["wt", var family, var ratio] => Transformed($"wt:{family}", ratio),
                _ => throw Unknown(text),
            };
            return WithOptions(text, codec, options);
        }
        catch (ArgumentOutOfRangeException failure) { throw new FormatException($"Cannot use the codec '{text}': {failure.Message.Split(" (Parameter")[0]}", failure); }

        ActivationCodec Transformed(string name, string ratio)
        {
            var stages = new TransformOptions
            {
                Block = options.Remove("block", out var block) && name == "dct" ? (int)Number(text, block) : block is null ? 16 : throw NoOption(text, "block", name),
                Levels = options.Remove("levels", out var levels) && name.StartsWith("wt:", StringComparison.Ordinal) ? (int)Number(text, levels) : levels is null ? 3 : throw NoOption(text, "levels", name),
            };
            return new(Transforms.Named(name, stages), TopKeeping(Number(text, ratio)), new GridStorage());
        }
    }

    /// <summary>As <see cref="Parse"/>, without an exception.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out ActivationCodec? codec)
    {
        try
        {
            codec = Parse(text);
            return true;
        }
        catch (FormatException)
        {
            codec = null;
            return false;
        }
    }

    static Dictionary<string, string> Options(string text, string[] parts)
    {
        var options = new Dictionary<string, string>();
        foreach (var part in parts)
            if (part.Split('=') is not [var name, var value] || !options.TryAdd(name, value))
                throw new FormatException($"Cannot read the option '{part}' of the codec '{text}': wanted name=value, each name once.");
        return options;
    }

    static ActivationCodec WithOptions(string text, ActivationCodec codec, Dictionary<string, string> options)
    {
        if (options.Remove("storage", out var storage))
            codec = storage switch
            {
                "paper" when codec.Keep is Keep.TopK => codec.AsInPaper(),
                "compact" when codec.Keep is Keep.TopK => codec with { Encoding = new Compact() },
                "grid" when codec.Keep is Keep.TopK => codec with { Encoding = new GridStorage() },
                _ => throw NoValue(text, "storage", storage, "grid, compact, paper"),
            };
        if (options.Remove("zeros", out var zeros))
            codec = codec with { ExactZeros = zeros switch { "exact" => true, "none" => false, _ => throw NoValue(text, "zeros", zeros, "exact, none") } };
        if (codec.Encoding is GridStorage && (options.ContainsKey("values") || options.ContainsKey("index"))) codec = codec with { Encoding = new Compact() };
        if (codec is { Encoding: Compact compact, Keep: Keep.TopK })
        {
            if (options.Remove("values", out var values))
                compact = compact with { Values = Form<ValueForm>("values", values) };
            if (options.Remove("index", out var index))
                compact = compact with { Index = Form<IndexForm>("index", index) };
            codec = codec with { Encoding = compact };
        }
        return options.Count == 0 ? codec : throw NoOption(text, options.Keys.First(), text.Split(',')[0]);

        // Names only: Enum.Parse would take numbers too.
        T Form<T>(string option, string name) where T : struct, Enum
        {
            foreach (var form in Enum.GetValues<T>())
                if (string.Equals(form.ToString(), name, StringComparison.OrdinalIgnoreCase)) return form;
            throw NoValue(text, option, name, string.Join(", ", Enum.GetValues<T>().Select(Lower)));
        }
    }

    static double Number(string text, string word) =>
        double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new FormatException($"Cannot read '{word}' of the codec '{text}': wanted a number, as in {string.Join(", ", Known.Select(known => known.Example))}.");

    static FormatException Unknown(string text) => new($"No codec '{text}'. Known: {string.Join(", ", Known.Select(known => known.Example))}; options such as 'dct:10,values=float16' follow after a comma.");

    static FormatException NoOption(string text, string option, string codec) => new($"The codec '{codec}' has no option '{option}' (in '{text}'). Known: block (dct), levels (wt), values, index (compact storage), zeros, storage.");

    static FormatException NoValue(string text, string option, string found, string wanted) => new($"No {option}={found} (in the codec '{text}'): wanted one of {wanted}.");

    /// <summary>The codec as <see cref="Parse"/> reads it.</summary>
    public override string ToString()
    {
        if (this == None) return "none";
        var text = Keep switch
        {
            Keep.TopK { Ratio: var ratio } => string.Create(CultureInfo.InvariantCulture, $"{Transform.Name}:{ratio}"),
            Keep.Above { Threshold: var threshold } => string.Create(CultureInfo.InvariantCulture, $"{Transform.Name}:above {threshold}"),
            _ => Encoding switch
            {
                Quantized { Bits: var bits } => $"quant:{bits}",
                Compact { Values: ValueForm.Float16 } => "half",
                Compact { Values: ValueForm.BFloat16 } => "bf16",
                _ => Transform.Name,
            },
        };
        var is16Bit = Keep is Keep.Everything && Encoding is Compact;
        if (Transform is Dct { Block: not 16 and var block }) text += $",block={block}";
        if (Transform is Wavelet { Levels: not 3 and var levels }) text += $",levels={levels}";
        if (Encoding is Coo) return text + ",storage=paper" + (ExactZeros ? ",zeros=exact" : "");
        if (Encoding is Compact compact && !is16Bit)
        {
            if (compact == new Compact()) text += ",storage=compact";
            if (compact.Values != ValueForm.Int8) text += $",values={Lower(compact.Values)}";
            if (compact.Index != IndexForm.Auto) text += $",index={Lower(compact.Index)}";
        }
        return ExactZeros == !is16Bit ? text : $"{text},zeros={(ExactZeros ? "exact" : "none")}";
    }

    static string Lower<T>(T form) where T : struct, Enum => form.ToString().ToLowerInvariant();
}
