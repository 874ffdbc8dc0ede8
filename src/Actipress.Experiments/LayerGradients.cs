using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>Records the inputs of a network's layers with weights in one step, and the loss's gradients by their outputs.</summary>
public static class LayerGradients
{
    /// <summary>Runs one batch forward and backward.</summary>
    /// <param name="model">
    /// The model. Its fully connected layers and convolutions are found by <c>call</c>. The step adds to its parameters' gradients.
    /// </param>
    /// <param name="loss">Runs the model and returns the scalar loss, which is disposed.</param>
    /// <returns>The tensors by the layer's name, in the order in which the layers ran; the caller disposes them.</returns>
    public static IReadOnlyList<(string Layer, WeightGradient Gradient)> Of(nn.Module model, Func<Tensor> loss)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(loss);
        var seen = new List<(string Layer, Tensor Input, Tensor Output)>();
        var hooks = new List<Action>();
        try
        {
            foreach (var (name, layer) in model.named_modules())
                if (layer is Linear or Conv2d)
                {
                    var hook = ((nn.Module<Tensor, Tensor>)layer).register_forward_hook((_, x, z) =>
                    {
                        // The model receives a view, and may dispose it.
                        z.retain_grad();
                        using var plain = x.detach();
                        seen.Add((name, plain.contiguous().clone(), z));
                        return z.alias();
                    });
                    hooks.Add(hook.remove);
                }
            using var value = loss();
            value.backward();
            return [.. seen.Select(one => (one.Layer, new WeightGradient(one.Input, Taken(one.Output))))];
        }
        finally
        {
            foreach (var remove in hooks) remove();
        }
    }

    static Tensor Taken(Tensor output)
    {
        using (output)
        using (var gradient = output.grad) return gradient!.contiguous().clone();
    }
}
