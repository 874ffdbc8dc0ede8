using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>
/// libtorch's <c>torch::autograd::grad</c> with a guard. TorchSharp 0.107.0 calls it without a guard, so that any error in it ends the
/// process. TorchScript has the same function as the operator <c>aten::grad</c>, and TorchSharp guards the calls of a script.
/// </summary>
static class GuardedGrad
{
    // A list in TorchScript holds no undefined tensors. An empty tensor of bools (type 11 in a script) represents the gradient of an unused
    // input.
    const string Script = """
        def grad(outputs: List[Tensor], inputs: List[Tensor], grad_outputs: List[Tensor],
                 retain_graph: bool, create_graph: bool, allow_unused: bool):
            given: List[Optional[Tensor]] = []
            for g in grad_outputs:
                given.append(g)
            gradients: List[Tensor] = []
            for g in torch.grad(outputs, inputs, given, retain_graph, create_graph, allow_unused):
                if g is None:
                    gradients.append(torch.zeros([0], dtype=11))
                else:
                    gradients.append(g)
            return gradients

        """;
    const string ErrorFollows = "RuntimeError: ";

    static readonly Lazy<jit.CompilationUnit> compiled = new(() => jit.compile(Script));

    /// <summary>Computes gradients as torch's <c>autograd.grad</c>; null for an input that is not used.</summary>
    /// <exception cref="ExternalException">libtorch's error.</exception>
    public static Tensor?[] Run(
        Tensor[] outputs, Tensor[] inputs, Tensor[] gradOutputs, bool retainGraph, bool createGraph, bool allowUnused)
    {
        try
        {
            // A script makes scalars of numbers; here it is given lists of tensors, and bools, which it passes as they are.
#pragma warning disable RS0030
            var gradients = compiled.Value.invoke<Tensor[]>("grad", outputs, inputs, gradOutputs, retainGraph, createGraph, allowUnused);
#pragma warning restore RS0030
            return Array.ConvertAll(gradients, Used);
        }
        catch (ExternalException failure) when (failure.Message.IndexOf(ErrorFollows, StringComparison.Ordinal) is var at and >= 0)
        {
            throw new ExternalException(failure.Message[(at + ErrorFollows.Length)..].TrimEnd(), failure);
        }
    }

    static Tensor? Used(Tensor gradient)
    {
        if (gradient.dtype != ScalarType.Bool) return gradient;
        gradient.Dispose();
        return null;
    }
}
