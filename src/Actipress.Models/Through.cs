using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

static class Layers
{
    /// <summary>The layers that a module of layers runs one after the other.</summary>
    public static IEnumerable<Module<Tensor, Tensor>> Parts(this Module whole) => whole.children().Cast<Module<Tensor, Tensor>>();

    /// <summary>
    /// Runs <paramref name="x"/> through layers one after the other, and disposes each result as soon as the next one exists.
    /// </summary>
    /// <param name="x">The input; not disposed.</param>
    /// <param name="layers">The layers: at least one.</param>
    public static Tensor Through(this Tensor x, params ReadOnlySpan<Module<Tensor, Tensor>> layers)
    {
        var y = layers[0].call(x);
        return layers.Length == 1 ? y : y.ThenThrough(layers[1..]);
    }

    /// <summary>
    /// As <see cref="Through(Tensor, ReadOnlySpan{Module{Tensor, Tensor}})"/>, but also disposes <paramref name="x"/> when the first layer
    /// is done.
    /// </summary>
    public static Tensor ThenThrough(this Tensor x, params ReadOnlySpan<Module<Tensor, Tensor>> layers)
    {
        Tensor y;
        using (x) y = layers[0].call(x);
        return layers.Length == 1 ? y : y.ThenThrough(layers[1..]);
    }
}
