using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Saving;

/// <summary>
/// One operation, or a few as users combine them, on maps such as a network makes: smooth over places, with different channels, some
/// confident, some that touch zero.
/// </summary>
/// <param name="Name">The name of the case.</param>
/// <param name="Lines">The lines of the table of operations that must be observed saving.</param>
/// <param name="Run">Makes the leaves and computes the result from them, with the same values for the same random state.</param>
public sealed record OperationCase(string Name, string[] Lines, Func<Leaves, Tensor> Run)
{
    public OperationCase(string line, Func<Leaves, Tensor> run) : this(line, [line], run) { }

    public override string ToString() => Name;

    /// <summary>
    /// Returns the gradients of the leaves, from a fixed seed. The result has fixed weights, in place of the rest of a network.
    /// </summary>
    /// <param name="scope">Opens a scope for the forward pass.</param>
    public IReadOnlyList<Tensor> Gradients(Func<IDisposable>? scope = null)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(5);
        using var leaves = new Leaves();
        Tensor result;
        // Only the graph keeps the maps alive, as in a network: a map that is alive is returned as it is.
        using (scope?.Invoke())
        using (NewDisposeScope()) result = Run(leaves).MoveToOuterDisposeScope();
        var loss = result.numel() == 1 ? result.sum() : (result * Leaves.Field(result.shape)).sum();
        loss.backward();
        return [.. leaves.All.Where(leaf => leaf.grad is not null).Select(leaf => leaf.grad!.to(float64).MoveToOuterDisposeScope())];
    }
}

/// <summary>Makes the inputs of a case and records those whose gradients count.</summary>
public sealed class Leaves : IDisposable
{
    readonly List<Tensor> all = [];

    public IReadOnlyList<Tensor> All => all;

    /// <summary>A map of mean 0 and deviation 1 that another operation made.</summary>
    public Tensor Map(params long[] shape) => Through(Field(shape));

    /// <summary>A map whose values all lie above <paramref name="least"/>.</summary>
    public Tensor Positive(double least, params long[] shape) => Through(Field(shape).relu() + least);

    /// <summary>A map inside two bounds, with values close to both.</summary>
    public Tensor Within(double low, double high, params long[] shape) => Through((Field(shape) * 4).sigmoid() * (high - low) + low);

    /// <summary>Tokens (n, tokens, features), whose neighbours are alike and whose features are not.</summary>
    public Tensor Tokens(params long[] shape) => Through(Mixed(shape));

    /// <summary>Tokens of which some are a hundred times as large as others, such as the outliers of trained transformers.</summary>
    public Tensor UnlikeTokens(params long[] shape) => Through(Mixed(shape) * pow(tensor(10f), rand(shape[0], shape[1], 1) * 2 - 1));

    /// <summary>Random values, made by an operation that saves nothing.</summary>
    public Tensor Through(Tensor values) => Leaf(values) + 0;

    /// <summary>A long line of coarse waves.</summary>
    public Tensor Wave(long length) => Through(Field(1, 1, length / 4, 1).expand(1, 1, length / 4, 4).reshape(length));

    /// <summary>A weight, which is a leaf of a size that keeps the scale of its input.</summary>
    public Tensor Weight(params long[] shape) => Leaf(randn(shape) / Math.Sqrt(Math.Max(1, shape.Skip(1).Aggregate(1L, (a, b) => a * b))));

    /// <summary>A symmetric positive matrix for each of a batch, far from singular.</summary>
    public Tensor Matrices(long batch, long side)
    {
        var a = randn(batch, side, side);
        return Through(a.matmul(a.transpose(1, 2)) / side + eye(side));
    }

    /// <summary>A module whose parameters' gradients count too.</summary>
    public T Module<T>(T module) where T : nn.Module
    {
        all.AddRange(module.parameters().Select(parameter => parameter.DetachFromDisposeScope()));
        return module;
    }

    Tensor Leaf(Tensor values)
    {
        var leaf = values.detach().requires_grad_().DetachFromDisposeScope();
        all.Add(leaf);
        return leaf;
    }

    public void Dispose() => all.ForEach(leaf => leaf.Dispose());

    /// <summary>Coarse and fine waves along the last axes (two of four, three of five, else one), and a little noise.</summary>
    public static Tensor Field(params long[] shape)
    {
        if (shape.Length < 2) return Field([1, 1, .. shape]).reshape(shape);
        if (shape.Length == 2) return Field([1, .. shape]).reshape(shape);
        var places = shape[2..];
        InterpolationMode[] modes = [InterpolationMode.Linear, InterpolationMode.Bilinear, InterpolationMode.Trilinear];
        Tensor Waves(long length)
        {
            var coarse = randn([shape[0], shape[1], .. places.Select(n => Math.Max(1, n / length))]);
            return interpolate(coarse, places, mode: modes[places.Length - 1], align_corners: false);
        }
        var field = Waves(8) + 0.3 * Waves(3) + 0.05 * randn(shape);
        return field / field.std();
    }

