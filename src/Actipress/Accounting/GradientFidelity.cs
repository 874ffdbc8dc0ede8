using System.Globalization;
using System.Text;
using Actipress.Accounting;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>The distance of one parameter's gradient from the exact gradient, with the gradients of all batches as one vector.</summary>
public sealed class ParameterFidelity(string name, double cosine, double normRatio)
{
    /// <summary>The parameter's name in the model's state dictionary.</summary>
    public string Name => name;

    /// <summary>The cosine of the angle between both gradients: 1 for equal directions, NaN where one of them is zero.</summary>
    public double Cosine => cosine;

    /// <summary>The norm of the compressed run's gradient, divided by that of the exact gradient.</summary>
    public double NormRatio => normRatio;

    /// <summary>The norm of the difference of both gradients, divided by the norm of the exact gradient.</summary>
    public double RelativeError { get; init; }

    /// <summary>
    /// Whether the exact gradient is zero but for rounding, as for a convolution's bias before a batch norm. The other figures then have no
    /// meaning. The property is true where the gradient's root mean square is at most 1e-5 of that of another parameter of the module;
    /// where it is at most 0.05 of it, and the relative error at least 0.5; and, where the module has no other parameter, where it is at
    /// most 1e-5 of the largest of all, with such an error.
    /// </summary>
    public bool Vanishes { get; init; }
}

/// <summary>The distance of one batch's gradient from the exact gradient.</summary>
public sealed class BatchFidelity(double cosine, double normRatio)
{
    /// <summary>Over all parameters as one vector.</summary>
    public double Cosine => cosine;

    /// <summary>Over all parameters as one vector.</summary>
    public double NormRatio => normRatio;
}

/// <summary>The distance of the gradients of compressed steps from the exact gradients.</summary>
/// <remarks>
/// A batch's cosine is a poor measure of a codec, because it does not distinguish errors that cancel over batches from errors that do not.
/// 2-bit quantisation has the cosine of <c>dct:10</c>; in a training of a ResNet-8 its loss rose by a tenth of the rise under
/// <c>dct:10</c>. So measure over 8 batches or more, and compare codecs by <see cref="Bias"/> first and <see cref="Noise"/> second.
/// </remarks>
public sealed class GradientFidelity(double cosine, double normRatio, IReadOnlyList<ParameterFidelity> parameters)
{
    /// <summary>Over all parameters as one vector; the mean over the batches.</summary>
    public double Cosine => cosine;

    /// <summary>Over all parameters as one vector; the mean over the batches.</summary>
    public double NormRatio => normRatio;

    /// <summary>By parameter, in the model's order.</summary>
    public IReadOnlyList<ParameterFidelity> Parameters => parameters;

    const int WorstInText = 3;

    /// <summary>By batch, in the order in which they were given.</summary>
    public IReadOnlyList<BatchFidelity> Batches { get; init; } = [];

    /// <summary>
    /// The systematic error: the norm of the mean error, divided by the norm of the mean gradient, both estimated without the share of the
    /// batches' noise. It is 0 where the estimate of the error is negative. It is null for a single batch, and where the batches are too
    /// few to distinguish the mean gradient from their noise.
    /// </summary>
    public double? Bias { get; init; }

    /// <summary>
    /// The rest of the error, which differs from batch to batch: its root mean square, divided by that of the batches' own noise. The noise
    /// of a batch is its exact gradient less the mean gradient. Null for a single batch, and where all batches are the same.
    /// </summary>
    public double? Noise { get; init; }

    /// <summary>The parameters with the largest relative errors, the worst first; those that vanish are left out.</summary>
    /// <param name="count">The largest number of parameters.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is negative.</exception>
    public IReadOnlyList<ParameterFidelity> Worst(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        return [.. Parameters.Where(parameter => !parameter.Vanishes)
            .OrderByDescending(parameter => double.IsNaN(parameter.RelativeError) ? double.PositiveInfinity : parameter.RelativeError)
            .Take(count)];
    }

