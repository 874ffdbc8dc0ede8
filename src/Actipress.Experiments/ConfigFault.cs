using System.Text.Json;
using Actipress.Autograd;

namespace Actipress.Experiments;

/// <summary>Describes the fault in the text of a <see cref="SweepConfig"/>, for its author.</summary>
static class ConfigFault
{
    static readonly JsonDocumentOptions asWritten = new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };

    static readonly Dictionary<string, Type> known = typeof(SweepConfig).GetProperties()
        .ToDictionary(property => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name), property => property.PropertyType);

    /// <summary>The message: what was found, where, and what was wanted.</summary>
    /// <param name="text">The text of the file.</param>
    /// <param name="failure">The exception that reading it threw.</param>
    public static string In(string text, JsonException failure)
    {
        try
        {
            using var document = JsonDocument.Parse(text, asWritten);
            var root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object) return $"found {Kind(root)}, wanted an object with model, codecs and more.";
            var names = root.EnumerateObject().Select(member => member.Name).ToArray();
            if (names.FirstOrDefault(name => !known.ContainsKey(name)) is { } unknown)
                return $"it has no setting '{unknown}'.{DidYouMean(unknown)} Known: {string.Join(", ", known.Keys)}.";
            foreach (var needed in (string[])["model", "codecs"])
                if (!names.Contains(needed)) return $"it has no '{needed}', wanted {Wanted(known[needed])}.";
            foreach (var member in root.EnumerateObject())
                if (IsAt(failure, member.Name))
                    return $"'{member.Name}'{Line(failure)}: found {Shortened(member.Value)}, wanted {Wanted(known[member.Name])}.";
            return failure.Message;
        }
        catch (JsonException broken) { return $"it is no JSON{Line(broken)}: {broken.Message.Split(" LineNumber:")[0]}"; }
        catch (InvalidOperationException) { return failure.Message; }    // for a name that is no text
    }

    static bool IsAt(JsonException failure, string name) =>
        failure.Path == $"$.{name}" || failure.Path?.StartsWith($"$.{name}[", StringComparison.Ordinal) == true
        || failure.Message.Contains($"'{name}'", StringComparison.Ordinal);

    // A name counts as a misspelling where at most a third of its letters differ.
    static string DidYouMean(string unknown)
    {
        var (nearest, distance) = known.Keys.Select(name => (name, Operation.Distance(name, unknown))).MinBy(pair => pair.Item2);
        return distance <= Math.Max(1, nearest.Length / 3) ? $" Did you mean '{nearest}'?" : "";
    }

    static string Line(JsonException failure) => failure.LineNumber is { } line ? $" in line {line + 1}" : "";

    static string Shortened(JsonElement value) => value.GetRawText() is { Length: > 40 } text ? $"{text[..40]}..." : value.GetRawText();

    static string Kind(JsonElement value) => value.ValueKind == JsonValueKind.Array ? "a list" : Shortened(value);

    static string Wanted(Type type)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type.IsEnum)
            return string.Join(
                " or ", Enum.GetNames(type).Select(JsonNamingPolicy.KebabCaseLower.ConvertName).Select(name => $"\"{name}\""));
        if (type.IsGenericType) return $"a list of {Wanted(type.GetGenericArguments()[0])[2..]}s";
        return type == typeof(int) ? "a whole number" : type == typeof(double) ? "a number" : "a text";
    }
}