    static Tensor Mixed(params long[] shape)
    {
        var tokens = Field(shape[0], 12, shape[1]).transpose(1, 2).matmul(randn(12, shape[2])) / 3.5;
        return tokens + 0.2 * randn(shape);
    }
}

/// <summary>
/// The class is one table: the cases in the order of the lines of the table of operations, with combinations of operations last.
/// </summary>
static class OperationCases
{
    static readonly long[] image = [4, 16, 32, 32], volume = [1, 8, 16, 24, 24], line = [4, 32, 256], tokens = [4, 128, 128];

    /// <summary>The reasons why lines have no case.</summary>
    public static IReadOnlyDictionary<string, string> WithoutCase { get; } = new (string Why, string[] Lines)[]
    {
        ("runs on a GPU only", [
            "native_dropout", "_fused_dropout", "convolution_overrideable", "cudnn_convolution", "cudnn_convolution_transpose",
            "cudnn_batch_norm", "cudnn_grid_sampler", "_cudnn_rnn", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell",
            "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable", "_flash_attention_forward", "_efficient_attention_forward"]),
        ("no function of TorchSharp 0.107 calls it", [
            "conv_tbc", "mkldnn_convolution", "_grouped_mm", "_addmm_activation", "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training", "_batch_norm_with_update", "_batch_norm_no_update", "_fused_rms_norm",
            "special_log_ndtr", "triangular_solve", "segment_reduce", "scatter_reduce", "index_reduce", "_pdist_forward",
            "multilabel_margin_loss_forward", "_weight_norm_interface"]),
        ("TorchSharp 0.107 calls other operations in its place", ["adaptive_max_pool3d", "special_erfcx", "mish", "linear"]),
        ("runs where places need more than 32 bits only", ["_grid_sampler_2d_cpu_fallback"]),
    }.SelectMany(reason => reason.Lines.Select(line => (line, reason.Why))).ToDictionary();

