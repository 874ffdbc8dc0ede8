using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// Runs backward passes with a gradient for each output, and throws the cause where a saved tensor could not be unpacked.
/// </summary>
static class BackwardPass
{
    /// <summary>Runs a backward pass as torch's <c>autograd.backward</c>.</summary>
    /// <param name="outputs">Scalars, or tensors whose gradients are given.</param>
    /// <param name="gradients">The gradients of the outputs; null for scalars.</param>
    /// <param name="name">The name of the parameter of the gradients, for error messages.</param>
    /// <param name="retainGraph">Whether the graph can be used again; by default the value of <paramref name="createGraph"/>.</param>
    /// <param name="createGraph">Whether the gradients can be differentiated themselves.</param>
    /// <param name="leaves">The tensors whose <c>grad</c> is added to; null for all.</param>
    public static void Run(
        Tensor[] outputs, IEnumerable<Tensor?>? gradients, string name, bool? retainGraph, bool createGraph, Tensor[]? leaves) =>
        Differentiate(outputs, gradients, name, given =>
        {
            torch.autograd.backward(outputs, given, retainGraph, createGraph, leaves);
            return true;
        });

    /// <summary>Computes gradients as torch's <c>autograd.grad</c>.</summary>
    /// <param name="outputs">Scalars, or tensors whose gradients are given.</param>
    /// <param name="inputs">The tensors by which the gradients are computed.</param>
    /// <param name="gradients">The gradients of the outputs; null for scalars.</param>
    /// <param name="name">The name of the parameter of the gradients, for error messages.</param>
    /// <param name="retainGraph">Whether the graph can be used again.</param>
    /// <param name="createGraph">Whether the gradients can be differentiated themselves.</param>
    /// <param name="allowUnused">Whether an input may have no influence on the outputs. Its gradient is then null.</param>
    /// <returns>A gradient for each input, for the caller to dispose.</returns>
    public static Tensor?[] Grad(
        Tensor[] outputs, Tensor[] inputs, IEnumerable<Tensor?>? gradients, string name,
        bool retainGraph, bool createGraph, bool allowUnused) =>
        Differentiate(outputs, gradients, name, given => GuardedGrad.Run(outputs, inputs, given, retainGraph, createGraph, allowUnused));

    static T Differentiate<T>(Tensor[] outputs, IEnumerable<Tensor?>? gradients, string name, Func<Tensor[], T> run)
    {
        var given = gradients?.ToArray() ?? new Tensor?[outputs.Length];
        if (given.Length != outputs.Length)
            throw new ArgumentException(
                $"Found {given.Length} gradients for {outputs.Length} tensors, wanted one for each (null for a scalar's 1).", name);
        var implied = new List<Tensor>();
        try
        {
            for (var i = 0; i < given.Length; i++)
            {
                if (given[i] is not null) continue;
                if (outputs[i].NumberOfElements != 1)
                    throw new ArgumentException(
                        $"Found no gradient for tensor {i} of shape ({string.Join(", ", outputs[i].shape)}), wanted one: " +
                        "only a tensor of one element has a gradient of 1 by itself.", name);
                implied.Add(given[i] = torch.ones_like(outputs[i]));
            }
            using var failures = new UnpackFailures();
            try { return run(given!); }
            catch (ExternalException) when (failures.First is not null)
            {
                ExceptionDispatchInfo.Throw(failures.First);
                throw;
            }
        }
        finally { foreach (var gradient in implied) gradient.Dispose(); }
    }
}
