using Actipress.Autograd;
using Actipress.Saving;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>Gradients of a function of one tensor, whose saved maps a store keeps as it does for a model.</summary>
static class ThroughStore
{
    static ThroughStore() => SavedTensors.SelfCheck();

    /// <summary>All values but zeros as float32 beside a bitmap, and never raw: whatever differs is the policy's fault.</summary>
    public static readonly ActivationCodec Lossless =
        ActivationCodec.Parse("st:1,values=float32") with { Keep = new Keep.Above(0), EvenIfLarger = true };

    /// <summary>A store without a model, which packs maps of every size.</summary>
    /// <param name="codec">Of every map.</param>
    /// <param name="handsOutOriginals">Whether it hands out what is alive anyway.</param>
    /// <param name="derives">Whether maps are derived of others, whatever their codec.</param>
    public static ActivationStore Store(ActivationCodec codec, bool handsOutOriginals = false, bool derives = false) =>
        new(new CompressingPolicy(new CompressionOptions().SmallestBytes(0).Default(codec)), run: null)
        {
            HandsOutOriginals = handsOutOriginals,
            Derives = derives ? _ => true : null,
        };

    /// <summary>The gradient of the result's sum under some weights, for the caller to dispose.</summary>
    /// <param name="operation">Its argument is a copy, which it may change and nothing else holds.</param>
    /// <param name="x">Not disposed.</param>
    /// <param name="store">Empty, and empty again; null for plain autograd.</param>
    /// <param name="report">What the store kept; null without one.</param>
    /// <param name="weights">Of the result's shape; ones where there are none.</param>
    public static Tensor Gradient(
        Func<Tensor, Tensor> operation, Tensor x, ActivationStore? store, out CompressionReport? report, Tensor? weights = null)
    {
        using var everything = NewDisposeScope();
        var leaf = x.clone().requires_grad_();
        Tensor result;
        // What the operation makes is gone when the backward pass begins.
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
}
