using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Actipress.Experiments;

/// <summary>The one way in which results become JSON: snake_case, NaN and infinities by name.</summary>
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

    // What is null is not written, so a missing value may be null. What may not be null has to be there.
    static void RequireWhatIsNeverNull(JsonTypeInfo type)
    {
        foreach (var property in type.Properties)
            if (property is { PropertyType.IsValueType: false, AssociatedParameter: { HasDefaultValue: false, IsNullable: false } })
                property.IsRequired = true;
    }

    /// <summary>One line, for a results file.</summary>
    public static string Line<T>(T value) => JsonSerializer.Serialize(value, line);

    /// <summary>What <see cref="Line"/> or <see cref="Document"/> wrote; null for what is not such a thing.</summary>
    public static T? Read<T>(string text) where T : class
    {
        try { return JsonSerializer.Deserialize<T>(text, stored); }
        catch (JsonException) { return null; }
    }

    /// <summary>The same, for what people write: comments are allowed, unknown names are not.</summary>
    /// <exception cref="JsonException">It is not such a thing; the message says where and why.</exception>
    public static T ReadStrictly<T>(string text) where T : class => JsonSerializer.Deserialize<T>(text, strict) ?? throw new JsonException("found null.");

    /// <summary>A document, for people and programs.</summary>
    public static string Document<T>(T value) => JsonSerializer.Serialize(value, document);

    /// <summary>A line of a results file; null where it is broken.</summary>
    public static JsonElement? TryParse(string text)
    {
        try
        {
            var line = JsonDocument.Parse(text).RootElement;
            return !text.Contains("\\u", StringComparison.Ordinal) || IsText(line) ? line : null;
        }
        catch (JsonException) { return null; }
    }

    // Whether names and strings can be read: the parser lets half a surrogate pair pass, and whoever reads the string meets it.
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

    /// <summary>Whether a line is an object with this text under this name.</summary>
    public static bool Has(this JsonElement line, string name, string text) =>
        line.ValueKind == JsonValueKind.Object && line.TryGetProperty(name, out var found)
        && found.ValueKind == JsonValueKind.String && found.ValueEquals(text);

    /// <summary>As much of a line as a message has room for.</summary>
    internal static string Beginning(JsonElement line)
    {
        var text = line.GetRawText();
        return text.Length > 100 ? $"{text[..100]}..." : text;
    }

    /// <summary>What <see cref="Line"/> wrote, as an object again.</summary>
    public static T Of<T>(JsonElement value) => value.Deserialize<T>(stored) ?? throw new InvalidDataException($"Null in place of a {typeof(T).Name}.");
}
