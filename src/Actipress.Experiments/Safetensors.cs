using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Json.Nodes;
using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>
/// Hugging Face's format for weights: eight bytes with the length of a JSON header; the header, with each tensor's type, shape and offsets,
/// and texts under <c>__metadata__</c>; and the tensors' bytes. TorchSharp.PyBridge reads such files too, but neither reads nor writes the
/// texts.
/// </summary>
static class Safetensors
{
    const string Metadata = "__metadata__";
    const long LongestHeader = 100 << 20;    // the format's own limit

    static readonly (ScalarType Type, string Name)[] types =
    [
        (ScalarType.Float32, "F32"), (ScalarType.Float64, "F64"), (ScalarType.Float16, "F16"), (ScalarType.BFloat16, "BF16"),
            (ScalarType.Int64, "I64"),
        (ScalarType.Int32, "I32"), (ScalarType.Int16, "I16"), (ScalarType.Int8, "I8"), (ScalarType.Byte, "U8"), (ScalarType.Bool, "BOOL"),
    ];

    /// <summary>Writes a model's parameters and buffers by name.</summary>
    /// <param name="path">The file, which is replaced when the new file is complete.</param>
    /// <param name="model">The model, on any device.</param>
    /// <param name="texts">The texts for <c>__metadata__</c>.</param>
    public static void Write(string path, nn.Module model, IReadOnlyDictionary<string, string> texts)
    {
        var header = new JsonObject
        {
            [Metadata] = new JsonObject(texts.Select(text =>
            KeyValuePair.Create(text.Key, (JsonNode?)text.Value)))
        };
        var (state, at) = (model.state_dict(), 0L);
        foreach (var (name, tensor) in state)
        {
            var type = types.FirstOrDefault(one => one.Type == tensor.dtype).Name
                ?? throw new ArgumentException($"{name} is of {tensor.dtype}: wanted {string.Join(", ", types.Select(one => one.Type))}.",
                nameof(model));
            var bytes = tensor.NumberOfElements * tensor.ElementSize;
            header[name] = new JsonObject
            {
                ["dtype"] = type,
                ["shape"] = new JsonArray([.. tensor.shape.Select(extent => JsonValue.Create(extent))]),
                ["data_offsets"] = new JsonArray(at, at + bytes)
            };
            at += bytes;
        }
        var text = JsonSerializer.SerializeToUtf8Bytes(header);
        WholeFile.Write(path, part =>
        {
            using var file = File.Create(part);
            Span<byte> length = stackalloc byte[8];
            var padding = (8 - text.Length % 8) % 8;
            BinaryPrimitives.WriteInt64LittleEndian(length, text.Length + padding);
            file.Write(length);
            file.Write(text);
            for (var i = 0; i < padding; i++) file.WriteByte((byte)' ');
            foreach (var (_, tensor) in state)
            {
                using Tensor detached = tensor.detach(), here = detached.cpu(), contiguous = here.contiguous();
                file.Write(contiguous.bytes);
            }
            file.Flush(flushToDisk: true);
        });
    }

    /// <summary>The texts under <c>__metadata__</c>.</summary>
    /// <exception cref="InvalidDataException">The file has another format; the message says why.</exception>
    public static IReadOnlyDictionary<string, string> Texts(string path)
    {
        using var file = File.OpenRead(path);
        var header = Header(file, path);
        return header[Metadata] is JsonObject texts ? texts.Where(text => text.Value is JsonValue).ToDictionary(text => text.Key, text =>
            $"{text.Value}") : new Dictionary<string, string>();
    }

    /// <summary>Reads parameters and buffers into a model. The file must have each of them, in its shape, and no other.</summary>
    /// <exception cref="InvalidDataException">
    /// The file has another format or another network's weights; the message says where they differ.
    /// </exception>
    public static void Read(string path, nn.Module model)
    {
        using var file = File.OpenRead(path);
        var header = Header(file, path);
        var (start, state) = (file.Position, model.state_dict());
        var stored = header.Where(entry => entry.Key != Metadata).Select(entry => entry.Key).ToArray();
        if (state.Keys.FirstOrDefault(name => !stored.Contains(name)) is { } missing) throw Other($"it has no {missing}");
        if (stored.FirstOrDefault(name => !state.ContainsKey(name)) is { } foreign) throw Other($"it has {foreign}, which the network has "
            + "not");
        using var scope = NewDisposeScope();    // for the handles that copy_ returns
        using var gradients = no_grad();
        foreach (var (name, tensor) in state)
        {
            var (type, shape, from, to) = Entry(header[name]);
            if (type != types.First(one => one.Type == tensor.dtype).Name || !shape.SequenceEqual(tensor.shape))
                throw Other($"its {name} is {type} ({string.Join(", ", shape)}), and the network's {tensor.dtype} "
                    + $"({string.Join(", ", tensor.shape)})");
            var bytes = new byte[tensor.NumberOfElements * tensor.ElementSize];
            if (from < 0 || to - from != bytes.Length || to > file.Length - start) throw Damaged(path,
                $"{name} lies at {from} to {to} of {file.Length - start} bytes");
            file.Position = start + from;
            file.ReadExactly(bytes);
            using var read = empty(tensor.shape, tensor.dtype);
            bytes.CopyTo(read.bytes);
            tensor.copy_(read);
        }

        InvalidDataException Other(string how) =>
            new($"{path} holds the weights of another network: {how}. Give the file that was saved with this one.");

        (string Type, long[] Shape, long From, long To) Entry(JsonNode? entry)
        {
            try
            {
                return ((string)entry!["dtype"]!, [.. entry["shape"]!.AsArray().Select(extent => (long)extent!)],
                (long)entry["data_offsets"]![0]!, (long)entry["data_offsets"]![1]!);
            }
            catch (Exception failure) when (failure
                is InvalidOperationException or NullReferenceException or FormatException or ArgumentException)
            {
                throw Damaged(path,
                    failure.Message);
            }
        }
    }

    static JsonObject Header(FileStream file, string path)
    {
        Span<byte> length = stackalloc byte[8];
        if (file.ReadAtLeast(length, 8, throwOnEndOfStream: false) < 8) throw Damaged(path, $"found {file.Length} bytes");
        var bytes = BinaryPrimitives.ReadInt64LittleEndian(length);
        if (bytes is < 2 or > LongestHeader || bytes > file.Length - 8) throw Damaged(path,
            $"its header is {bytes} bytes long, the file {file.Length}");
        var text = new byte[bytes];
        file.ReadExactly(text);
        try { return JsonNode.Parse(text) as JsonObject ?? throw Damaged(path, "its header is no JSON object"); }
        catch (JsonException failure) { throw Damaged(path, failure.Message); }
    }

    static InvalidDataException Damaged(string path, string why) =>
        new($"{path} is no whole .safetensors file: {why}. Get the file again.");
}
