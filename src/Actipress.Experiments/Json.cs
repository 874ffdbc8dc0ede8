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

    /// <summary>One line, for a results file.</summary>
    public static string Line<T>(T value) => JsonSerializer.Serialize(value, line);

    /// <summary>What <see cref="Line"/> or <see cref="Document"/> wrote; null for what is not such a thing.</summary>
    public static T? Read<T>(string text) where T : class
    {
        try { return JsonSerializer.Deserialize<T>(text, line); }
        catch (JsonException) { return null; }
    }

    /// <summary>A document, for people and programs.</summary>
    public static string Document<T>(T value) => JsonSerializer.Serialize(value, document);
}
