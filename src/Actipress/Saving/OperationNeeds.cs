using Actipress.Autograd;
using static Actipress.Saving.Need;

namespace Actipress.Saving;

/// <summary>The needs of the backward pass of one operation of libtorch for the tensors that it saves.</summary>
/// <param name="Name">The operation's name without <c>aten::</c>, and without the underscore of its form in place.</param>
/// <param name="Arguments">
/// The needs by the position of an argument in the operation's schema, such as <c>aten::convolution(input, weight, bias, ...)</c>. The last
/// entry holds for all arguments that follow. An entry is ignored where the operation does not save the argument.
/// </param>
/// <param name="Results">
/// The needs for the results, in the order in which they are saved. Results that follow are <see cref="Exact"/>.
/// </param>
sealed record OperationNeeds(string Name, Need[] Arguments, Need[] Results)
{
    /// <summary>The types of builtin modules whose forward pass is this operation. They name layers without parameters.</summary>
    public string[] Modules { get; init; } = [];

    /// <summary>The need for an argument; <see cref="Exact"/> where the line has no entry for it.</summary>
    public Need OfArgument(int place) => Arguments.Length == 0 ? Exact : Arguments[Math.Min(place, Arguments.Length - 1)];

    /// <summary>The need for a result; <see cref="Exact"/> where the line has no entry for it.</summary>
    public Need OfResult(int place) => place < Results.Length ? Results[place] : Exact;

    /// <summary>Whether the line knows that the operation saves an argument.</summary>
    public bool KnowsArguments => Arguments.Length > 0;

    /// <summary>Whether the line has an entry for the result that follows this number of results.</summary>
    public bool KnowsResult(int place) => place < Results.Length || (Results.Length > 0 && Results[^1] == Exact);
}

/// <summary>
/// The table of operations, one line each. Tensors that an operation without a line saves stay exact, and the report names the operation.
/// </summary>
/// <remarks>
/// The facts are libtorch's own derivative definitions (<c>tools/autograd/derivatives.yaml</c> of 2.10), which say what each formula uses.
/// <c>OperationLaws</c> runs every line on a case and compares the gradient with the plain one.
/// </remarks>
static class Operations
{
    /// <summary>The recurrent layers of oneDNN, whose workspace is a tensor of bytes.</summary>
    public const string RecurrentLayer = "mkldnn_rnn_layer";

