using System.Globalization;
using Actipress.Encodings;
using Actipress.Selection;
using Actipress.Transforms;

namespace Actipress.Codecs;

/// <summary>
/// Reads and writes codecs as text, such as <c>wt:db3:10,levels=2</c>. docs/pipeline.md has the grammar and the table of options.
/// </summary>
static class CodecText
{
    /// <summary>
    /// An option of a codec; the table has the order in which options apply. <paramref name="With"/> returns null where the codec has no
    /// such option.
    /// </summary>
    sealed record Option(string Name, string Of, Func<ActivationCodec, Value, ActivationCodec?> With);

    // The value of an option, and the whole text, which errors cite.
    sealed record Value(string Text, string Option, string Word);

    static readonly Option[] options =
    [
        new(
            "block", "dct",
            (codec, value) => codec.Transform is Dct ? codec with { Transform = new Dct(Whole(value.Text, value.Word)) } : null),
        new("levels", "wt", (codec, value) => codec.Transform is Wavelet { Family: var family }
            ? codec with { Transform = new Wavelet(family, Whole(value.Text, value.Word)) }
            : null),
        new("storage", "st, dct and wt", (codec, value) => codec.Keep is Keep.Everything ? null : OneOf(value, [
            ("grid", () => codec with { Encoding = new GridStorage() }),
            ("compact", () => codec with { Encoding = new Compact() }),
            ("paper", codec.AsInPaper)])),
        new("values", "compact storage", (codec, value) => IsCompact(codec, out var compact)
            ? codec with { Encoding = compact with { Values = Form<ValueForm>(value) } }
            : null),
        new("index", "compact storage", (codec, value) => IsCompact(codec, out var compact)
            ? codec with { Encoding = compact with { Index = Form<IndexForm>(value) } }
            : null),
        new("zeros", "every codec but none and exact", (codec, value) => HasNoOptions(codec) ? null : OneOf(value, [
            ("exact", () => codec with { ExactZeros = true }),
            ("none", () => codec with { ExactZeros = false })])),
        new("larger", "every codec but none and exact", (codec, value) => HasNoOptions(codec) ? null : OneOf(value, [
            ("leave", () => codec with { EvenIfLarger = false }),
            ("pack", () => codec with { EvenIfLarger = true })])),
    ];

