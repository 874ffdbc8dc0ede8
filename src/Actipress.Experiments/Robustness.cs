using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>Measures how much a trained network's output changes with its input.</summary>
public static class Robustness
{
    /// <summary>
    /// The Frobenius norm of the Jacobian of the network's output by its input: the root of its mean square over examples.
    /// </summary>
    /// <param name="model">
    /// The network, in evaluation mode, so that examples do not depend on each other. No parameter's gradient changes.
    /// </param>
    /// <param name="input">(n, ...); not disposed.</param>
    public static double JacobianNorm(nn.Module<Tensor, Tensor> model, Tensor input)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(input);
        using var scope = NewDisposeScope();
        var x = input.detach().clone().requires_grad_(true);
        var outputs = model.call(x).flatten(1);
        double squares = 0;
        // There are few outputs, so that each row of the Jacobian is computed, without random projections.
        for (var output = 0; output < outputs.shape[1]; output++)
        {
            using Tensor one = outputs.select(1, output), sum = one.sum();
            sum.backward(grad_tensors: null, create_graph: false, retain_graph: true, inputs: [x]);
            using var row = x.grad!;
            squares += WeightGradient.Square(row);
            row.zero_();
        }
        return Math.Sqrt(squares / input.shape[0]);
    }

    /// <summary>The share of examples that is classified correctly when normal noise is added.</summary>
    /// <param name="model">The network, in evaluation mode.</param>
    /// <param name="input">(n, ...); not changed, not disposed.</param>
    /// <param name="target">(n) int64; not disposed.</param>
    /// <param name="deviation">The noise's standard deviation, in units of the input.</param>
    /// <param name="seed">The seed of the noise, which does not depend on the network.</param>
    public static double AccuracyUnderNoise(nn.Module<Tensor, Tensor> model, Tensor input, Tensor target, double deviation, int seed)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(target);
        using var evaluation = no_grad();
        using var generator = new Generator((ulong)seed, input.device);
        using Tensor normal = randn(input.shape, device: input.device, generator: generator), noise = normal.Mul(deviation),
            noisy = input.Add(noise), output = model.call(noisy);
        return new Classification(LogProbabilities: true).Scores(output, target).Mean;
    }
}
