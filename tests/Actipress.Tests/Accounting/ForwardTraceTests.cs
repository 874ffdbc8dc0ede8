using Actipress.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

[MeasuresMemory]
public class ForwardTraceTests
{
    [Fact]
    public void Every_save_has_its_layer_its_kind_and_its_storage()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(
            ("conv1", Conv2d(1, 4, 3, padding: 1, bias: false)), ("relu", ReLU()), ("conv2", Conv2d(4, 2, 3, padding: 1, bias: false)));
        var trace = ForwardTrace.Record(model, randn(3, 1, 8, 8));
        Assert.Equal(
            [
                ("conv1", SavedKind.Input, 192L), ("conv1", SavedKind.Parameter, 36), ("conv2", SavedKind.Map, 768),
                ("conv2", SavedKind.Parameter, 72), ("relu", SavedKind.Map, 768),
            ],
            trace.Saves.Select(save => (save.Layer.Name, save.Kind, save.Elements)).OrderBy(save => save.Name, StringComparer.Ordinal)
                .ThenByDescending(save => save.Elements));
        Assert.Equal(trace.Maps.First().Storage, trace.Maps.Last().Storage);
        Assert.Equal(768 * 4, trace.MapBytes);
        Assert.Null(trace.OutputStorage);
        Assert.Equal(4 * (36 + 72 + 192 + 768 + 384), trace.AfterForwardBytes);
    }

    [Fact]
    public void An_output_that_is_saved_counts_once()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(("conv", Conv2d(1, 4, 3, padding: 1, bias: false)), ("relu", ReLU()));
        var trace = ForwardTrace.Record(model, randn(3, 1, 8, 8));
        Assert.Equal(trace.Saves.Single(save => save.Layer.Name == "relu").Storage, trace.OutputStorage);
        Assert.Equal(4 * (36 + 192 + 768), trace.AfterForwardBytes);
    }

    [Theory, InlineData("ResNet20", 16), InlineData("ViT", 64)]
    public void A_larger_batch_saves_what_two_small_ones_foretell(string name, int extent)
    {
        using var everything = NewDisposeScope();
        using var model = Networks.Find(name).Create();
        ForwardTrace At(int batch) => ForwardTrace.Record(model, randn(batch, 3, extent, extent));
        var foretold = ForwardTrace.Extrapolate(At(ForwardTrace.SmallBatch), At(ForwardTrace.SmallBatch + 1), 7);
        var found = At(7);
        Assert.Equal(found.Saves, foretold.Saves);
        Assert.Equal(
            (found.AfterForwardBytes, found.InputBytes, found.OutputBytes),
            (foretold.AfterForwardBytes, foretold.InputBytes, foretold.OutputBytes));
    }

    [Fact]
    public void The_allocator_holds_what_the_trace_adds_up_to()
    {
        using var everything = NewDisposeScope();
        using var model = ResNet.ResNet20();
        var x = randn(32, 3, 32, 32);
        var trace = ForwardTrace.Record(model, x);
        var foretold = trace.MapBytes + trace.OutputBytes;
        Assert.InRange(Allocated.Usually(Held), 0.97 * foretold, 1.03 * foretold);

        long Held()
        {
            var before = AllocatorMeter.CurrentBytes;
            using var y = model.call(x);
            return AllocatorMeter.CurrentBytes - before;
        }
    }
}