    /// <summary>The codec of a text.</summary>
    /// <exception cref="FormatException">The text is no codec's.</exception>
    public static ActivationCodec Parse(string text)
    {
        var parts = text.Split(',', StringSplitOptions.TrimEntries);
        var (name, given) = (parts[0], OptionsIn(text, parts[1..]));
        try
        {
            var codec = name.Split(':') switch
            {
                ["none"] => ActivationCodec.None,
                ["exact"] => ActivationCodec.Exact,
                ["half"] => ActivationCodec.Half,
                ["bf16"] => ActivationCodec.BFloat16,
                ["quant", var bits] => ActivationCodec.Quantized(Whole(text, bits)),
                _ => Transformed(text, name),
            };
            // A form of values or positions selects compact storage, unless the text names a storage.
            if (codec.Keep is not Keep.Everything && (given.ContainsKey("values") || given.ContainsKey("index")))
                given.TryAdd("storage", "compact");
            foreach (var option in options)
                if (given.Remove(option.Name, out var word))
                    codec = option.With(codec, new(text, option.Name, word))
                        ?? throw NoOption(text, codec, option.Name, $" {option.Name} is for {option.Of}.");
            return given.Count == 0 ? codec : throw NoOption(text, codec, given.Keys.First(), "");
        }
        catch (ArgumentOutOfRangeException failure)
        {
            throw new FormatException($"Cannot use the codec '{text}': {failure.Message.Split(" (Parameter")[0]}", failure);
        }
    }

    static ActivationCodec Transformed(string text, string name)
    {
        var transform = KnownTransforms.All.FirstOrDefault(known => name.StartsWith($"{known.Name}:", StringComparison.Ordinal))
            ?? throw Unknown(text);
        Keep keep = name[(transform.Name.Length + 1)..].Split(':') switch
        {
            [var ratio] => ActivationCodec.TopKeeping(Number(text, ratio)),
            ["above", var threshold] => new Keep.Above(Threshold(text, threshold)),
            _ => throw Unknown(text),
        };
        return new(transform, keep, new GridStorage());
    }

    static Dictionary<string, string> OptionsIn(string text, string[] parts)
    {
        var given = new Dictionary<string, string>();
        foreach (var part in parts)
            if (part.Split('=') is not [var name, var value] || !given.TryAdd(name, value))
                throw new FormatException($"Cannot read the option '{part}' of the codec '{text}': wanted name=value, each name once.");
        return given;
    }

    static bool HasNoOptions(ActivationCodec codec) => codec == ActivationCodec.None || codec == ActivationCodec.Exact;

    static bool IsCompact(ActivationCodec codec, out Compact compact)
    {
        compact = codec.Encoding as Compact ?? new();
        return codec.Encoding is Compact && codec.Keep is not Keep.Everything;
    }

    static ActivationCodec OneOf(Value value, (string Word, Func<ActivationCodec> With)[] known)
    {
        foreach (var (word, with) in known)
            if (word == value.Word) return with();
        throw NoValue(value, known.Select(one => one.Word));
    }

    // Enum.Parse would accept numbers too, so that names are compared here.
    static T Form<T>(Value value) where T : struct, Enum
    {
        foreach (var form in Enum.GetValues<T>())
            if (string.Equals(form.ToString(), value.Word, StringComparison.OrdinalIgnoreCase)) return form;
        throw NoValue(value, Enum.GetValues<T>().Select(Lower));
    }

    static double Number(string text, string word) =>
        double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            ? number : throw NoNumber(text, word, "a number");

    static int Whole(string text, string word) =>
        int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number : throw NoNumber(text, word, "a whole number");

    static float Threshold(string text, string word)
    {
        var number = Number(text, word);
        var threshold = (float)number;
        return threshold >= 0 && float.IsFinite(threshold) && (threshold > 0 || number == 0)
            ? threshold
            : throw NoNumber(text, word, $"0 or a number from {float.Epsilon} to {float.MaxValue}");
    }

    static string Examples => string.Join(", ", ActivationCodec.Known.Select(known => known.Example));

    static FormatException NoNumber(string text, string word, string wanted) =>
        new(FormattableString.Invariant($"Cannot read '{word}' of the codec '{text}': wanted {wanted}, as in {Examples}."));

    static FormatException Unknown(string text)
    {
        var wavelets = text.StartsWith("wt", StringComparison.Ordinal) ? $" Wavelets: {string.Join(", ", Wavelet.Families)}." : "";
        return new($"No codec '{text}'. Known: {Examples}; options such as 'dct:10,values=float16' follow after a comma.{wavelets}");
    }

    static FormatException NoOption(string text, ActivationCodec codec, string option, string why) =>
        new($"The codec '{codec}' has no option '{option}' (in '{text}').{why} Known: "
            + $"{string.Join(", ", options.Select(known => $"{known.Name} ({known.Of})"))}.");

    static FormatException NoValue(Value value, IEnumerable<string> wanted) =>
        new($"No {value.Option}={value.Word} (in the codec '{value.Text}'): wanted one of {string.Join(", ", wanted)}.");

    /// <summary>The text of a codec. Where a stage belongs to a program, the text names the stage, but cannot be read.</summary>
    public static string Of(ActivationCodec codec)
    {
        if (codec == ActivationCodec.None) return "none";
        if (codec == ActivationCodec.Exact) return "exact";
        var text = codec.Keep switch
        {
            Keep.TopK { Ratio: var ratio } => string.Create(CultureInfo.InvariantCulture, $"{codec.Transform.Name}:{ratio}"),
            Keep.Above { Threshold: var threshold } =>
                string.Create(CultureInfo.InvariantCulture, $"{codec.Transform.Name}:above:{threshold}"),
            _ => codec.Encoding switch
            {
                Quantized { Bits: var bits } => $"quant:{bits}",
                Compact { Values: ValueForm.Float16 } => "half",
                Compact { Values: ValueForm.BFloat16 } => "bf16",
                _ => codec.Transform.Name,
            },
        };
        if (codec.Transform is Dct { Block: not 16 and var block }) text += $",block={block}";
        if (codec.Transform is Wavelet { Levels: not 3 and var levels }) text += $",levels={levels}";
        if (codec.Encoding is Coo) text += ",storage=paper";
        if (IsCompact(codec, out var compact))
        {
            if (compact == new Compact()) text += ",storage=compact";
            if (compact.Values != ValueForm.Int8) text += $",values={Lower(compact.Values)}";
            if (compact.Index != IndexForm.Auto) text += $",index={Lower(compact.Index)}";
        }
        var (zeros, larger) =
            (codec.Encoding is not Coo && !(codec.Encoding is Compact && codec.Keep is Keep.Everything), codec.Encoding is Coo);
        if (codec.ExactZeros != zeros) text += $",zeros={(codec.ExactZeros ? "exact" : "none")}";
        if (codec.EvenIfLarger != larger) text += $",larger={(codec.EvenIfLarger ? "pack" : "leave")}";
        return text;
    }

    static string Lower<T>(T form) where T : struct, Enum => form.ToString().ToLowerInvariant();
}