    public static IReadOnlyList<OperationCase> All { get; } =
    [
        // These cases are of this kind: pooling, padding and indexing.
        new("avg_pool2d", make => avg_pool2d(make.Map(image), 2)),
        new("avg_pool1d", ["avg_pool2d"], make => avg_pool1d(make.Map(line), 2)),
        new("avg_pool3d", make => avg_pool3d(make.Map(volume), [2, 2, 2])),
        new("_adaptive_avg_pool2d", make => adaptive_avg_pool2d(make.Map(image), 7)),
        new("_adaptive_avg_pool3d", make => adaptive_avg_pool3d(make.Map(volume), 5)),
        new("max_pool2d_with_indices", make => max_pool2d(make.Map(image), 2)),
        new("max_pool1d", ["max_pool2d_with_indices"], make => max_pool1d(make.Map(line), 2)),
        new("max_pool3d_with_indices", make => max_pool3d(make.Map(volume), [2, 2, 2])),
        new("adaptive_max_pool2d", make => adaptive_max_pool2d(make.Map(image), [7, 7])),
        new("fractional_max_pool2d", make => fractional_max_pool2d(make.Map(image), 3, 20)),
        new("fractional_max_pool3d", make => fractional_max_pool3d(make.Map(volume), 3, 9)),
        new("reflection_pad1d", make => pad(make.Map(line), (3, 3), PaddingModes.Reflect)),
        new("reflection_pad2d", make => pad(make.Map(image), (3, 3, 3, 3), PaddingModes.Reflect)),
        new("reflection_pad3d", make => pad(make.Map(volume), [2, 2, 2, 2, 2, 2], PaddingModes.Reflect)),
        new("replication_pad1d", make => pad(make.Map(line), (3, 3), PaddingModes.Replicate)),
        new("replication_pad2d", make => pad(make.Map(image), (3, 3, 3, 3), PaddingModes.Replicate)),
        new("replication_pad3d", make => pad(make.Map(volume), [2, 2, 2, 2, 2, 2], PaddingModes.Replicate)),
        new("gather", make => gather(make.Map(image), 3, randint(0, 32, [4, 16, 32, 8]))),
        new("take", make => take(make.Map(image), randint(0, 4 * 16 * 32 * 32, [1000]))),
        new("masked_select", make => make.Map(image) is var x ? x.masked_select(x.detach() > 0) : x),
        new("cummax", make => cummax(make.Map(image), 3).values),
        new("cummin", make => cummin(make.Map(image), 3).values),
        new("nll_loss_forward", make => nll_loss(make.Map(512, 64), randint(0, 64, [512]))),
        new("nll_loss2d_forward", make => nll_loss(make.Map(image), randint(0, 16, [4, 32, 32]))),

        // These cases are of this kind: activations with one bound.
        new("relu", make => relu(make.Map(image))),
        new("relu in place", ["relu"], make => relu(make.Map(image), inplace: true)),
        new("leaky_relu", make => leaky_relu(make.Map(image), 0.1)),
        new("leaky_relu in place", ["leaky_relu"], make => leaky_relu(make.Map(image), 0.1, inplace: true)),
        new("rrelu_with_noise", make => rrelu(make.Map(image))),
        new("relu6", ["hardtanh"], make => relu6(make.Map(image) * 4)),
        new("relu6 in place", ["hardtanh"], make => relu6(make.Map(image) * 4, inplace: true)),
        new("hardsigmoid", make => hardsigmoid(make.Map(image) * 3)),

        // These cases are of this kind: linear in each factor.
        new("convolution", make => conv2d(make.Map(image), make.Weight(32, 16, 3, 3), padding: [1, 1])),
        new(
            "convolution of a rectified map", ["convolution"],
            make => conv2d(relu(make.Map(image)), make.Weight(32, 16, 3, 3), padding: [1, 1])),
        new("convolution of one point", ["convolution"], make => conv2d(make.Map(image), make.Weight(32, 16, 1, 1))),
        new(
            "convolution by channel", ["convolution"],
            make => conv2d(make.Map(image), make.Weight(16, 1, 3, 3), padding: [1, 1], groups: 16)),
        new("convolution of lines", ["convolution"], make => conv1d(make.Map(line), make.Weight(32, 32, 5), padding: 2)),
        new("convolution of volumes", ["convolution"], make => conv3d(make.Map(volume), make.Weight(16, 8, 3, 3, 3), padding: [1, 1, 1])),
        new(
            "transposed convolution", ["convolution"],
            make => conv_transpose2d(make.Map(image), make.Weight(16, 8, 2, 2), strides: [2, 2])),
        new("mul", make => make.Map(image) * make.Map(image)),
        new("square by mul", ["mul"], make => make.Map(image) is var x ? x * x : x),
        new("dot", make => dot(make.Wave(1 << 16), make.Wave(1 << 16))),
        new("vdot", make => vdot(make.Wave(1 << 16), make.Wave(1 << 16))),
        new("mv", make => mv(make.Tokens(1, 512, 256)[0], make.Tokens(1, 1, 256)[0, 0])),
        new("mm", make => mm(make.Tokens(1, 512, 128)[0], make.Weight(128, 64))),
        new("bmm", make => bmm(make.Tokens(tokens), make.Tokens(tokens).transpose(1, 2))),
        new("addr", make => addr(make.Map(256, 256), make.Tokens(1, 1, 256)[0, 0], make.Tokens(1, 1, 256)[0, 0])),
        new("addmv", make => addmv(make.Tokens(1, 1, 512)[0, 0], make.Tokens(1, 512, 256)[0], make.Tokens(1, 1, 256)[0, 0], 1, 1)),
        new("addmm", make => addmm(make.Weight(64), make.Tokens(1, 512, 128)[0], make.Weight(128, 64), 1, 1)),
        new("addbmm", make => addbmm(make.Map(128, 128), make.Tokens(tokens), make.Tokens(tokens).transpose(1, 2))),
        new("baddbmm", make => baddbmm(make.Map(4, 128, 128), make.Tokens(tokens), make.Tokens(tokens).transpose(1, 2), 1, 1)),
        new("addcmul", make => addcmul(make.Map(image), make.Map(image), make.Map(image), 1)),
        new("linalg_cross", make => linalg.cross(make.Map(4, 3, 64, 64), make.Map(4, 3, 64, 64), 1)),
        new("lerp", make => lerp(make.Map(image), make.Map(image), make.Within(0, 1, image))),
        new("_trilinear", ["_trilinear", "bilinear"],
            make => bilinear(make.Tokens(1, 1024, 32)[0], make.Tokens(1, 1024, 32)[0], make.Weight(16, 32, 32))),

        new("a product in place", ["mul"], make => (make.Map(image) + 1).mul_(make.Map(image))),
        new("dropout", ["mul"], make => dropout(make.Map(image), 0.3)),

        // These cases are of this kind: normalisations.
        new(
            "native_batch_norm",
            make => batch_norm(make.Map(image), zeros(16), ones(16), make.Through(ones(16)), make.Weight(16), training: true)),
        new("batch norm, evaluating", ["native_batch_norm"],
            make => batch_norm(make.Map(image), zeros(16), ones(16), make.Through(ones(16)), make.Weight(16))),
        new("instance norm", ["native_batch_norm"], make => instance_norm(make.Map(image))),
        new("native_group_norm", make => group_norm(make.Map(image), 4, make.Through(ones(16)), make.Weight(16))),
        new("native_layer_norm", make => layer_norm(make.Tokens(tokens), [128], make.Through(ones(128)), make.Weight(128))),
        new("layer norm over tokens of unlike sizes", ["native_layer_norm"], make => layer_norm(make.UnlikeTokens(tokens), [128])),

        // These cases are of this kind: bounded slopes.
        new("tanh", make => tanh(make.Map(image) * 2)),
        new("silu", make => silu(make.Map(image) * 2)),
        new("silu in place", ["silu"], make => silu(make.Map(image) * 2, inplace: true)),
        new("gelu", make => gelu(make.Map(image) * 2)),
        new("mish", ["softplus", "tanh", "mul"], make => Mish().call(make.Map(image) * 2)),
        new("hardswish", make => hardswish(make.Map(image) * 2)),
        new("elu", make => elu(make.Map(image) * 2, 1)),
        new("elu in place", ["elu"], make => elu(make.Map(image) * 2, 1, inplace: true)),
        new("selu", ["elu"], make => selu(make.Map(image) * 2)),
        new("celu", make => celu(make.Map(image) * 2, 1)),
        new("_prelu_kernel", make => prelu(make.Map(image), make.Through(full([16], 0.25f)))),
        new("softplus", make => softplus(make.Map(image) * 2)),
        new("log_sigmoid_forward", make => logsigmoid(make.Map(image) * 4)),
        new("glu", make => glu(make.Map(image), 1)),
        new("erf", make => erf(make.Map(image))),
        new("erfc", make => erfc(make.Map(image))),
        new("atan", make => atan(make.Map(image) * 2)),
        new("asinh", make => asinh(make.Map(image) * 2)),

        // These cases are of this kind: bounds of the call, and signs.
        new("hardtanh", make => hardtanh(make.Map(image) * 2, inplace: true)),    // TorchSharp's other one returns its argument
        new("threshold", make => threshold(make.Map(image), 0.1, 0)),
        new("hardshrink", make => hardshrink(make.Map(image))),
        new("softshrink", make => softshrink(make.Map(image))),
        new("abs", make => abs(make.Map(image))),
        new("copysign", make => copysign(make.Map(image), make.Map(image))),

        // These cases are of this kind: comparisons of two maps.
        new("maximum", make => maximum(make.Map(image), make.Map(image))),
        new(
            "maximum of neighbours", ["maximum"],
            make => make.Map(image) is var x ? maximum(x.slice(3, 1, 32, 1), x.slice(3, 0, 31, 1)) : x),
        new("minimum", make => minimum(make.Map(image), make.Map(image))),
        new("fmax", make => fmax(make.Map(image), make.Map(image))),
        new("fmin", make => fmin(make.Map(image), make.Map(image))),

        // These cases are of this kind: angles.
        new("sin", make => sin(make.Map(image) * 10)),
        new("cos", make => cos(make.Map(image) * 10)),
        new("sinc", make => sinc(make.Map(image) * 3)),
        new("sine of a high frequency", ["sin"], make => sin(make.Map(image) * 1000)),
        new("cosine of a phase that grows", ["cos"], make => cos(make.Within(0, 1, image).cumsum(3) * 50)),
        new("tan", make => tan(make.Map(image).clamp(-1.5, 1.5))),
        new("atan2", make => atan2(make.Map(image), make.Map(image))),
        new("hypot", make => hypot(make.Map(image), make.Map(image))),

        // These cases are of this kind: exponentials.
        new("exp", make => exp(make.Map(image) * 2)),
        new("exp in place", ["exp"], make => (make.Map(image) * 2).exp_()),
        new("exp2", make => exp2(make.Map(image) * 3)),
        new("expm1", make => expm1(make.Map(image) * 2)),
        new("sinh", make => sinh(make.Map(image) * 3)),
        new("cosh", make => cosh(make.Map(image) * 3)),
        new("_softmax", make => softmax(make.Map(image) * 3, 1)),
        new("softmax over scores at a low temperature", ["_softmax"], make => softmax(make.Map(4, 4, 128, 128) / 0.1, 3)),
        new("_log_softmax", make => log_softmax(make.Map(image) * 8, 1)),
        new("logsumexp", make => logsumexp(make.Map(image) * 8, 1)),
        new("logsumexp of scores far from zero", ["logsumexp"], make => logsumexp(make.Map(image) * 3 + 1000, 1)),
        new("logaddexp", make => logaddexp(make.Map(image) * 4, make.Map(image) * 4)),
        new("logaddexp2", make => logaddexp2(make.Map(image) * 4, make.Map(image) * 4)),

        // These cases are of this kind: unbounded near zero.
        new("log", make => log(make.Positive(1e-4, image))),
        new("log2", make => log2(make.Positive(1e-4, image))),
        new("log10", make => log10(make.Positive(1e-4, image))),
        new("xlogy", make => xlogy(make.Positive(1e-4, image), make.Positive(1e-4, image))),
        new("special_entr", make => special.entr(make.Positive(1e-4, image))),
        new("lgamma", make => lgamma(make.Positive(1e-3, image))),
        new("div", make => make.Map(image) / make.Positive(1e-3, image)),
        new("div in place", ["div"], make => (make.Map(image) + 0).div_(make.Positive(1e-3, image))),
        new("addcdiv", make => addcdiv(make.Map(image), make.Map(image), make.Positive(1e-3, image), 1)),
        new("reciprocal", make => reciprocal(make.Positive(1e-3, image))),
        new("sqrt", make => sqrt(make.Positive(1e-6, image))),
        new("sqrt in place", ["sqrt"], make => make.Positive(1e-6, image).sqrt_()),
        new("rsqrt", make => rsqrt(make.Positive(1e-3, image))),
        new("pow", make => pow(make.Positive(1e-3, image), 0.5)),
        new("pow of two maps", ["pow"], make => pow(make.Positive(1e-3, image), make.Positive(0.1, image))),
        new("pow of a number", ["pow"], make => pow(tensor(3f), make.Map(image))),
        new("square", ["pow"], make => square(make.Map(image))),
        new("prod", make => prod(make.Positive(0.5, image), 1)),
        new("cumprod", make => cumprod(make.Positive(0.5, 4, 64, 16, 16), 1)),
        new("i0", make => special.i0(make.Map(image))),
        new("special_i0e", make => special.i0e(make.Map(image))),
        new("special_i1", make => special.i1(make.Map(image))),
        new("special_i1e", make => special.i1e(make.Map(image))),

        // These cases are of this kind: spreads.
        new("var", make => var(make.UnlikeTokens(tokens) + 1, 2)),
        new("var_mean", make => var_mean(make.Tokens(tokens), 2).var),
        new("std", make => std(make.UnlikeTokens(tokens) + 1, 2)),
        new("std_mean", make => std_mean(make.Tokens(tokens), 2).std),

        // These cases are of this kind: probabilities, and losses of logits.
        new("sigmoid", make => torch.sigmoid(make.Map(image) * 2)),
        new("sigmoid in place", ["sigmoid"], make => (make.Map(image) * 2).sigmoid_()),
        new("binary_cross_entropy_with_logits", make => binary_cross_entropy_with_logits(make.Map(image) * 8, Truth(image))),
        new("soft_margin_loss", make => soft_margin_loss(make.Map(image) * 8, Truth(image) * 2 - 1)),

        // These cases are of this kind: attention.
        Attention("_scaled_dot_product_flash_attention_for_cpu", 1),
        Attention("attention of scores twice as large", 2),
        Attention("attention of scores four times as large", 4),
        new("mkldnn_rnn_layer", make => make.Module(LSTM(64, 64, batchFirst: true)).call(make.Tokens(8, 64, 64)).Item1),

        // These cases are of this kind: sampling.
        new("grid_sampler_2d", make => grid_sample(make.Map(image), make.Within(-1, 1, 4, 64, 64, 2), align_corners: false)),
        new("grid_sampler_3d", make => grid_sample(make.Map(volume), make.Within(-1, 1, 1, 16, 24, 24, 3), align_corners: false)),

        // These cases are of this kind: close bounds.
        new("clamp", make => clamp(make.Within(0, 1, image), 1e-7, 1 - 1e-7)),
        new("clamp_min", make => clamp_min(make.Map(image), 0)),
        new("clamp_max", make => clamp_max(make.Map(image), 0)),

        // These cases are of this kind: edges of domains.
        new("log1p", make => log1p(make.Within(-0.9999, 0, image))),
        new("special_xlog1py", make => special.xlog1py(make.Map(image), make.Within(-0.9999, 0, image))),
        new("acos", make => acos(make.Within(-0.9999, 0.9999, image))),
        new("asin", make => asin(make.Within(-0.9999, 0.9999, image))),
        new("acosh", make => acosh(make.Positive(1.0001, image))),
        new("atanh", make => atanh(make.Within(-0.9999, 0.9999, image))),
        new("erfinv", make => special.erfinv(make.Within(-0.9999, 0.9999, image))),
        new("logit", make => logit(make.Within(0.0001, 0.9999, image))),
        new("special_ndtri", make => special.ndtri(make.Within(0.0001, 0.9999, image))),
        new("digamma", make => digamma(make.Positive(1e-2, image))),
        new("polygamma", make => special.polygamma(1, make.Positive(1e-2, image))),
        new("mvlgamma", make => mvlgamma(make.Positive(1.01, image), 2)),
        new("igamma", make => igamma(ones(image), make.Positive(1e-2, image))),
        new("igammac", make => igammac(ones(image), make.Positive(1e-2, image))),

        // These cases are of this kind: losses of two similar maps.
        new("mse_loss", make => mse_loss(Near(make.Map(image), out var near), near)),
        new("smooth_l1_loss", make => smooth_l1_loss(Near(make.Map(image), out var near), near)),
        new("huber_loss", make => huber_loss(Near(make.Map(image), out var near), near, 0.005)),
        new("binary_cross_entropy", make => binary_cross_entropy(make.Within(1e-4, 1 - 1e-4, image), Truth(image))),
        new("multi_margin_loss", make => multi_margin_loss(make.Map(1024, 64), randint(0, 64, [1024]))),
        new("_ctc_loss",
            make => ctc_loss(
                log_softmax(make.Tokens(64, 8, 64) * 3, 2), randint(1, 64, [8, 20]), full([8], 64L, int64), full([8], 20L, int64))),

        // These cases are of this kind: compared for equality.
        new("max", make => max(make.Map(image))),
        new("min", make => min(make.Map(image))),
        new("amax", make => amax(make.Map(image), [2, 3])),
        new("amin", make => amin(make.Map(image), [2, 3])),
        new("median", make => median(make.Map(image))),
        new("nanmedian", make => nanmedian(make.Map(image))),
        new("nansum", make => nansum(make.Map(image))),
        new("nan_to_num", make => nan_to_num(make.Map(image))),
        new("fmod", make => fmod(make.Map(image) * 5, make.Positive(0.5, image))),
        new("remainder", make => remainder(make.Map(image) * 5, make.Positive(0.5, image))),

        // These cases are of this kind: distances.
        new("norm", make => norm(make.UnlikeTokens(tokens), 2)),
        new("linalg_vector_norm", make => linalg.vector_norm(make.UnlikeTokens(tokens), 2, [2])),
        new("norm of order infinity", ["linalg_vector_norm"], make => linalg.vector_norm(make.Map(image), double.PositiveInfinity, [2, 3])),
        new("dist", make => dist(make.Map(image), make.Map(image))),
        new("renorm", make => renorm(make.Tokens(1, 512, 128)[0], 2, 0, 3)),
        new("_cdist_forward", make => cdist(make.Tokens(1, 128, 128)[0], make.Tokens(1, 128, 128)[0], 1)),
        new("_euclidean_dist", make => cdist(make.Tokens(1, 128, 128)[0], make.Tokens(1, 128, 128)[0])),
        new("logcumsumexp", make => logcumsumexp(make.Map(image) * 8, 3)),

        // These cases are of this kind: factorisations.
        new("_linalg_svd", make => linalg.svdvals(make.Tokens(4, 96, 64))),
        new("_linalg_eigh", make => linalg.eigvalsh(make.Matrices(8, 48))),
        new("linalg_eig", make => linalg.eigvals(make.Matrices(8, 48)).abs()),
        new("linalg_qr", make => linalg.qr(make.Matrices(8, 48)).R),
        new("linalg_cholesky_ex", make => linalg.cholesky(make.Matrices(8, 48))),
        new("cholesky_inverse", make => cholesky_inverse(make.Matrices(8, 48).tril())),
        new("cholesky_solve", make => cholesky_solve(make.Map(8, 48, 48), make.Matrices(8, 48).tril())),
        new("linalg_lu", make => linalg.lu(make.Matrices(8, 48)).U),
        new("linalg_lu_factor_ex", make => linalg.lu_factor(make.Matrices(8, 48)).LU),
        new("linalg_lu_solve", ["linalg_lu_solve"],
            make => linalg.lu_factor(make.Matrices(8, 48)) is var (lu, pivots) ? linalg.lu_solve(lu, pivots!, make.Map(8, 48, 48)) : lu),
        new("linalg_inv_ex", make => linalg.inv(make.Matrices(8, 48))),
        new("linalg_pinv", make => linalg.pinv(make.Matrices(8, 48))),
        new("_linalg_det", make => linalg.det(make.Matrices(32, 24))),
        new("_linalg_slogdet", make => linalg.slogdet(make.Matrices(8, 48)).Item2),
        new("_linalg_solve_ex", make => linalg.solve(make.Matrices(8, 48), make.Map(8, 48, 48))),
        new("linalg_solve_triangular", make => linalg.solve_triangular(make.Matrices(8, 48).triu(), make.Map(8, 48, 48), upper: true)),
        new("linalg_lstsq", make => linalg.lstsq(make.Matrices(8, 48), make.Map(8, 48, 48)).Solution),
        new("linalg_householder_product", make => linalg.householder_product(make.Matrices(8, 48), make.Within(0.5, 1, 8, 48))),
        new("linalg_matrix_exp", make => linalg.matrix_exp(make.Matrices(8, 48) / 4)),

        // These cases have a weight that is computed.
        new("linear", ["mm"], make => make.Module(Linear(128, 64)).call(make.Tokens(tokens))),
        new("a linear layer of weight norm", ["div", "mul"],
            make => functional.linear(make.Tokens(tokens), OfUnitRows(make.Weight(256, 128)) * make.Weight(256, 1))),
        new("a convolution with weight standardisation", ["convolution", "div"],
            make => conv2d(make.Map(4, 64, 24, 24), Standardised(make.Weight(64, 64, 3, 3)), padding: [1, 1])),
        new("a convolution with weight norm", ["convolution"],
            make => conv2d(make.Map(4, 64, 24, 24), OfUnitRows(make.Weight(64, 64, 3, 3)) * make.Weight(64, 1, 1, 1), padding: [1, 1])),
        new("a convolution with binarised weights", ["convolution"],
            make => conv2d(make.Map(4, 64, 24, 24), Binarised(make.Weight(64, 64, 3, 3)), padding: [1, 1])),
        new("a convolution in bfloat16", ["convolution"],
            make => conv2d(make.Map(4, 32, 24, 24).to(bfloat16), make.Weight(32, 32, 3, 3).to(bfloat16), padding: [1, 1]).to(float32)),
        new("_embedding_bag", make => make.Module(EmbeddingBag(500, 128)).call(randint(0, 500, [64, 8]))),
        new("embedding, then linear", ["embedding", "mm"],
            make =>
                functional.linear(make.Module(Embedding(500, 128)).call(randint(0, 500, [8, 64])), make.Weight(64, 128), make.Weight(64))),

        // These cases combine several operations.
        new("multi-head attention", ["bmm"],
            make => make.Tokens(64, 8, 128) is var x ? make.Module(MultiheadAttention(128, 8)).call(x, x, x, null, false, null).Item1 : x),
        new("square root of a rectified map", ["sqrt"], make => sqrt(relu(make.Map(image)) + 1e-6)),
        new("mean over powers (GeM)", ["pow"], make => clamp(make.Map(image), 1e-6).pow(3).mean([2, 3]).pow(1.0 / 3)),
        new("cross-entropy of confident logits", ["_log_softmax", "nll_loss2d_forward"],
            make => cross_entropy(make.Map(4, 8, 64, 64) * 8, randint(0, 8, [4, 64, 64]))),
        new("cross-entropy with smoothed labels", ["_log_softmax"],
            make => cross_entropy(make.Map(4, 8, 64, 64) * 4, randint(0, 8, [4, 64, 64]), label_smoothing: 0.1)),
        new("log-softmax and negative likelihood", ["_log_softmax", "nll_loss_forward"],
            make => nll_loss(log_softmax(make.Tokens(1, 512, 256)[0] * 4, 1), randint(0, 256, [512]))),
        new("divergence from a teacher", ["_log_softmax"],
            make => kl_div(log_softmax(make.Map(image) * 3, 1), softmax(Leaves.Field(image) * 3, 1), log_target: false, Reduction.Sum)),
        new("Dice of sigmoids", ["sigmoid", "div"], make => Dice(torch.sigmoid(make.Map(4, 8, 64, 64) * 6))),
        new("Dice of a softmax", ["_softmax", "div"], make => Dice(softmax(make.Map(4, 8, 64, 64) * 6, 1))),
        new("focal loss", ["pow", "log"], make => Focal(make.Map(4, 8, 64, 64) * 3)),
        new("binary cross-entropy of a sigmoid", ["sigmoid", "binary_cross_entropy"],
            make => binary_cross_entropy(torch.sigmoid(make.Map(image) * 4), Truth(image))),
        new("binary cross-entropy by hand, of confident logits", ["sigmoid", "log"],
            make => torch.sigmoid(make.Map(image) * 10) is var p && Truth(image) is var truth
                ? -(truth * log(p + 1e-12) + (1 - truth) * log(1 - p + 1e-12)) : p),
        new("unlikelihood of a confident softmax", ["_softmax", "log"], make => -log(1 - softmax(make.Map(image) * 10, 1) + 1e-6)),
        new("logarithm of the slope of a tanh", ["tanh", "log"],
            make => (make.Map(image) * 4).tanh() is var y ? (1 - y * y + 1e-6).log() : y),
        new("probability of a tanh", ["tanh", "log"], make => ((make.Map(image) * 2).tanh() * 0.5 + 0.5 + 1e-6).log()),
        new("tanh of unlike channels", ["tanh"],
            make => (make.Map(image) * pow(tensor(10f), torch.linspace(-1, 2, 16).view(1, 16, 1, 1))).tanh()),
        new("a conditional random field", ["logsumexp"], make =>
        {
            var (scores, moves) = (make.Map(32, 8, 8), make.Weight(8, 8));
            var sums = scores[0];
            for (var step = 1; step < 32; step++) sums = (sums.unsqueeze(2) + moves + scores[step].unsqueeze(1)).logsumexp(1);
            return sums.logsumexp(1).mean();
        }),
        new("a product with an expanded mask", ["mul"], make => make.Map(image) * Mask(4, 1, 32, 32).expand(image)),
        new("a mean over the tokens of a mask", ["mul"],
            make => (make.Tokens(tokens) * Mask(tokens[0], tokens[1], 1).expand(tokens)).mean([1])),
        new("stochastic depth with an expanded mask", ["mul"], make => make.Map(image) * Mask(4, 1, 1, 1).expand(image)),
        new("attention of queries and keys far from zero", ["_scaled_dot_product_flash_attention_for_cpu"],
            make => scaled_dot_product_attention(
                make.Map(2, 4, 64, 32) + 20, make.Map(2, 4, 64, 32) + 20, make.Map(2, 4, 64, 32))),
        new("entropy", ["log", "mul"], make => softmax(make.Map(image) * 3, 1) is var p ? -(p * log(p + 1e-8)).sum(1) : p),
        new("softmax by hand", ["exp", "div"], make => exp(make.Map(image) * 4) is var e ? e / e.sum(1, keepdim: true) : e),
        new("logarithm of a sum of exponentials by hand", ["exp", "log"], make => log(exp(make.Map(image) * 4).sum(1))),
        new(
            "cosine similarity", ["linalg_vector_norm", "div"],
            make => cosine_similarity(make.UnlikeTokens(tokens), make.UnlikeTokens(tokens), 2)),
        new("normalize", ["norm", "div"], make => normalize(make.UnlikeTokens(tokens), dim: 2)),
        new("root mean square norm by hand", ["pow", "rsqrt", "mul"],
            make => make.UnlikeTokens(tokens) is var x ? x * rsqrt(x.pow(2).mean([2], keepdim: true) + 1e-6) : x),
        new("standardised by hand", ["std", "div"],
            make => make.UnlikeTokens(tokens) is var x ? (x - x.mean([2], keepdim: true)) / (std(x, 2, keepdim: true) + 1e-5) : x),
        new("triplet margin loss", ["norm"],
            make => triplet_margin_loss(make.Tokens(1, 512, 64)[0], make.Tokens(1, 512, 64)[0], make.Tokens(1, 512, 64)[0])),
        new("gated GELU", ["gelu", "mul"],
            make => functional.linear(make.Tokens(tokens), make.Weight(256, 128)).chunk(2, 2) is var halves
                ? halves[0] * gelu(halves[1]) : halves[0]),
        new("squeeze and excitation", ["mul", "sigmoid"],
            make => make.Map(image) is var x ? x * torch.sigmoid(conv2d(x.mean([2, 3], keepdim: true), make.Weight(16, 16, 1, 1))) : x),
        new("attention by hand", ["_softmax", "bmm"],
            make => softmax(make.Tokens(tokens).matmul(make.Tokens(tokens).transpose(1, 2)) / 4, 2).matmul(make.Tokens(tokens))),
        new("soft arg-max", ["_softmax", "mul"], make => (softmax(make.Map(16, 8, 1024) * 5, 2) * arange(1024f)).sum(2)),
        new("variational loss", ["exp", "pow"],
            make => make.Map(image) is var logarithm ? (exp(logarithm) + make.Map(image).pow(2) - logarithm).mean() : logarithm),
        new("Charbonnier loss", ["pow", "sqrt"], make => sqrt((Near(make.Map(image), out var near) - near).pow(2) + 1e-6).mean()),
        new("total variation", ["abs"], make => make.Map(image) is var x ? (x.slice(3, 1, 32, 1) - x.slice(3, 0, 31, 1)).abs().mean() : x),
        new("upsampled by an attention gate", ["mul", "sigmoid"],
            make => interpolate(make.Map(4, 16, 16, 16), [32, 32], mode: InterpolationMode.Bilinear, align_corners: false)
                * torch.sigmoid(make.Map(4, 1, 32, 32))),
        new("convolution, batch norm, relu, pooling", ["convolution", "native_batch_norm", "relu", "max_pool2d_with_indices"],
            make => make.Module(Sequential(
                Conv2d(16, 16, 3, padding: 1, bias: false), BatchNorm2d(16), ReLU(), MaxPool2d(2),
                Conv2d(16, 16, 3, padding: 1, bias: false), BatchNorm2d(16), SiLU())).call(make.Map(image))),
    ];

