using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json;

namespace Actipress.Cli;

/// <summary>Options whose value is a number or a word of a list. Another value gives one message.</summary>
static class Values
{
    const string Positive = "a whole number of 1 or more, such as 10", Any = "a whole number, such as 1", Real = "a number, such as 0.001";

    /// <summary>A whole number of 1 or more with a default.</summary>
    public static Option<int> Count(string name, string description, int value) =>
        Make(name, description, value, found => Parse<int>(found, Positive, TryPositive));

    /// <summary>An optional whole number of 1 or more.</summary>
    public static Option<int?> OptionalCount(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "number",
        CustomParser = found => Parse<int>(found, Positive, TryPositive) is var value and not 0 ? value : null,
    };

    /// <summary>Any whole number.</summary>
    public static Option<int> Number(string name, string description, int value) => Make(name, description, value, found => Parse(
        found, Any,
        (string text, out int number) => int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number)));

    /// <summary>Any number.</summary>
    public static Option<double> Fraction(string name, string description, double value) => Make(name, description, value, found => Parse(
        found, Real,
        (string text, out double number) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number)));

    /// <summary>A number of bytes; null where none is given.</summary>
    public static Option<long?> Bytes(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "size",
        CustomParser = found => Parse(found, "a size such as 800MiB or 2GiB", (string text, out long bytes) => TryBytes(text, out bytes)),
    };

    static bool TryBytes(string text, out long bytes)
    {
        bytes = 0;
        var unit = Array.FindIndex(units, unit => text.EndsWith(unit.Name, StringComparison.OrdinalIgnoreCase));
        if (unit < 0) return false;
        var digits = text[..^units[unit].Name.Length];
        if (!double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)) return false;
        var whole = number * units[unit].Bytes;
        bytes = whole is >= 1 and < 1L << 60 ? (long)whole : 0;
        return bytes > 0;
    }

    // The last unit is a suffix of all others, and so comes last.
    static readonly (string Name, double Bytes)[] units =
    [
        ("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("B", 1),
    ];

    /// <summary>One of an enumeration's values, in lower case with hyphens; null where none is given.</summary>
    public static Option<T?> OneOf<T>(string name, string description) where T : struct, Enum
    {
        var words = Enum.GetValues<T>().ToDictionary(value => Word(value));
        var wanted = string.Join(", ", words.Keys);
        var option = new Option<T?>(name)
        {
            Description = description,
            HelpName = string.Join('|', words.Keys),
            CustomParser = found => Parse(found, wanted, (string text, out T value) => words.TryGetValue(text, out value)),
        };
        option.CompletionSources.Add([.. words.Keys]);
        return option;
    }

    /// <summary>The text of an enumeration's value.</summary>
    public static string Word(Enum value) => JsonNamingPolicy.KebabCaseLower.ConvertName($"{value}");

    delegate bool TryParse<T>(string text, out T value);

    static Option<T> Make<T>(string name, string description, T value, Func<ArgumentResult, T> parse) =>
        new(name) { Description = description, HelpName = "number", DefaultValueFactory = _ => value, CustomParser = parse };

    static bool TryPositive(string text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number >= 1;

    static T Parse<T>(ArgumentResult found, string wanted, TryParse<T> tryParse)
    {
        var text = found.Tokens[^1].Value;
        if (tryParse(text, out var value)) return value;
        found.AddError($"{((OptionResult)found.Parent!).Option.Name} {text}: wanted {wanted}.");
        return default!;
    }
}