    /// <summary>All lines, from the operations that need least of their maps to those that need most.</summary>
    public static IReadOnlyList<OperationNeeds> All { get; } =
    [
        // A dropout saves booleans that tell which elements it let through. On the CPU it is a product with a random map.
        Line("native_dropout", [], [Exact], "Dropout"),
        Line("_fused_dropout", [], [Exact]),

        // Pooling, padding and indexing read the input's shape in the backward pass, and the positions that were chosen.
        Line("avg_pool2d", [Need.Shape], [], "AvgPool1d", "AvgPool2d"),
        Line("avg_pool3d", [Need.Shape], [], "AvgPool3d"),
        Line("_adaptive_avg_pool2d", [Need.Shape], [], "AdaptiveAvgPool1d", "AdaptiveAvgPool2d"),
        Line("_adaptive_avg_pool3d", [Need.Shape], [], "AdaptiveAvgPool3d"),
        Line("max_pool2d_with_indices", [Need.Shape], [Exact], "MaxPool1d", "MaxPool2d"),
        Line("max_pool3d_with_indices", [Need.Shape], [Exact], "MaxPool3d"),
        Line("adaptive_max_pool2d", [Need.Shape], [Exact], "AdaptiveMaxPool1d", "AdaptiveMaxPool2d"),
        Line("adaptive_max_pool3d", [Need.Shape], [Exact], "AdaptiveMaxPool3d"),
        Line("fractional_max_pool2d", [Need.Shape, Exact], [Exact], "FractionalMaxPool2d"),
        Line("fractional_max_pool3d", [Need.Shape, Exact], [Exact], "FractionalMaxPool3d"),
        Line("reflection_pad1d", [Need.Shape], [], "ReflectionPad1d"),
        Line("reflection_pad2d", [Need.Shape], [], "ReflectionPad2d"),
        Line("reflection_pad3d", [Need.Shape], [], "ReflectionPad3d"),
        Line("replication_pad1d", [Need.Shape], [], "ReplicationPad1d"),
        Line("replication_pad2d", [Need.Shape], [], "ReplicationPad2d"),
        Line("replication_pad3d", [Need.Shape], [], "ReplicationPad3d"),
        Line("gather", [Need.Shape, Exact]),
        Line("take", [Need.Shape, Exact]),
        Line("masked_select", [Need.Shape, Exact]),
        Line("cummax", [Need.Shape], [Exact]),
        Line("cummin", [Need.Shape], [Exact]),
        Line("nll_loss_forward", [Need.Shape, Exact], [Exact]),      // (log-probabilities, target, weight, ...)
        Line("nll_loss2d_forward", [Need.Shape, Exact], [Exact]),

        // Activations that are linear on either side of a bound.
        Line("relu", [], [Sign], "ReLU"),
        Line("leaky_relu", [Sign], [Sign], "LeakyReLU"),
        Line("rrelu_with_noise", [Sign, Exact], [Sign], "RReLU"),    // (input, the slopes that were drawn, ...)
        Line("hardsigmoid", [new Inside(-3, 3)], [], "Hardsigmoid"),
        Line("hardtanh", [new InsideArguments(1, 2)], [new InsideArguments(1, 2)], "Hardtanh", "ReLU6"),    // (input, least, greatest)
        Line("threshold", [new InsideArguments(1, null)], [], "Threshold"),                               // (input, threshold, value)

        // Convolutions, matrix products and products are linear in each factor.
        Line("convolution", [Linear, Weight]),                       // (input, weight, bias, ...)
        Line("convolution_overrideable", [Linear, Weight]),
        Line("cudnn_convolution", [Linear, Weight]),
        Line("cudnn_convolution_transpose", [Linear, Weight]),
        Line("mkldnn_convolution", [Linear, Weight]),
        Line("conv_tbc", [Linear, Weight]),
        Line("mul", [Factor, Factor]),
        Line("dot", [Factor, Factor]),
        Line("vdot", [Factor, Factor]),
        Line("mv", [Factor, Factor]),
        Line("mm", [Factor, Exact]),                                 // (input, weight): TorchSharp's linear layers; a computed weight too
        Line("bmm", [Factor, Factor]),
        Line("_grouped_mm", [Factor, Exact]),                        // (input, weights, offsets, bias, ...)
        Line("addmm", [Exact, Factor, Exact]),                       // (bias, input, weight, ...)
        Line("_addmm_activation", [Exact, Factor, Exact], [Smooth]),
        Line("addr", [Exact, Factor, Factor]),                       // (added, a, b, ...), and so are the next four
        Line("addmv", [Exact, Factor, Factor]),
        Line("addbmm", [Exact, Factor, Factor]),
        Line("baddbmm", [Exact, Factor, Factor]),
        Line("addcmul", [Exact, Factor, Factor]),
        Line("linalg_cross", [Factor, Factor]),
        Line("lerp", [Factor, Factor, Factor]),                      // (from, to, weight)
        Line("_trilinear", [Factor, Factor, Factor]),                // (input, weight, input)

        // Normalisations: the statistics are exact.
        // (input, weight, bias, running mean, running variance, ...)
        Line("native_batch_norm", [Normalised, Weight, Exact], [Exact]),
        Line("_native_batch_norm_legit", [Normalised, Weight, Exact], [Exact]),
        Line("_native_batch_norm_legit_no_training", [Normalised, Weight, Exact], [Exact]),
        Line("_batch_norm_with_update", [Normalised, Weight, Exact], [Exact]),
        Line("_batch_norm_no_update", [Normalised, Weight, Exact], [Exact]),
        Line("cudnn_batch_norm", [Normalised, Weight, Exact], [Exact]),
        Line("native_group_norm", [Normalised, Weight, Exact], [Exact]),         // (input, weight, bias, ...)
        Line("native_layer_norm", [Tokens, Exact, Weight, Exact], [Exact]),  // (input, normalised shape, weight, bias, ...)
        Line("_fused_rms_norm", [Tokens, Exact, Weight, Exact], [Exact]),    // (input, normalised shape, weight, ...)

        // Activations and functions whose derivative has a bounded slope.
        Line("silu", [Smooth], [], "SiLU"),
        Line("gelu", [Smooth], [], "GELU"),
        Line("mish", [Smooth], [], "Mish"),
        Line("hardswish", [Smooth], [], "Hardswish"),
        Line("elu", [Smooth], [Smooth], "ELU", "SELU"),
        Line("celu", [Smooth], [Smooth], "CELU"),
        Line("_prelu_kernel", [Smooth, Weight]),
        Line("softplus", [Smooth], [], "Softplus"),
        Line("log_sigmoid_forward", [Smooth], [Smooth], "LogSigmoid"),
        Line("glu", [Smooth], [], "GLU"),
        Line("erf", [Smooth]),
        Line("erfc", [Smooth]),
        Line("atan", [Smooth]),
        Line("asinh", [Smooth]),

        // These have a sign with zero as a third case, or bounds on both sides of zero. 16 bits keep the side on which a value lies.
        Line("hardshrink", [Steep], [], "Hardshrink"),
        Line("softshrink", [Steep], [], "Softshrink"),
        Line("abs", [Steep]),
        Line("copysign", [Steep], [Steep]),

        // Two maps are compared: 16 bits exchange only values that are almost equal.
        Line("maximum", [Steep, Steep]),
        Line("minimum", [Steep, Steep]),
        Line("fmax", [Steep, Steep]),
        Line("fmin", [Steep, Steep]),

        // These compute angles. An error counts in radians, however large the value is.
        Line("sin", [Angle]),
        Line("cos", [Angle]),
        Line("sinc", [Angle]),
        Line("tan", [], [Steep]),
        Line("atan2", [Steep, Steep]),
        Line("hypot", [Steep, Steep], [Steep]),

        // Exponentials span orders of magnitude. A quotient or a logarithm often follows, which gives small values the same weight as large
        // ones.
        Line("exp", [], [Steep]),
        Line("exp2", [], [Steep]),
        Line("expm1", [], [Steep]),
        Line("_log_softmax", [], [Steep], "LogSoftmax"),

        // The backward pass of these computes exponentials of what they save.
        Line("sinh", [Angle]),
        Line("cosh", [Angle]),
        Line("i0", [Angle]),
        Line("special_i1", [Angle], [Steep]),

        // Logarithms, quotients, roots and powers have an unbounded slope near zero.
        Line("log", [Steep]),
        Line("log2", [Steep]),
        Line("log10", [Steep]),
        Line("xlogy", [Steep, Steep]),
        Line("special_entr", [Steep]),
        Line("lgamma", [Steep]),
        Line("div", [Steep, Steep]),
        Line("addcdiv", [Exact, Steep, Steep]),                      // (added, numerator, denominator, ...)
        Line("reciprocal", [], [Steep]),
        Line("sqrt", [], [Steep]),
        Line("rsqrt", [], [Steep]),
        Line("pow", [Steep, Steep], [Steep]),
        Line("prod", [Steep], [Exact]),
        Line("cumprod", [Steep], [Steep]),
        Line("special_i0e", [Steep], [Steep]),
        Line("special_i1e", [Steep], [Steep]),

        // These compute the spread of groups. They are linear in the input, but divide by the spread of each group, and the sizes of groups
        // may differ much.
        Line("var", [Steep]),
        Line("var_mean", [Steep]),
        Line("std", [Steep], [Exact]),
        Line("std_mean", [Steep], [Exact]),

        // The derivative of these is p (1 - p), or 1 - y^2, and a loss often divides by either factor. A Dice, focal or cross-entropy loss
        // shows it, and the probability of an action between bounds.
        Line("sigmoid", [], [Saturating], "Sigmoid"),
        Line("_softmax", [], [Saturating], "Softmax", "Softmax2d", "Softmin"),
        Line("tanh", [], [Saturating], "Tanh", "Tanhshrink"),

        // Losses that take the logits: a confident gradient is the small difference of two probabilities.
        Line("binary_cross_entropy_with_logits", [Steep, Exact]),    // (logits, target, weight, weight of positives, ...)
        Line("soft_margin_loss", [Steep, Exact]),

        // The backward pass of attention computes exp(q k - logsumexp) again. Among the results, the logarithms of the sums are saved
        // first.
        Line("_scaled_dot_product_flash_attention_for_cpu", [Score, Score, Steep, Exact], [Exact, Steep]),
        Line("_scaled_dot_product_flash_attention", [Score, Score, Steep, Exact], [Exact]),
        Line("_scaled_dot_product_efficient_attention", [Score, Score, Steep, Exact], [Exact]),
        Line("_scaled_dot_product_cudnn_attention", [Score, Score, Steep, Exact], [Exact]),
        Line("_scaled_dot_product_fused_attention_overrideable", [Score, Score, Steep, Exact], [Exact]),
        Line("_flash_attention_forward", [Score, Score, Steep, Exact], [Exact]),
        Line("_efficient_attention_forward", [Score, Score, Steep, Exact], [Exact]),

        // A library's workspace of a recurrent layer has a layout of its own.
        Line("_thnn_fused_lstm_cell", [Steep, Steep, Steep, Exact], [Steep]),    // (gates of the input, gates of the state, cell, ...)
        Line("_thnn_fused_gru_cell", [Steep, Steep, Steep, Exact], [Steep]),
        Line("_cudnn_rnn", [Factor, Exact], [Exact]),                            // (input, weights, ...)
        Line(RecurrentLayer, [Factor, Weight, Weight, Weight, Weight, Exact], [Exact]),

        // These sample at positions. The error of a position is divided by the distance of two pixels.
        Line("grid_sampler_2d", [Steep, Exact]),                     // (image, places, ...)
        Line("grid_sampler_3d", [Steep, Exact]),
        Line("_grid_sampler_2d_cpu_fallback", [Steep, Exact]),
        Line("cudnn_grid_sampler", [Steep, Exact]),

        // These have a bound that may lie closer to the values than 16 bits can tell: probabilities are clamped to 1 - 1e-7.
        Line("clamp", [Exact], [Exact]),
        Line("clamp_min", [Exact], [Exact]),
        Line("clamp_max", [Exact], [Exact]),

        // The edge of the domain of these is not zero, and values near it reach the edge when they are rounded to 16 bits.
        Line("log1p", [Exact]),
        Line("special_xlog1py", [Exact, Exact]),
        Line("acos", [Exact]),
        Line("asin", [Exact]),
        Line("acosh", [Exact]),
        Line("atanh", [Exact]),
        Line("erfinv", [Exact]),
        Line("logit", [Exact]),
        Line("special_ndtri", [], [Exact]),
        Line("special_log_ndtr", [Exact], [Exact]),
        Line("special_erfcx", [Exact], [Exact]),
        Line("digamma", [Exact]),
        Line("polygamma", [Exact, Exact]),
        Line("mvlgamma", [Exact]),
        Line("igamma", [Exact, Exact]),
        Line("igammac", [Exact, Exact]),

        // These losses have a gradient that is the difference of two maps of similar growth, or that has a pole at a perfect prediction.
        Line("mse_loss", [Exact, Exact]),
        Line("smooth_l1_loss", [Exact, Exact]),
        Line("huber_loss", [Exact, Exact]),
        Line("binary_cross_entropy", [Exact, Exact]),
        Line("multi_margin_loss", [Exact, Exact]),
        Line("multilabel_margin_loss_forward", [Exact, Exact], [Exact]),
        Line("_ctc_loss", [Exact], [Exact]),

        // Values of these are compared for equality, or rounded to a whole number.
        Line("max", [Exact], [Exact]),
        Line("min", [Exact], [Exact]),
        Line("amax", [Exact], [Exact]),
        Line("amin", [Exact], [Exact]),
        Line("median", [Exact], [Exact]),
        Line("nanmedian", [Exact], [Exact]),
        Line("nansum", [Exact]),
        Line("nan_to_num", [Exact]),
        Line("fmod", [Exact, Exact]),
        Line("remainder", [Exact, Exact]),
        Line("scatter_reduce", [Exact], [Exact]),
        Line("index_reduce", [Exact], [Exact]),
        Line("segment_reduce", [Exact], [Exact]),

        // The distance of order infinity compares for equality, and other distances divide by the distance of points that may be close.
        Line("norm", [Exact], [Exact]),
        Line("linalg_vector_norm", [Exact], [Exact]),
        Line("dist", [Exact, Exact], [Exact]),
        Line("renorm", [Exact]),
        Line("_cdist_forward", [Exact, Exact], [Exact]),
        Line("_euclidean_dist", [Exact, Exact], [Exact]),
        Line("_pdist_forward", [Exact], [Exact]),

        // The backward pass computes exp(x - result), which must add up to 1. Along a recursion, as that of a conditional random field,
        // each surplus multiplies the gradient.
        Line("logsumexp", [Exact], [Exact]),
        Line("logcumsumexp", [Exact], [Exact]),
        Line("logaddexp", [Exact, Exact]),
        Line("logaddexp2", [Exact, Exact]),

        // The matrix's condition amplifies an error in a factorisation.
        Line("_linalg_svd", [Exact], [Exact]),
        Line("_linalg_eigh", [Exact], [Exact]),
        Line("linalg_eig", [Exact], [Exact]),
        Line("linalg_qr", [Exact], [Exact]),
        Line("linalg_cholesky_ex", [Exact], [Exact]),
        Line("cholesky_inverse", [Exact], [Exact]),
        Line("cholesky_solve", [Exact, Exact], [Exact]),
        Line("linalg_lu", [Exact], [Exact]),
        Line("linalg_lu_factor_ex", [Exact], [Exact]),
        Line("linalg_lu_solve", [Exact], [Exact]),
        Line("linalg_inv_ex", [Exact], [Exact]),
        Line("linalg_pinv", [Exact], [Exact]),
        Line("_linalg_det", [Exact], [Exact]),
        Line("_linalg_slogdet", [Exact], [Exact]),
        Line("_linalg_solve_ex", [Exact, Exact], [Exact]),
        Line("linalg_solve_triangular", [Exact, Exact], [Exact]),
        Line("triangular_solve", [Exact, Exact], [Exact]),
        Line("linalg_lstsq", [Exact, Exact], [Exact]),
        Line("linalg_householder_product", [Exact, Exact], [Exact]),
        Line("linalg_matrix_exp", [Exact], [Exact]),

        // These operations call operations above, and determine which operand is a weight.
        Line("linear", [Factor, Weight]),
        Line("bilinear", [Factor, Factor, Weight]),                  // (input, input, weight, bias)
        Line("embedding", [Weight, Exact]),
        Line("_embedding_bag", [Weight, Exact], [Exact]),
        Line("_weight_norm_interface", [Weight, Weight], [Exact]),
    ];

