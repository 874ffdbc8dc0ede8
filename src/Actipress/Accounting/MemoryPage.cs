using System.Text;
using System.Text.Json;

namespace Actipress.Accounting;

/// <summary>
/// A page of one file about the memory of training steps, which loads nothing from elsewhere: the level through each step, divided by what
/// takes the memory, and a list of what was alive at the moment under the pointer.
/// </summary>
static class MemoryPage
{
    // The place of the title and of the steps in the page that the library carries.
    const string Template = "MemoryPage.html", TitlePlace = "{title}", StepsPlace = "{steps}", KindsPlace = "{kinds}";

    /// <summary>Writes a page of one step, or of several steps above each other.</summary>
    /// <param name="path">The file; its name ends in .html.</param>
    /// <param name="title">The title of the page.</param>
    /// <param name="steps">The name of each step, and its timeline.</param>
    /// <exception cref="ArgumentException">The name ends otherwise.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(string path, string title, IReadOnlyList<(string Name, MemoryTimeline Timeline)> steps)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!path.EndsWith(".html", StringComparison.OrdinalIgnoreCase))
            throw new ArgumentException(
                $"{path}: wanted a file whose name ends in .html, for a page, or in .json, for a snapshot.", nameof(path));
        using var template = new StreamReader(typeof(MemoryPage).Assembly.GetManifestResourceStream(Template)!);
        File.WriteAllText(
            path, template.ReadToEnd().Replace(TitlePlace, System.Net.WebUtility.HtmlEncode(title), StringComparison.Ordinal)
                .Replace(KindsPlace, JsonSerializer.Serialize(MemoryKinds.Words), StringComparison.Ordinal)
                .Replace(StepsPlace, Json(steps), StringComparison.Ordinal));
    }

    // The writer escapes the characters that could end the page's script.
    static string Json(IReadOnlyList<(string Name, MemoryTimeline Timeline)> steps)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartArray();
            foreach (var (name, timeline) in steps) Write(json, name, timeline);
            json.WriteEndArray();
        }
        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    // Texts are written once, and moments and spans name them by their numbers.
    static void Write(Utf8JsonWriter json, string name, MemoryTimeline timeline)
    {
        var (moments, peak, spans) = timeline.Story();
        var texts = new Dictionary<string, int>();
        json.WriteStartObject();
        json.WriteString("name", name);
        json.WriteNumber("peak", peak);
        json.WriteStartArray("moments");
        foreach (var moment in moments)
        {
            json.WriteNumberValue(moment.Level);
            json.WriteNumberValue(moment.Activity.Backward ? 1 : 0);
            json.WriteNumberValue(Number(moment.Activity.ToString()));
        }
        json.WriteEndArray();
        json.WriteStartArray("spans");
        foreach (var span in spans)
        {
            json.WriteNumberValue(span.Bytes);
            json.WriteNumberValue(span.Start);
            json.WriteNumberValue(Math.Min(span.End, moments.Count));
            json.WriteNumberValue((int)span.Kind);
            json.WriteNumberValue(Number(span.What));
        }
        json.WriteEndArray();
        json.WriteStartArray("texts");
        foreach (var text in texts.Keys) json.WriteStringValue(text);
        json.WriteEndArray();
        json.WriteEndObject();

        int Number(string text)
        {
            if (!texts.TryGetValue(text, out var number)) texts.Add(text, number = texts.Count);
            return number;
        }
    }
}
