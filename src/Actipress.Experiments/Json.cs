using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Actipress.Experiments;

/// <summary>The JSON of all results: names in snake_case, and NaN and infinities as names.</summary>
public static class Json
{
    static readonly JsonSerializerOptions line = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.KebabCaseLower) },
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    static readonly JsonSerializerOptions document = new(line) { WriteIndented = true };

    static readonly JsonSerializerOptions stored = new(line)
    {
        RespectNullableAnnotations = true,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { RequireWhatIsNeverNull } },
    };

    static readonly JsonSerializerOptions strict = new(stored)
    {
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
    };

    // Null values are not written, so that a missing value may be null. Values that cannot be null must be present.
    static void RequireWhatIsNeverNull(JsonTypeInfo type)
    {
        foreach (var property in type.Properties)
            if (property is { PropertyType.IsValueType: false, AssociatedParameter: { HasDefaultValue: false, IsNullable: false } })
                property.IsRequired = true;
    }

    /// <summary>One line, for a results file.</summary>
    public static string Line<T>(T value) => JsonSerializer.Serialize(value, line);

    /// <summary>Reads the result of <see cref="Line"/> or <see cref="Document"/>; null for any other text.</summary>
    public static T? Read<T>(string text) where T : class
    {
        try { return JsonSerializer.Deserialize<T>(text, stored); }
        catch (JsonException) { return null; }
    }

    /// <summary>Reads JSON that people write: comments are allowed, and unknown names are refused.</summary>
    /// <exception cref="JsonException">The text has another form; the message says where and why.</exception>
    public static T ReadStrictly<T>(string text) where T : class =>
        JsonSerializer.Deserialize<T>(text, strict) ?? throw new JsonException("found null.");

    /// <summary>A document, for people and programs.</summary>
    public static string Document<T>(T value) => JsonSerializer.Serialize(value, document);

    /// <summary>Parses a line of a results file; null where the line is broken.</summary>
    public static JsonElement? TryParse(string text)
    {
        try
        {
            var line = JsonDocument.Parse(text).RootElement;
            return !text.Contains("\\u", StringComparison.Ordinal) || IsText(line) ? line : null;
        }
        catch (JsonException) { return null; }
    }

    // Whether names and strings can be read. The parser accepts half a surrogate pair, which fails only when the string is read.
    static bool IsText(JsonElement value)
    {
        try
        {
            return value.ValueKind switch
            {
                JsonValueKind.Object => value.EnumerateObject().All(member => member.Name is not null && IsText(member.Value)),
                JsonValueKind.Array => value.EnumerateArray().All(IsText),
                JsonValueKind.String => value.GetString() is not null,
                _ => true,
            };
        }
        catch (InvalidOperationException) { return false; }
    }

    /// <summary>Whether a line is an object in which this name has this text.</summary>
    public static bool Has(this JsonElement line, string name, string text) =>
        line.ValueKind == JsonValueKind.Object && line.TryGetProperty(name, out var found)
        && found.ValueKind == JsonValueKind.String && found.ValueEquals(text);

    /// <summary>The beginning of a line, as long as a message has room.</summary>
    internal static string Beginning(JsonElement line)
    {
        var text = line.GetRawText();
        return text.Length > 100 ? $"{text[..100]}..." : text;
    }

    /// <summary>Reads the result of <see cref="Line"/>.</summary>
    public static T Of<T>(JsonElement value) =>
        value.Deserialize<T>(stored) ?? throw new InvalidDataException($"Null in place of a {typeof(T).Name}.");
}