    static readonly Dictionary<string, OperationNeeds> byName = All.ToDictionary(line => line.Name);

    /// <summary>The line of an operation; null where there is none.</summary>
    public static OperationNeeds? Of(Operation operation) => byName.GetValueOrDefault(operation.ShortName);

    static OperationNeeds Line(string name, Need[] arguments, Need[]? results = null, params string[] modules) =>
        new(name, arguments, results ?? []) { Modules = modules };

    // These operations call other operations and save nothing by themselves.
    static readonly Dictionary<string, string[]> composites = new()
    {
        ["dropout"] = ["Dropout"],
        ["feature_dropout"] = ["Dropout1d", "Dropout2d", "Dropout3d"],
        ["alpha_dropout"] = ["AlphaDropout"],
        ["feature_alpha_dropout"] = ["FeatureAlphaDropout"],
    };

    /// <summary>The types of builtin modules whose forward pass is an operation.</summary>
    public static string[] ModulesOf(Operation operation) =>
        composites.TryGetValue(operation.ShortName, out var modules) ? modules : Of(operation)?.Modules ?? [];

    /// <summary>The innermost running operation that a builtin module is known for; else the innermost of all.</summary>
    public static Operation NamedBy(RunningOperations? operations, Operation innermost)
    {
        for (var level = 0; operations is not null && level < operations.Depth; level++)
            if (ModulesOf(operations.At(level).Operation).Length > 0) return operations.At(level).Operation;
        return innermost;
    }
}
