using Actipress.Models;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>
/// The tensors that the paper's networks saved under the libtorch of its time, on CUDA: the traces of our own forward pass, with the
/// differences that the paper's tables show.
/// </summary>
static class PaperTrace
{
    /// <summary>The trace of a network at a batch, which is extrapolated from two small batches where it is larger.</summary>
    /// <param name="create">Makes the network.</param>
    /// <param name="batch">Examples.</param>
    /// <param name="input">Shape of one example.</param>
    public static ForwardTrace Record(Func<nn.Module<Tensor, Tensor>> create, int batch, long[] input)
    {
        using var model = create();
        var trace = batch <= ForwardTrace.SmallBatch + 1
            ? At(batch) : ForwardTrace.Extrapolate(At(ForwardTrace.SmallBatch), At(ForwardTrace.SmallBatch + 1), batch);
        return AsThen(model is UNet ? Joined(trace, model) : trace);

        ForwardTrace At(int examples)
        {
            using var x = randn([examples, .. input]);
            return ForwardTrace.Record(model, x);
        }
    }

    // Dropout saved a byte an element, not a float. Softmax saved its input beside its output (until libtorch 1.11). A residual network's
    // average pool saved the last map.
    static ForwardTrace AsThen(ForwardTrace trace)
    {
        var saves = new List<TracedSave>();
        var storages = trace.Saves.Count;
        foreach (var save in trace.Saves)
        {
            var ours = save.Kind == SavedKind.Map ? save.Layer.Module : null;
            saves.Add(ours is Dropout or Dropout2d ? save with { Type = ScalarType.Bool, StorageBytes = save.Elements } : save);
            if (ours is Softmax) saves.Add(save with { Storage = storages++ });
        }
        if (trace.Saves.LastOrDefault(save => save.Layer.Module is ReLU) is { } last
            && trace.Saves.Any(save => save.Layer.Name == ShortcutOf("layer2")))
            saves.Add(last with { Layer = new Layer("avgpool", null) });
        return trace with { Saves = saves };
    }

    // The paper's U-Net joins a skip connection's map with the risen map, and the level's first convolution saves the result. Ours applies
    // the two halves of that convolution by itself, which save the two maps; the batch norm behind them tells the level.
    static ForwardTrace Joined(ForwardTrace trace, nn.Module model)
    {
        var convolutions = model.named_modules().ToDictionary(named => named.name, named => named.module);
        var saves = new List<TracedSave>();
        var parts = new List<TracedSave>();
        var storages = trace.Saves.Max(save => save.Storage) + 1;
        foreach (var save in trace.Saves)
        {
            if (save.Layer.Module == model && save.Kind == SavedKind.Map)
            {
                parts.Add(save);
                continue;
            }
            if (parts.Count > 0 && save.Layer.Module is BatchNorm2d or BatchNorm3d)
            {
                var name = $"{save.Layer.Name.Split('.')[0]}.conv1";
                saves.Add(parts[0] with
                {
                    Layer = new(name, convolutions[name]),
                    Elements = parts.Sum(part => part.Elements),
                    Storage = storages++,
                    StorageBytes = parts.Sum(part => part.StorageBytes),
                });
                parts.Clear();
            }
            saves.Add(save);
        }
        return trace with { Saves = saves };
    }

    static string ShortcutOf(string stage) => $"{stage}.0.{Shortcut}.0";

    /// <summary>The name of a residual block's shortcut, which the paper does not compress.</summary>
    public const string Shortcut = "downsample";

    /// <summary>
    /// WideResNet101 as in the table's rows: the compressed stages are wide, and the stages after them have ordinary width. This was found
    /// from the figures, which it reproduces to 1 %.
    /// </summary>
    /// <param name="wide">The network of the paper.</param>
    /// <param name="narrow">ResNet101, whose stages have as many output channels.</param>
    /// <param name="last">The last stage that is wide.</param>
    public static ForwardTrace WideUpTo(ForwardTrace wide, ForwardTrace narrow, int last)
    {
        var other = wide.Saves.Max(save => save.Storage) + 1;
        var first = narrow.Saves.FirstOrDefault(save => !IsWide(save) && save.Kind == SavedKind.Map)?.Storage;
        var boundary = wide.Saves.Last(save => save.Layer.Module is ReLU && IsWide(save)).Storage;
        var tail = narrow.Saves.Where(save => !IsWide(save))
            .Select(save => save with { Storage = save.Storage == first ? boundary : save.Storage + other }).ToArray();
        return wide with
        {
            Saves = [.. wide.Saves.Where(IsWide), .. tail],
            ParameterBytes = wide.ParameterBytes - Parameters(wide) + Parameters(narrow),
        };

        bool IsWide(TracedSave save) => !IsNarrow(save.Layer.Name);
        bool IsNarrow(string name) => name.StartsWith("layer", StringComparison.Ordinal) && name["layer".Length] - '0' > last;

        // The parameters of the stages, each of which is saved by the layer that uses it.
        long Parameters(ForwardTrace trace) => trace.Saves.Where(save => save.Kind == SavedKind.Parameter && IsNarrow(save.Layer.Name))
            .DistinctBy(save => save.Storage).Sum(save => save.StorageBytes);
    }
}
