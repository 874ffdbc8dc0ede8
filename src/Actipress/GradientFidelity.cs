using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>How near one parameter's gradient comes to the exact one.</summary>
/// <param name="Name">The parameter's name in the model's state dictionary.</param>
/// <param name="Cosine">Cosine of the angle between both; 1 for equal directions, NaN where one of them is zero.</param>
/// <param name="NormRatio">Norm of the compressed run's gradient by that of the exact one.</param>
public sealed record ParameterFidelity(string Name, double Cosine, double NormRatio);

/// <summary>How near the gradients of a compressed step come to the exact ones. Tells what accuracy will do, in a second.</summary>
/// <param name="Cosine">Over all parameters as one vector.</param>
/// <param name="NormRatio">Over all parameters as one vector.</param>
/// <param name="Parameters">By parameter, in the model's order.</param>
public sealed record GradientFidelity(double Cosine, double NormRatio, IReadOnlyList<ParameterFidelity> Parameters)
{
    internal static GradientFidelity Measure(nn.Module model, Func<Tensor> loss, Func<bool, IDisposable> compression)
    {
        var parameters = model.named_parameters().Where(named => named.parameter.requires_grad).ToArray();
        using var scope = NewDisposeScope();
        var gradientsBefore = parameters.Select(named => named.parameter.grad?.DetachFromDisposeScope()).ToArray();
        using var buffers = new KeptBuffers(model.buffers());
        var randomBefore = random.get_rng_state();
        try
        {
            var exact = Run(compressed: false);
            var compressed = Run(compressed: true);
            var each = new List<ParameterFidelity>();
            double dots = 0, exactSquares = 0, compressedSquares = 0;
            for (var i = 0; i < parameters.Length; i++)
            {
                if (exact[i] is not { } a || compressed[i] is not { } b) continue;
                var (dot, aa, bb) = (Dot(a, b), Dot(a, a), Dot(b, b));
                each.Add(new(parameters[i].name, dot / Math.Sqrt(aa * bb), Math.Sqrt(bb / aa)));
                (dots, exactSquares, compressedSquares) = (dots + dot, exactSquares + aa, compressedSquares + bb);
            }
            return new(dots / Math.Sqrt(exactSquares * compressedSquares), Math.Sqrt(compressedSquares / exactSquares), each);
        }
        finally
        {
            for (var i = 0; i < parameters.Length; i++) parameters[i].parameter.grad = gradientsBefore[i];
        }

        Tensor?[] Run(bool compressed)
        {
            foreach (var (_, parameter) in parameters) parameter.grad = null;
            random.set_rng_state(randomBefore);
            try
            {
                using (compression(compressed))
                using (var value = loss())
                    value.backward();
                return [.. parameters.Select(named => named.parameter.grad?.detach().clone())];
            }
            finally
            {
                random.set_rng_state(randomBefore);
                buffers.Restore();
            }
        }

        static double Dot(Tensor a, Tensor b)
        {
            using var products = a.to(ScalarType.Float64, copy: true).mul_(b);
            using var sum = products.sum();
            return sum.item<double>();
        }
    }
}
