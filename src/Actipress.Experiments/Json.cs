using System.Text.Json;
using System.Text.Json.Serialization;

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

    static readonly JsonSerializerOptions strict = new(line) { UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow, ReadCommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };

    /// <summary>One line, for a results file.</summary>
    public static string Line<T>(T value) => JsonSerializer.Serialize(value, line);

    /// <summary>What <see cref="Line"/> or <see cref="Document"/> wrote; null for what is not such a thing.</summary>
    public static T? Read<T>(string text) where T : class
    {
        try { return JsonSerializer.Deserialize<T>(text, line); }
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
        try { return JsonDocument.Parse(text).RootElement; }
        catch (JsonException) { return null; }
    }

    /// <summary>What <see cref="Line"/> wrote, as an object again.</summary>
    public static T Of<T>(JsonElement value) => value.Deserialize<T>(line) ?? throw new InvalidDataException($"Null in place of a {typeof(T).Name}.");
}
