using System.Globalization;
using System.Text;
using Actipress.Accounting;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>How near one parameter's gradient comes to the exact one, all batches' gradients taken as one vector.</summary>
/// <param name="Name">The parameter's name in the model's state dictionary.</param>
/// <param name="Cosine">Cosine of the angle between both; 1 for equal directions, NaN where one of them is zero.</param>
/// <param name="NormRatio">Norm of the compressed run's gradient by that of the exact one.</param>
public sealed record ParameterFidelity(string Name, double Cosine, double NormRatio)
{
    /// <summary>Norm of the difference between both gradients by the norm of the exact one.</summary>
    public double RelativeError { get; init; }

    /// <summary>
    /// Whether the exact gradient is zero but for rounding, as that of a convolution's bias before a batch norm is: the other figures
    /// then say nothing. It is taken for that where the error is no smaller than the gradient, and the gradient's root mean square at
    /// most 0.05 of that of another parameter of the module, or 1e-5 of the largest of all where the module has no other.
    /// </summary>
    public bool Vanishes { get; init; }
}

/// <summary>How near one batch's gradient comes to the exact one.</summary>
/// <param name="Cosine">Over all parameters as one vector.</param>
/// <param name="NormRatio">Over all parameters as one vector.</param>
public sealed record BatchFidelity(double Cosine, double NormRatio);

/// <summary>How near the gradients of compressed steps come to the exact ones.</summary>
/// <remarks>
/// A batch's cosine is a poor judge of a codec, for it does not tell errors that cancel over batches from errors that do not. In a
/// training of a ResNet-8, 2-bit quantisation, with the cosine of <c>dct:10</c>, lost a tenth of what <c>dct:10</c> lost. So measure
/// over several batches, 8 or more, and compare codecs by <see cref="Bias"/> first and <see cref="Noise"/> second.
/// </remarks>
/// <param name="Cosine">Over all parameters as one vector; the mean over the batches.</param>
/// <param name="NormRatio">Over all parameters as one vector; the mean over the batches.</param>
/// <param name="Parameters">By parameter, in the model's order.</param>
public sealed record GradientFidelity(double Cosine, double NormRatio, IReadOnlyList<ParameterFidelity> Parameters)
{
    const int WorstInText = 3;

    /// <summary>By batch, in the order in which they were given.</summary>
    public IReadOnlyList<BatchFidelity> Batches { get; init; } = [];

    /// <summary>
    /// The systematic error: norm of the mean error by the norm of the mean gradient, both estimated without the share of the batches'
    /// noise. It is 0 where the estimate for the error is negative, and null for a single batch, or where the batches are too few to
    /// tell the mean gradient from their noise.
    /// </summary>
    public double? Bias { get; init; }

    /// <summary>
    /// The rest of the error, which differs from batch to batch: its root mean square by that of the batches' own noise, which is how
    /// far a batch's exact gradient is from the mean gradient. Null for a single batch, or where all batches are the same.
    /// </summary>
    public double? Noise { get; init; }

    /// <summary>The parameters with the largest relative errors, the worst first; those that vanish are left out.</summary>
    /// <param name="count">At most so many.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is negative.</exception>
    public IReadOnlyList<ParameterFidelity> Worst(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        return [.. Parameters.Where(parameter => !parameter.Vanishes).OrderByDescending(parameter => double.IsNaN(parameter.RelativeError) ? double.PositiveInfinity : parameter.RelativeError).Take(count)];
    }

    /// <summary>The figures and the three worst parameters, for people.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        var of = Batches.Count > 1 ? $" (mean of {Batches.Count} batches)" : "";
        text.AppendLine(CultureInfo.InvariantCulture, $"cosine {Cosine:0.0000}, norm ratio {NormRatio:0.000}{of}");
        if (Batches.Count > 1) text.AppendLine(CultureInfo.InvariantCulture, $"bias {Figure(Bias)} of the mean gradient, noise {Figure(Noise)} of the batches' own");
        else text.AppendLine("bias and noise: measure several batches");
        foreach (var parameter in Worst(WorstInText))
            text.AppendLine(CultureInfo.InvariantCulture, $"{parameter.Name}: relative error {parameter.RelativeError:0.000}, cosine {parameter.Cosine:0.0000}, norm ratio {parameter.NormRatio:0.000}");
        if (Parameters.Count(parameter => parameter.Vanishes) is > 0 and var vanish) text.AppendLine(CultureInfo.InvariantCulture, $"parameters left out, whose exact gradient is zero but for rounding: {vanish}");
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
                if (loss is null) throw new ArgumentException($"No loss of batch {batches + 1}: found null, wanted a function that makes it.", nameof(losses));
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
        return batches > 0 ? comparison.Fidelity() : throw new ArgumentException("No fidelity without a batch: found none, wanted one or more.", nameof(losses));

        // Tensors that the caller's enumeration makes between batches are not of this scope. The next batch's dropout is another one: the
        // random state goes on from where the exact run has left it.
        void Compare(Func<Tensor> loss)
        {
            using var scope = NewDisposeScope();
            using var randomBefore = RandomState.Get(CPU);
            var exact = Run(loss, compressed: false);
            using var randomAfter = RandomState.Get(CPU);
            RandomState.Set(CPU, randomBefore);
            if (batches == 0)
            {
                // Which maps others are derived from is known from the second step on, as in a training.
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
