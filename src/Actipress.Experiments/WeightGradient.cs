using Actipress.Transforms;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>
/// The weight gradient of a fully connected layer or a convolution, as in the paper's Section 4: it is linear in the layer's input X, for a
/// given gradient A of the loss by the layer's output.
/// </summary>
/// <remarks>
/// Assumption 1 keeps each coefficient independently with probability 1 / ratio. Let e_i be the value of coefficient i, and b_i the
/// gradient that coefficient i alone would give if its value were 1. Then the expected squared norm is exactly <c>‖∇‖² / ratio² + (1 - 1 /
/// ratio) / ratio * sum_i e_i² ‖b_i‖²</c>; the bounds are above it.
/// </remarks>
public sealed class WeightGradient : IDisposable
{
    readonly Tensor input, upstream;
    readonly double[] upstreamSquares;

    // The number of elements of a filter's window, and of channels; both are 1 for a fully connected layer.
    readonly long window, channels;

    /// <param name="input">
    /// X: (n, features), or (n, channels, h, w) of a convolution of stride 1 without padding. This object disposes it.
    /// </param>
    /// <param name="upstream">A, of the shape of the layer's output. This object disposes it.</param>
    public WeightGradient(Tensor input, Tensor upstream)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(upstream);
        if (input.dim() is not (2 or 4) || upstream.dim() != input.dim())
            throw new ArgumentException($"No weight gradient from an input of {string.Join(" x ", input.shape)} and an output of "
                + $"{string.Join(" x ", upstream.shape)}: wanted a fully connected layer or a convolution over planes.");
        (this.input, this.upstream) = (input, upstream);
        (channels, window) = input.dim() == 2
            ? (1, 1) : (input.shape[1], (input.shape[2] - upstream.shape[2] + 1) * (input.shape[3] - upstream.shape[3] + 1));
        using var byOutput = upstream.transpose(0, 1);
        upstreamSquares = Squares(byOutput);
    }

    /// <summary>X.</summary>
    public Tensor Input => input;

    MapShape Shape => MapShape.Of(input.shape);

    /// <summary>The gradient with <paramref name="x"/> in place of X: (outputs, weights of each), which the caller disposes.</summary>
    /// <param name="x">A tensor of as many elements as X.</param>
    public Tensor With(Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        using Tensor shaped = x.view(input.shape), outputs = upstream.transpose(0, 1);
        if (input.dim() == 2) return outputs.matmul(shaped);
        // Equation 26 with examples and channels transposed.
        using Tensor planes = shaped.transpose(0, 1), filters = nn.functional.conv2d(planes, outputs), byOutput = filters.transpose(0, 1);
        return byOutput.flatten(1);
    }

    /// <summary>The squared norm of each output's gradient with <paramref name="x"/> in place of X.</summary>
    public double[] SquaredNorms(Tensor x)
    {
        using var gradient = With(x);
        return Squares(gradient);
    }

    /// <summary>
    /// The paper's bound for each output: Theorem 1 and Corollary 4 for a fully connected layer, Corollary 2 for a convolution.
    /// </summary>
    /// <remarks>
    /// Corollary 2 has the squared Frobenius norms of two matrices. A_r maps a map's elements to a filter's gradient, and holds A once for
    /// each weight. W^-T, as the transform of one map, has a squared norm of the number of a map's elements.
    /// </remarks>
    public double[] Bound(Transform transform, double ratio)
    {
        ArgumentNullException.ThrowIfNull(transform);
        var inverse = input.dim() == 4 && transform is not Identity ? Shape.MapElements : 1;
        return Times(Energy(transform) / ratio * inverse * channels * window);
    }

    /// <summary>
    /// The bound by the same steps with two facts more: the inverse transform lengthens nothing, and a convolution is one product of
    /// matrices, in which an element of X occurs once for each position of the window. For a fully connected layer it is the paper's bound.
    /// </summary>
    public double[] SharperBound(Transform transform, double ratio)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Times(Energy(transform) / ratio * window);
    }

    double[] Times(double factor) => Array.ConvertAll(upstreamSquares, square => square * factor);

    // ‖CX‖²: the input's squared norm where the transform is orthogonal, and a little more where it pads odd extents.
    double Energy(Transform transform)
    {
        using var coefficients = transform.Forward(input, Shape);
        return Square(coefficients);
    }

    /// <summary>Measures random masks, which keep each coefficient with probability 1 / ratio (Assumption 1).</summary>
    /// <param name="transform">The transform before the mask, and its inverse after it.</param>
    /// <param name="ratio">Lambda; at 1 one mask is enough.</param>
    /// <param name="masks">The number of masks, drawn from torch's random state.</param>
    /// <param name="cancellation">Ends the measurement after the current mask.</param>
    public Expected UnderRandomMasks(Transform transform, double ratio, int masks, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(transform);
        using var coefficients = transform.Forward(input, Shape);
        var drawn = new double[ratio == 1 ? 1 : masks][];
        for (var i = 0; i < drawn.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using Tensor mask = empty_like(coefficients).bernoulli_(1 / ratio), kept = coefficients * mask,
                x = transform.Inverse(kept, Shape);
            drawn[i] = SquaredNorms(x);
        }
        var (mean, error) = Statistics.Mean([.. drawn.Select(outputs => outputs.Sum())]);
        return new(
            mean, error, [.. Enumerable.Range(0, upstreamSquares.Length).Select(output => drawn.Average(outputs => outputs[output]))]);
    }

    /// <summary>A mean over masks.</summary>
    /// <param name="Mean">The mean of the layer's squared gradient norm.</param>
    /// <param name="StandardError">The standard error of the mean; NaN for a single mask.</param>
    /// <param name="Outputs">The means of the outputs, whose sum is the layer's mean.</param>
    public sealed record Expected(double Mean, double StandardError, IReadOnlyList<double> Outputs);

    /// <summary>The squared norm of a tensor.</summary>
    public static double Square(Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        using Tensor squares = x.mul(x), sum = squares.sum(ScalarType.Float64);
        return sum.item<double>();
    }

    // The squared norm of each row.
    static double[] Squares(Tensor x)
    {
        using Tensor rows = x.flatten(1), squares = rows.mul(rows), sums = squares.sum(1, type: ScalarType.Float64);
        return sums.data<double>().ToArray();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        input.Dispose();
        upstream.Dispose();
    }
}
