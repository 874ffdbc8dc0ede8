using Actipress.Saving;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>Gradients of a function of one tensor, whose saved maps a store holds as for a model.</summary>
static class ThroughStore
{
    static ThroughStore() => SavedTensors.SelfCheck();

    /// <summary>
    /// The codec keeps all values except zeros as float32 beside a bitmap, and never leaves a map raw, so that a difference is the policy's
    /// fault.
    /// </summary>
    public static readonly ActivationCodec Lossless =
        ActivationCodec.Parse("st:1,values=float32") with { Keep = new Keep.Above(0), EvenIfLarger = true };

    /// <summary>Makes a store without a model, which packs maps of every size.</summary>
    /// <param name="codec">The codec of every map.</param>
    /// <param name="handsOutOriginals">Whether the store returns maps that are alive anyway.</param>
    /// <param name="derives">Whether maps are derived from others, whatever their codec.</param>
    public static ActivationStore Store(ActivationCodec codec, bool handsOutOriginals = false, bool derives = false) =>
        new(new CompressingPolicy(new CompressionOptions().SmallestBytes(0).Default(codec)), run: null)
        {
            HandsOutOriginals = handsOutOriginals,
            Derives = derives ? _ => true : null,
        };

    /// <summary>Returns the gradient of the weighted sum of the result.</summary>
    /// <param name="operation">The operation. Its argument is a copy, which the operation may change and nothing else holds.</param>
    /// <param name="x">The tensor; not disposed.</param>
    /// <param name="store">The store, which is empty before and after; null for plain autograd.</param>
    /// <param name="report">The report of the store; null without one.</param>
    /// <param name="weights">The weights, of the result's shape; ones where there are none.</param>
    public static Tensor Gradient(
        Func<Tensor, Tensor> operation, Tensor x, ActivationStore? store, out CompressionReport? report, Tensor? weights = null)
    {
        using var everything = NewDisposeScope();
        var leaf = x.clone().requires_grad_();
        Tensor result;
        // The tensors that the operation makes are disposed before the backward pass begins.
        using (store is null ? null : SavedTensorsScope.Enter(store))
        using (NewDisposeScope())
            result = operation(leaf.clone()).MoveToOuterDisposeScope();
        report = store?.Report();
        Assert.Equal(report?.KeptBytes ?? 0, store?.LiveBytes ?? 0);
        result.backward([weights ?? ones_like(result)]);
        Assert.Empty(store?.Failures ?? []);
        Assert.Equal(0, store?.LiveBytes ?? 0);
        return leaf.grad!.DetachFromDisposeScope();
    }

    /// <summary>The ways in which the layers' maps are kept.</summary>
    public static string Ways(CompressionReport report) => string.Join(", ", report.Layers.Select(layer => layer.KeptAs));

    /// <summary>The largest difference of two gradients.</summary>
    public static float Difference(Tensor expected, Tensor found)
    {
        using var difference = expected.sub(found);
        using var size = difference.abs();
        using var largest = size.max();
        return largest.item<float>();
    }

    /// <summary>Whether two gradients differ by rounding alone.</summary>
    public static bool IsNear(Tensor expected, Tensor found)
    {
        using var size = expected.abs();
        using var largest = size.max();
        return Difference(expected, found) <= 2e-4 * largest.item<float>();
    }

    public static void AssertNear(Tensor expected, Tensor found, string what) =>
        Assert.True(IsNear(expected, found), $"{what}: off by {Difference(expected, found)}");
}