    static OperationCase Attention(string name, double size) =>
        new(name, ["_scaled_dot_product_flash_attention_for_cpu"], make => scaled_dot_product_attention(
            make.Tokens(4, 128, 128).reshape(4, 128, 4, 32).transpose(1, 2) * size,
            make.Tokens(4, 128, 128).reshape(4, 128, 4, 32).transpose(1, 2) * size,
            make.Tokens(4, 128, 128).reshape(4, 128, 4, 32).transpose(1, 2)));

    static Tensor Mask(params long[] shape) => (rand(shape) > 0.5).to(float32);

    static Tensor Truth(long[] shape) => (Leaves.Field(shape) > 0).to(float32);

    // The fit has an error of half a hundredth.
    static Tensor Near(Tensor map, out Tensor target)
    {
        target = map.detach() + 0.005 * Leaves.Field(map.shape);
        return map;
    }

    static Tensor OfUnitRows(Tensor weight) => weight / weight.flatten(1).norm(1).reshape([-1, .. weight.shape.Skip(1).Select(_ => 1L)]);

    static Tensor Binarised(Tensor weight) => weight.sign().detach() * weight.abs().mean([1, 2, 3], keepdim: true);

    static Tensor Standardised(Tensor weight)
    {
        long[] rows = [1, 2, 3];
        return (weight - weight.mean(rows, keepdim: true)) / (std(weight, rows, keepdim: true) + 1e-5);
    }

    static Tensor Dice(Tensor probabilities)
    {
        var truth = Truth(probabilities.shape);
        return 1 - ((2 * (probabilities * truth).sum([2, 3]) + 1) / (probabilities.sum([2, 3]) + truth.sum([2, 3]) + 1)).mean();
    }

    static Tensor Focal(Tensor logits)
    {
        var truth = Truth(logits.shape);
        var p = torch.sigmoid(logits);
        var right = p * truth + (1 - p) * (1 - truth);
        return -((1 - right).pow(2) * log(right + 1e-6)).mean();
    }
}
