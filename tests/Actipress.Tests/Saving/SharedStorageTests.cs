using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>Saved tensors of one storage are one map where they have the same elements, as the ledger counts them.</summary>
public class SharedStorageTests
{
    // Each case has two views of a storage of (8, 6), the number of maps that they are, and the number of rows that they hold together.
    static readonly Dictionary<string, (Func<Tensor, Tensor> First, Func<Tensor, Tensor> Second, int Maps, int Rows)> views = new()
    {
        ["the same in other rows"] = (x => x, x => x.view(6, 8), 1, 8),
        ["transposed"] = (x => x, x => x.t(), 1, 8),
        ["two halves"] = (x => x.narrow(0, 0, 4), x => x.narrow(0, 4, 4), 2, 8),
        ["two halves, the later one first"] = (x => x.narrow(0, 4, 4), x => x.narrow(0, 0, 4), 2, 8),
        ["two halves, of which one is transposed"] = (x => x.narrow(0, 0, 4), x => x.narrow(0, 4, 4).t(), 2, 8),
        ["the whole and its first half"] = (x => x, x => x.narrow(0, 0, 4), 2, 12),
        ["the first half and the whole"] = (x => x.narrow(0, 0, 4), x => x, 2, 12),
        ["the second half and the whole"] = (x => x.narrow(0, 4, 4), x => x, 2, 12),
        ["halves that overlap"] = (x => x.narrow(0, 0, 4), x => x.narrow(0, 2, 4), 2, 8),
        ["the second half, row by row and in one line"] = (x => x.narrow(0, 4, 4), x => x.narrow(0, 4, 4).view(24), 1, 4),
        ["the second half in one line and row by row"] = (x => x.narrow(0, 4, 4).view(24), x => x.narrow(0, 4, 4), 1, 4),
        ["the second half, and transposed"] = (x => x.narrow(0, 4, 4), x => x.narrow(0, 4, 4).t(), 1, 4),
        ["left and right"] = (x => x.narrow(1, 0, 3), x => x.narrow(1, 3, 3), 2, 8),
        ["left twice"] = (x => x.narrow(1, 0, 3), x => x.narrow(1, 0, 3), 1, 4),
        ["left, and every second column"] = (x => x.narrow(1, 0, 3), x => x.slice(1, 0, 6, 2), 2, 8),
        ["even and odd rows"] = (x => x.slice(0, 0, 8, 2), x => x.slice(0, 1, 8, 2), 2, 8),
        ["one row for all, twice"] = (x => x.narrow(0, 3, 1).expand(8, 6), x => x.narrow(0, 3, 1), 1, 1),
        ["two rows, each for all"] = (x => x.narrow(0, 3, 1).expand(8, 6), x => x.narrow(0, 4, 1).expand(8, 6), 2, 2),
    };

    public static TheoryData<string> Views => [.. views.Keys];

    [Theory, MemberData(nameof(Views))]
    public void Saved_tensors_of_one_storage_are_one_map_where_they_have_the_same_elements(string name)
    {
        var (first, second, maps, rows) = views[name];
        using var everything = NewDisposeScope();
        var x = randn(8, 6);
        foreach (var codec in (ActivationCodec[])[ThroughStore.Lossless, ActivationCodec.None])
        {
            var store = ThroughStore.Store(codec);
            // Both functions save their argument, and have different derivatives.
            Tensor Both(Tensor y) => cat([first(y).sin().reshape(-1), second(y).cos().reshape(-1)]);
            var plain = Gradient(Both, x, null, out _);
            Assert.Equal(plain, Gradient(Both, x, store, out var report));
            var line = Assert.Single(report!.Layers);
            Assert.Equal((maps, 2 - maps), (line.Maps, line.SharedMaps));
            Assert.Equal(rows * 6 * sizeof(float), line.SavedBytes);
        }
    }

    // A linear layer saves rows that are tokens as (examples, tokens, features), but only if they are the rows of the whole map.
    [Theory, InlineData(0, 8), InlineData(0, 5), InlineData(3, 5), InlineData(3, 1)]
    public void Rows_of_a_map_that_are_a_part_of_it_are_no_tokens_of_the_whole(int start, int rows)
    {
        using var everything = NewDisposeScope();
        var (x, weight) = (randn(2, 4, 16), randn(16, 3));
        var store = ThroughStore.Store(ThroughStore.Lossless);
        weight.requires_grad_();
        Tensor Product(Tensor y) => y.view(8, 16).narrow(0, start, rows).mm(weight);
        var plain = Gradient(Product, x, null, out _, weight);
        Assert.Equal(plain, Gradient(Product, x, store, out var report, weight));
        Assert.Equal(rows * 16 * sizeof(float), Assert.Single(report!.Layers).SavedBytes);
    }

    static float[] Gradient(
        Func<Tensor, Tensor> operation, Tensor x, ActivationStore? store, out CompressionReport? report, Tensor? weight = null)
    {
        using var gradient = ThroughStore.Gradient(operation, x, store, out report);
        var gradients = gradient.data<float>().ToArray();
        if (weight is null) return gradients;
        float[] both = [.. gradients, .. weight.grad!.data<float>().ToArray()];
        weight.grad = null;
        return both;
    }
}
