using static TorchSharp.torch;

namespace Actipress.Accounting;

/// <summary>Compares compressed gradients with exact ones, batch by batch.</summary>
/// <remarks>
/// Batch b of B has the exact gradient g_b, the compressed gradient c_b and the error e_b = c_b - g_b. The comparison keeps sum g_b and
/// sum e_b, two vectors as large as the parameters, and sums of squares; it keeps no batch's own gradients. The errors of two different
/// batches have only their systematic part in common, and the gradients of two different batches only the mean gradient:
/// <code>
/// |mean e|^2 = mean of e_b e_b' over b != b' = (|sum e_b|^2 - sum |e_b|^2) / (B (B - 1))
/// |mean g|^2 = mean of g_b g_b' over b != b' = (|sum g_b|^2 - sum |g_b|^2) / (B (B - 1))
/// bias^2     = |mean e|^2 / |mean g|^2
/// noise^2    = (mean |e_b|^2 - |mean e|^2) / (mean |g_b|^2 - |mean g|^2)
/// </code>
/// </remarks>
/// <param name="names">The parameters' names, in the order in which their gradients are given.</param>
sealed class GradientComparison(IReadOnlyList<string> names) : IDisposable
{
    // The gradient of a convolution's bias before a batch norm is zero but for rounding. In float32 the rounding is 1e-6 to 2e-2 of the
    // root mean square of the weight's gradient (nine convolutions, inputs of size 0.01 to 100). A compressed step rounds in another way,
    // and its error is half as large or larger; the smallest gradients are known without it.
    const double OfTheModule = 0.05, OfRounding = 1e-5, OfAll = 1e-5, LeastError = 0.5;

    // Below this share of the batches' squared gradients their spread is rounding: all batches were the same.
    const double NoSpread = 1e-6;

    const long Piece = 1 << 18;

    readonly Parameter[] parameters = [.. names.Select(name => new Parameter(name))];
    readonly List<BatchFidelity> batches = [];

    /// <summary>Adds the gradients of one batch. Nothing is disposed.</summary>
    /// <param name="exact">One for each name; null where the parameter has none.</param>
    /// <param name="compressed">The compressed gradients, of the same shapes; null where the parameter has none.</param>
    public void Add(IReadOnlyList<Tensor?> exact, IReadOnlyList<Tensor?> compressed)
    {
        using var untracked = no_grad();
        var whole = default(Products);
        for (var i = 0; i < parameters.Length; i++)
            if (exact[i] is { } a && compressed[i] is { } b) whole += parameters[i].Add(a, b);
        batches.Add(new(whole.Cosine, whole.NormRatio));
    }

    /// <summary>The figures of the batches so far, of which there is at least one.</summary>
    public GradientFidelity Fidelity()
    {
        var seen = parameters.Where(parameter => parameter.Sums is not null).ToArray();
        var (bias, noise) = BiasAndNoise(batches.Count, seen);
        return new(
            batches.Average(batch => batch.Cosine), batches.Average(batch => batch.NormRatio),
            [.. seen.Select(parameter => parameter.Fidelity(Vanishes(parameter, seen)))])
        {
            Batches = [.. batches],
            Bias = bias,
            Noise = noise,
        };
    }

    static (double? Bias, double? Noise) BiasAndNoise(int batches, Parameter[] parameters)
    {
        if (batches < 2) return (null, null);
        double sumOfErrors = 0, sumOfGradients = 0, errors = 0, gradients = 0;
        foreach (var parameter in parameters)
        {
            var (gradient, error) = parameter.Sums!.Value;
            (sumOfErrors, sumOfGradients) = (sumOfErrors + Dot(error, error), sumOfGradients + Dot(gradient, gradient));
            (errors, gradients) = (errors + parameter.Products.Error, gradients + parameter.Products.Exact);
        }
        var pairs = (double)batches * (batches - 1);
        var systematic = Math.Max(0, (sumOfErrors - errors) / pairs);
        var mean = (sumOfGradients - gradients) / pairs;
        var spread = gradients / batches - mean;
        return (
            mean <= 0 ? null : Math.Sqrt(systematic / mean),
            spread <= NoSpread * gradients / batches ? null : Math.Sqrt(Math.Max(0, errors / batches - systematic) / spread));
    }

    // The parameters of a module share the incoming gradient, so that an error in it that harms one of them shows in another too.
    static bool Vanishes(Parameter one, Parameter[] all)
    {
        var others = all.Where(other => other != one && other.Module == one.Module).ToArray();
        if (others.Length == 0) return one.Products.RelativeError >= LeastError && IsAtMost(OfAll, all);
        return IsAtMost(OfRounding, others) || (one.Products.RelativeError >= LeastError && IsAtMost(OfTheModule, others));

        bool IsAtMost(double share, Parameter[] those) => one.MeanSquare <= share * share * those.Max(other => other.MeanSquare);
    }

    // The sums are in double precision, in which the squares of small gradients do not underflow, and are computed piece by piece.
    static double Dot(Tensor a, Tensor b)
    {
        using var flatA = a.flatten();
        using var flatB = b.flatten();
        double sum = 0;
        for (long start = 0, all = flatA.numel(); start < all; start += Piece)
        {
            using var one = flatA.narrow(0, start, Math.Min(Piece, all - start));
            using var other = flatB.narrow(0, start, Math.Min(Piece, all - start));
            using var products = one.to(ScalarType.Float64, copy: true);
            products.mul_(other);
            using var piece = products.sum();
            sum += piece.item<double>();
        }
        return sum;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var parameter in parameters) parameter.Dispose();
    }

    /// <summary>Products of exact gradient, compressed gradient and error, summed over elements and batches.</summary>
    readonly record struct Products(double Dot, double Exact, double Compressed, double Error)
    {
        public double Cosine => Dot / Math.Sqrt(Exact * Compressed);
        public double NormRatio => Math.Sqrt(Compressed / Exact);
        public double RelativeError => Math.Sqrt(Error / Exact);

        public static Products operator +(Products a, Products b) =>
            new(a.Dot + b.Dot, a.Exact + b.Exact, a.Compressed + b.Compressed, a.Error + b.Error);
    }

    sealed class Parameter(string name) : IDisposable
    {
        public string Module { get; } = name[..Math.Max(0, name.LastIndexOf('.'))];
        public (Tensor Gradient, Tensor Error)? Sums { get; private set; }
        public Products Products { get; private set; }

        // The sums over batches and elements, multiplied by the number of batches.
        public double MeanSquare => Products.Exact / Math.Max(1, Sums!.Value.Gradient.numel());

        public Products Add(Tensor exact, Tensor compressed)
        {
            var type = exact.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
            using var error = compressed.to(type, copy: true);
            error.sub_(exact);
            if (Sums is var (gradients, errors))
            {
                gradients.Add_(exact);
                errors.Add_(error);
            }
            else Sums = (Kept(exact.to(type, copy: true)), Kept(error.clone()));
            var products = new Products(Dot(exact, compressed), Dot(exact, exact), Dot(compressed, compressed), Dot(error, error));
            Products += products;
            return products;
        }

        // A caller's dispose scope may end before the comparison does.
        static Tensor Kept(Tensor sum) => sum.DetachFromDisposeScope();

        public ParameterFidelity Fidelity(bool vanishes) =>
            new(name, Products.Cosine, Products.NormRatio) { RelativeError = Products.RelativeError, Vanishes = vanishes };

        public void Dispose()
        {
            Sums?.Gradient.Dispose();
            Sums?.Error.Dispose();
        }
    }
}