    /// <summary>The figures and the three worst parameters, as text.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        var of = Batches.Count > 1 ? $" (mean of {Batches.Count} batches)" : "";
        text.AppendLine(CultureInfo.InvariantCulture, $"cosine {Cosine:0.0000}, norm ratio {NormRatio:0.000}{of}");
        if (Batches.Count > 1)
            text.AppendLine(
                CultureInfo.InvariantCulture, $"bias {Figure(Bias)} of the mean gradient, noise {Figure(Noise)} of the batches' own");
        else text.AppendLine("bias and noise: measure several batches");
        foreach (var parameter in Worst(WorstInText))
            text.AppendLine(CultureInfo.InvariantCulture, $"{parameter.Name}: relative error {parameter.RelativeError:0.000}, cosine "
                + $"{parameter.Cosine:0.0000}, norm ratio {parameter.NormRatio:0.000}");
        if (Parameters.Count(parameter => parameter.Vanishes) is > 0 and var vanish)
            text.AppendLine(CultureInfo.InvariantCulture, $"parameters left out, whose exact gradient is zero but for rounding: {vanish}");
        return text.ToString();

        static string Figure(double? figure) => figure?.ToString("0.000", CultureInfo.InvariantCulture) ?? "unknown";
    }

    internal static GradientFidelity Measure(nn.Module model, IEnumerable<Func<Tensor>> losses, Func<bool, IDisposable> compression)
    {
        var parameters = model.named_parameters().Where(named => named.parameter.requires_grad).ToArray();
        var gradientsBefore = parameters.Select(named => TakeGradient(named.parameter)?.DetachFromDisposeScope()).ToArray();
        using var buffers = new KeptBuffers(model.buffers());
        using var comparison = new GradientComparison([.. parameters.Select(named => named.name)]);
        using var randomAtFirst = RandomState.Get(CPU);
        var batches = 0;
        try
        {
            foreach (var loss in losses)
            {
                if (loss is null)
                    throw new ArgumentException(
                        $"No loss of batch {batches + 1}: found null, wanted a function that makes it.", nameof(losses));
                Compare(loss);
                batches++;
            }
        }
        finally
        {
            RandomState.Set(CPU, randomAtFirst);
            for (var i = 0; i < parameters.Length; i++)
            {
                using var gradient = gradientsBefore[i];
                parameters[i].parameter.grad = gradient;
            }
        }
        return batches > 0
            ? comparison.Fidelity()
            : throw new ArgumentException("No fidelity without a batch: found none, wanted one or more.", nameof(losses));

        // Tensors that the caller's enumeration makes between batches do not belong to this scope. The next batch has another dropout,
        // because the random state continues from where the exact run has left it.
        void Compare(Func<Tensor> loss)
        {
            using var scope = NewDisposeScope();
            using var randomBefore = RandomState.Get(CPU);
            var exact = Run(loss, compressed: false);
            using var randomAfter = RandomState.Get(CPU);
            RandomState.Set(CPU, randomBefore);
            if (batches == 0)
            {
                // As in a training, the maps from which others are derived are known from the second step on.
                foreach (var gradient in Run(loss, compressed: true)) gradient?.Dispose();
                RandomState.Set(CPU, randomBefore);
            }
            var compressed = Run(loss, compressed: true);
            RandomState.Set(CPU, randomAfter);
            comparison.Add(exact, compressed);
        }

        Tensor?[] Run(Func<Tensor> loss, bool compressed)
        {
            try
            {
                using (compression(compressed))
                using (var value = loss())
                    value.backward();
                return [.. parameters.Select(named => TakeGradient(named.parameter))];
            }
            finally { buffers.Restore(); }
        }
    }

    static Tensor? TakeGradient(TorchSharp.Modules.Parameter parameter)
    {
        var gradient = parameter.grad;
        parameter.grad = null;
        return gradient;
    }
}
