using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The transformer of both vision transformers, named and computed as in vit-pytorch: (n, tokens, dim) to (n, tokens, dim). A layer is
/// attention followed by a feed-forward network. Each has its own layer norm before it, and its result is added to its input.
/// </summary>
sealed class Transformer : Module<Tensor, Tensor>
{
    readonly Sequential layers;
    readonly LayerNorm? norm;

    /// <param name="dim">The number of features of a token.</param>
    /// <param name="depth">The number of layers.</param>
    /// <param name="heads">The number of attention heads, of 64 features each.</param>
    /// <param name="mlp">The number of features inside the feed-forward network.</param>
    /// <param name="dropout">The probability of dropout after the softmax and after each linear layer of a block.</param>
    /// <param name="norm">Whether a last layer norm follows.</param>
    public Transformer(int dim, int depth, int heads, int mlp, double dropout, bool norm) : base(nameof(Transformer))
    {
        layers = Sequential(Enumerable.Range(0, depth).Select(i => ($"{i}", (Module<Tensor, Tensor>)new Layer(dim, heads, mlp, dropout))));
        this.norm = norm ? LayerNorm(dim) : null;
        RegisterComponents();
    }

    /// <summary>The blocks of a network whose transformer has this name; each is a transformer layer.</summary>
    public static IReadOnlyList<string[]> Blocks(int depth) =>
        [.. Enumerable.Range(0, depth).Select(i => new[] { $"transformer.layers.{i}" })];

    public override Tensor forward(Tensor x) => norm is null ? layers.call(x) : x.Through(layers, norm);

    sealed class Layer : Module<Tensor, Tensor>
    {
        [ComponentName(Name = "0")] readonly Attention attention;
        [ComponentName(Name = "1")] readonly FeedForward feedForward;

        public Layer(int dim, int heads, int mlp, double dropout) : base(nameof(Layer))
        {
            attention = new Attention(dim, heads, dropout);
            feedForward = new FeedForward(dim, mlp, dropout);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            using var attended = attention.call(x);
            using var y = attended.Add(x);
            using var fed = feedForward.call(y);
            return fed.Add(y);
        }
    }

    sealed class Attention : Module<Tensor, Tensor>
    {
        const int HeadFeatures = 64;

        readonly int heads;
        readonly LayerNorm norm;
        readonly Linear to_qkv;
        readonly Softmax attend = Softmax(-1);
        readonly Dropout dropout;
        readonly Sequential to_out;

        public Attention(int dim, int heads, double dropout) : base(nameof(Attention))
        {
            this.heads = heads;
            norm = LayerNorm(dim);
            to_qkv = Linear(dim, 3 * heads * HeadFeatures, hasBias: false);
            this.dropout = Dropout(dropout);
            to_out = Sequential(Linear(heads * HeadFeatures, dim), Dropout(dropout));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => Attend(x).ThenThrough(to_out);

        Tensor Attend(Tensor x)
        {
            using var qkv = x.Through(norm, to_qkv);
            using var weights = Similarities(qkv).ThenThrough(attend, dropout);
            using var value = Heads(qkv, 2);
            using var attended = weights.matmul(value);
            using var byToken = attended.transpose(1, 2);
            return byToken.flatten(2);
        }

        Tensor Similarities(Tensor qkv)
        {
            using var query = Heads(qkv, 0);
            using var key = Heads(qkv, 1);
            using var transposed = key.transpose(-1, -2);
            using var products = query.matmul(transposed);
            return products.Mul(1 / Math.Sqrt(HeadFeatures));
        }

        // Takes one third of (n, tokens, 3 * heads * features), as (n, heads, tokens, features).
        Tensor Heads(Tensor qkv, int third)
        {
            using var part = qkv.narrow(-1, third * heads * HeadFeatures, heads * HeadFeatures);
            using var split = part.unflatten(2, [heads, HeadFeatures]);
            return split.transpose(1, 2);
        }
    }

    sealed class FeedForward : Module<Tensor, Tensor>
    {
        readonly Sequential net;

        public FeedForward(int dim, int mlp, double dropout) : base(nameof(FeedForward))
        {
            net = Sequential(LayerNorm(dim), Linear(dim, mlp), GELU(), Dropout(dropout), Linear(mlp, dim), Dropout(dropout));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => net.call(x);
    }
}

/// <summary>
/// Cuts (n, channels, extents...) into patches (n, patches, values). Patches are in row-major order, and a patch's channels vary fastest.
/// </summary>
/// <param name="patch">The extents of a patch, which must divide the input's.</param>
/// <param name="order">The order of the patch's axes among its values, from slow to fast.</param>
sealed class Patches(long[] patch, int[] order) : Module<Tensor, Tensor>(nameof(Patches))
{
    public override Tensor forward(Tensor x)
    {
        var (axes, shape) = (patch.Length, x.shape);
        // split: (n, channels, patches along an axis, extent of a patch, the same of the next axis, ...)
        long[] split = [shape[0], shape[1], .. patch.SelectMany((extent, axis) => new[] { shape[2 + axis] / extent, extent })];
        long[] reordered = [0, .. Enumerable.Range(0, axes).Select(axis => 2L + 2 * axis), .. order.Select(axis => 3L + 2 * axis), 1];
        using var parts = x.reshape(split);
        using var apart = parts.permute(reordered);
        using var patches = apart.flatten(1 + axes);
        return patches.flatten(1, axes);
    }
}

static class Tokens
{
    /// <summary>
    /// Prepends a class token to the patches' tokens, and adds the position embedding to each: (n, patches, dim) to (n, 1 + patches, dim).
    /// </summary>
    /// <param name="tokens">Disposed.</param>
    /// <param name="classToken">(1, 1, dim).</param>
    /// <param name="positions">(1, at least 1 + patches, dim).</param>
    public static Tensor WithClassToken(this Tensor tokens, Tensor classToken, Tensor positions)
    {
        using (tokens)
        using (var repeated = classToken.expand(tokens.shape[0], -1, -1))
        using (var places = positions.narrow(1, 0, 1 + tokens.shape[1]))
            return cat([repeated, tokens], 1).Add_(places);
    }
}
