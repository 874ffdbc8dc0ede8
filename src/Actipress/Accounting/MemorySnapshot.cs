using System.Text.Json;

namespace Actipress.Accounting;

/// <summary>
/// A snapshot of training steps as PyTorch's memory viewer (pytorch.org/memory_viz) reads it: <c>device_traces</c> of allocations and frees
/// as <c>torch.cuda.memory._snapshot()</c> gives them, in JSON. The steps take the places of devices.
/// </summary>
static class MemorySnapshot
{
    /// <summary>Writes a snapshot of one step or of several.</summary>
    /// <param name="path">The file.</param>
    /// <param name="timelines">The steps.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(string path, IReadOnlyList<MemoryTimeline> timelines)
    {
        using var file = File.Create(path);
        using var json = new Utf8JsonWriter(file);
        json.WriteStartObject();
        json.WriteStartArray("segments");
        json.WriteEndArray();
        json.WriteStartArray("device_traces");
        foreach (var timeline in timelines) Write(json, timeline);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    // At each moment what ended before it is freed, then what begins with it is allocated. No address is used twice.
    static void Write(Utf8JsonWriter json, MemoryTimeline timeline)
    {
        var (moments, _, spans) = timeline.Story();
        var (begin, end) = (spans.ToLookup(span => span.Start), spans.ToLookup(span => span.End));
        var (addresses, next) = (new Dictionary<MemorySpan, Stack<long>>(), 1L);
        json.WriteStartArray();
        // The viewer fails where there are categories and none is called unknown.
        Event("alloc", 0, 0, 0, "unknown", "smaller blocks and others, which are left out");
        for (var moment = 0; moment <= moments.Count; moment++)
        {
            foreach (var span in end[moment]) Of("free_completed", span, addresses[span].Pop());
            foreach (var span in begin[moment])
            {
                if (!addresses.TryGetValue(span, out var alike)) addresses.Add(span, alike = []);
                alike.Push(next);
                Of("alloc", span, next);
                next += span.Bytes;
            }

            void Of(string action, MemorySpan span, long address) =>
                Event(action, moment, address, span.Bytes, MemoryKinds.Words[(int)span.Kind], span.What);
        }
        json.WriteEndArray();

        void Event(string action, int moment, long address, long bytes, string category, string what)
        {
            json.WriteStartObject();
            json.WriteString("action", action);
            json.WriteNumber("addr", address);
            json.WriteNumber("size", bytes);
            json.WriteNumber("stream", 0);
            json.WriteNumber("time_us", moment);
            json.WriteString("category", category);
            json.WriteStartArray("frames");
            json.WriteStartObject();
            json.WriteString("name", what);
            json.WriteString("filename", moments.Count == 0 ? "" : $"{moments[Math.Min(moment, moments.Count - 1)].Activity}");
            json.WriteNumber("line", moment);
            json.WriteEndObject();
            json.WriteEndArray();
            json.WriteEndObject();
        }
    }
}
