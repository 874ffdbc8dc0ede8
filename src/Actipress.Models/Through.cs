using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

static class Layers
{
    /// <summary>Runs <paramref name="x"/> through layers one after the other and disposes each result as soon as the next one is there.</summary>
    /// <param name="x">Not disposed.</param>
    /// <param name="layers">At least one.</param>
    public static Tensor Through(this Tensor x, params ReadOnlySpan<Module<Tensor, Tensor>> layers)
    {
        var y = layers[0].call(x);
        return layers.Length == 1 ? y : y.ThenThrough(layers[1..]);
    }

    /// <summary>
    /// As <see cref="Through(Tensor, ReadOnlySpan{Module{Tensor, Tensor}})"/>, and disposes <paramref name="x"/> as well, once the first layer
    /// is done with it.
    /// </summary>
    public static Tensor ThenThrough(this Tensor x, params ReadOnlySpan<Module<Tensor, Tensor>> layers)
    {
        Tensor y;
        using (x) y = layers[0].call(x);
        return layers.Length == 1 ? y : y.ThenThrough(layers[1..]);
    }
}
