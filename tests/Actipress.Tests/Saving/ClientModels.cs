using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using F = TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Saving;

/// <summary>The way in which a user's code runs its layers.</summary>
/// <param name="ByCall">Whether the model and its layers are run by <c>call</c>, else by <c>forward</c>.</param>
/// <param name="Disposes">Whether each forward pass disposes the tensors that it makes and does not return.</param>
public sealed record Habit(bool ByCall, bool Disposes)
{
    public Tensor Run(Module<Tensor, Tensor> module, Tensor x) => ByCall ? module.call(x) : module.forward(x);

    public override string ToString() => $"{(ByCall ? "call" : "forward")}{(Disposes ? "" : ", nothing disposed")}";
}

/// <summary>A model, and a function that returns the loss of the batch with a number.</summary>
public sealed record ClientRun(nn.Module Model, Func<int, Tensor> Loss);

/// <summary>A small network with the habits of TorchSharp's users.</summary>
/// <param name="Name">The network that it stands for.</param>
/// <param name="Make">Makes the network with fresh parameters.</param>
/// <param name="Cosine">
/// The least cosine between the gradients under <c>dct:10</c> and the plain ones, after some steps of training.
/// </param>
public sealed record Client(string Name, Func<Habit, ClientRun> Make, double Cosine = 0.95)
{
    public override string ToString() => Name;
}

/// <summary>
/// Networks as users write them, with batches that resemble images, texts and graphs. The class is one list of networks, each with its
/// modules.
/// </summary>
public static class ClientModels
{
    public static IReadOnlyList<Client> All { get; } =
    [
        new("functional network", habit => Classifier(new FunctionalNetwork(habit), habit)),
        new("residual network", habit => Classifier(new ResidualNetwork(habit), habit)),
        new("VGG", habit => Classifier(new Vgg(habit), habit)),
        new("weight-standardised network", habit => Classifier(new StandardisedNetwork(habit), habit)),
        new("U-Net", Segmenter),
        // Most of its error comes from the maps of its SiLUs, which are not smooth before it has learnt something: 0.82 fresh, 0.93 after
        // ten steps.
        new("SiLU detector", Detector, Cosine: 0.9),
        new("graph network", GraphNetwork.Client),
        new("attention written out", habit => LanguageModel.Client(habit, (dim, heads) => new WrittenAttention(dim, heads, habit))),
        new("scaled_dot_product_attention", habit => LanguageModel.Client(habit, (dim, heads) => new NativeAttention(dim, heads, habit))),
        new("MultiheadAttention", habit => LanguageModel.Client(habit, (dim, heads) => new ModuleAttention(dim, heads, habit))),
        new("TransformerEncoderLayer", EncoderModel.Client),
    ];

    public static Client Find(string name) => All.First(client => client.Name == name);

    static ClientRun Classifier(Module<Tensor, Tensor> model, Habit habit) => new(model, batch =>
    {
        var scene = Scenes.Discs(8, 64, batch);
        return F.cross_entropy(habit.Run(model, scene.Images), scene.Quadrants);
    });

    static ClientRun Segmenter(Habit habit)
    {
        var model = new UNet(habit);
        return new(model, batch =>
        {
            var scene = Scenes.Discs(8, 64, batch);
            var logits = habit.Run(model, scene.Images);
            var inside = logits.sigmoid();
            var dice = 1 - 2 * (inside * scene.Masks).sum() / (inside.sum() + scene.Masks.sum() + 1);
            return F.binary_cross_entropy_with_logits(logits, scene.Masks) + dice;
        });
    }

    static ClientRun Detector(Habit habit)
    {
        var model = new SiluDetector(habit);
        return new(model, batch =>
        {
            var scene = Scenes.Discs(4, 128, batch);
            return SiluDetector.Loss(habit.ByCall ? model.call(scene.Images) : model.forward(scene.Images), scene);
        });
    }
}

/// <summary>A part of a user's network.</summary>
abstract class Part(string name, Habit habit) : Module<Tensor, Tensor>(name)
{
    protected Habit Habit => habit;

    protected Tensor Run(Module<Tensor, Tensor> module, Tensor x) => habit.Run(module, x);

    protected abstract Tensor Body(Tensor x);

    public sealed override Tensor forward(Tensor x)
    {
        if (!habit.Disposes) return Body(x);
        using var scope = NewDisposeScope();
        return scope.MoveToOuter(Body(x));
    }
}

/// <summary>A small network of functional calls: (n, 3, h, w) to (n, 4).</summary>
sealed class FunctionalNetwork : Part
{
    readonly Conv2d conv1 = Conv2d(3, 16, 3, padding: 1), conv2 = Conv2d(16, 32, 3, padding: 1), conv3 = Conv2d(32, 32, 3, padding: 1);
    readonly Linear fc1 = Linear(32 * 8 * 8, 64), fc2 = Linear(64, 4);

    public FunctionalNetwork(Habit habit) : base(nameof(FunctionalNetwork), habit) => RegisterComponents();

    protected override Tensor Body(Tensor x)
    {
        x = F.max_pool2d(F.relu(Run(conv1, x)), 2);
        x = F.max_pool2d(F.relu(Run(conv2, x)), 2);
        x = F.max_pool2d(F.leaky_relu(Run(conv3, x), 0.1), 2);
        x = F.relu(Run(fc1, x.flatten(1)));
        return Run(fc2, F.dropout(x, 0.2, training));
    }
}

/// <summary>A residual network: (n, 3, h, w) to (n, 4).</summary>
sealed class ResidualNetwork : Part
{
    readonly Conv2d stem = Conv2d(3, 16, 3, padding: 1, bias: false);
    readonly BatchNorm2d norm = BatchNorm2d(16);
    readonly ReLU relu = ReLU();
    readonly Sequential layer1, layer2;
    readonly AdaptiveAvgPool2d pool = AdaptiveAvgPool2d(1);
    readonly Flatten flatten = Flatten();
    readonly Linear fc = Linear(32, 4);

    public ResidualNetwork(Habit habit) : base(nameof(ResidualNetwork), habit)
    {
        layer1 = Sequential(new Block(16, 16, 1, habit), new Block(16, 16, 1, habit));
        layer2 = Sequential(new Block(16, 32, 2, habit), new Block(32, 32, 1, habit));
        RegisterComponents();
    }

    protected override Tensor Body(Tensor x)
    {
        x = Run(relu, Run(norm, Run(stem, x)));
        x = Run(layer2, Run(layer1, x));
        return Run(fc, Run(flatten, Run(pool, x)));
    }

    sealed class Block : Part
    {
        readonly Conv2d conv1, conv2;
        readonly BatchNorm2d norm1, norm2;
        readonly ReLU relu1 = ReLU(), relu2 = ReLU();
        readonly Sequential? shortcut;

        public Block(long inputs, long outputs, long stride, Habit habit) : base(nameof(Block), habit)
        {
            (conv1, conv2) =
                (Conv2d(inputs, outputs, 3, stride, padding: 1, bias: false), Conv2d(outputs, outputs, 3, padding: 1, bias: false));
            (norm1, norm2) = (BatchNorm2d(outputs), BatchNorm2d(outputs));
            if (stride != 1) shortcut = Sequential(Conv2d(inputs, outputs, 1, stride, bias: false), BatchNorm2d(outputs));
            RegisterComponents();
        }

        protected override Tensor Body(Tensor x)
        {
            var y = Run(relu1, Run(norm1, Run(conv1, x)));
            y = Run(norm2, Run(conv2, y));
            return Run(relu2, y + (shortcut is null ? x : Run(shortcut, x)));
        }
    }
}

/// <summary>A small VGG, made only of <c>Sequential</c>: (n, 3, 64, 64) to (n, 4).</summary>
sealed class Vgg : Part
{
    readonly Sequential features, classifier;

    public Vgg(Habit habit) : base(nameof(Vgg), habit)
    {
        features = Sequential(
            Conv2d(3, 16, 3, padding: 1), ReLU(inplace: true), Conv2d(16, 16, 3, padding: 1), ReLU(inplace: true), MaxPool2d(2),
            Conv2d(16, 32, 3, padding: 1), ReLU(inplace: true), Conv2d(32, 32, 3, padding: 1), ReLU(inplace: true), MaxPool2d(2),
            Conv2d(32, 64, 3, padding: 1), ReLU(inplace: true), MaxPool2d(2));
        classifier = Sequential(Linear(64 * 8 * 8, 128), ReLU(), Dropout(0.5), Linear(128, 4));
        RegisterComponents();
    }

    protected override Tensor Body(Tensor x) => Run(classifier, Run(features, x).view(-1, 64 * 8 * 8));
}

/// <summary>Convolutions whose weights are standardised in each forward pass, with group norms: (n, 3, h, w) to (n, 4).</summary>
sealed class StandardisedNetwork : Part
{
    readonly StandardisedConv conv1, conv2, conv3;
    readonly GroupNorm norm1 = GroupNorm(4, 16), norm2 = GroupNorm(4, 32), norm3 = GroupNorm(4, 32);
    readonly Linear head = Linear(32, 4);

    public StandardisedNetwork(Habit habit) : base(nameof(StandardisedNetwork), habit)
    {
        (conv1, conv2, conv3) = (new(3, 16, 1, habit), new(16, 32, 2, habit), new(32, 32, 1, habit));
        foreach (var norm in (GroupNorm[])[norm1, norm2, norm3])
        {
            // TorchSharp 0.107.0 does not initialise them.
            init.ones_(norm.weight);
            init.zeros_(norm.bias);
        }
        RegisterComponents();
    }

    protected override Tensor Body(Tensor x)
    {
        x = F.relu(Run(norm1, Run(conv1, x)));
        x = F.relu(Run(norm2, Run(conv2, x)));
        x = F.relu(Run(norm3, Run(conv3, x)));
        return Run(head, x.mean([2, 3]));
    }

    sealed class StandardisedConv : Part
    {
        readonly Parameter weight, bias;
        readonly long stride;

        public StandardisedConv(long inputs, long outputs, long stride, Habit habit) : base(nameof(StandardisedConv), habit)
        {
            this.stride = stride;
            (weight, bias) = (new Parameter(randn(outputs, inputs, 3, 3)), new Parameter(zeros(outputs)));
            RegisterComponents();
        }

        protected override Tensor Body(Tensor x)
        {
            var centred = weight - weight.mean([1, 2, 3], keepdim: true);
            var variance = (centred * centred).mean([1, 2, 3], keepdim: true);
            var standardised = centred / (variance * (weight.numel() / weight.shape[0]) + 1e-4).sqrt();
            return F.conv2d(x, standardised, bias, strides: [stride, stride], padding: [1, 1]);
        }
    }
}

/// <summary>A U-Net of three levels: (n, 3, h, w) to logits (n, 1, h, w).</summary>
sealed class UNet : Part
{
    readonly DoubleConv down1, down2, bottom, up2, up1;
    readonly MaxPool2d pool = MaxPool2d(2);
    readonly Upsample rise = Upsample(scale_factor: [2, 2], mode: UpsampleMode.Bilinear, align_corners: false);
    readonly Conv2d head = Conv2d(16, 1, 1);

    public UNet(Habit habit) : base(nameof(UNet), habit)
    {
        (down1, down2, bottom, up2, up1) =
            (new(3, 16, habit), new(16, 32, habit), new(32, 32, habit), new(64, 32, habit), new(48, 16, habit));
        RegisterComponents();
    }

    protected override Tensor Body(Tensor x)
    {
        var one = Run(down1, x);
        var two = Run(down2, Run(pool, one));
        var y = Run(bottom, Run(pool, two));
        y = Run(up2, cat([Run(rise, y), two], 1));
        y = Run(up1, cat([Run(rise, y), one], 1));
        return Run(head, y);
    }

    sealed class DoubleConv : Part
    {
        readonly Sequential layers;

        public DoubleConv(long inputs, long outputs, Habit habit) : base(nameof(DoubleConv), habit)
        {
            layers = Sequential(
                Conv2d(inputs, outputs, 3, padding: 1, bias: false), BatchNorm2d(outputs), ReLU(inplace: true),
                Conv2d(outputs, outputs, 3, padding: 1, bias: false), BatchNorm2d(outputs), ReLU(inplace: true));
            RegisterComponents();
        }

        protected override Tensor Body(Tensor x) => Run(layers, x);
    }
}

/// <summary>
/// A detector with a feature pyramid, as the recent YOLOs are built: (n, 3, side, side) to three levels (n, 5, h, w) of x, y, w, h and
/// objectness.
/// </summary>
sealed class SiluDetector : Module<Tensor, Tensor[]>
{
    readonly Habit habit;
    readonly ConvBlock stem, down1, down2, down3, down4, down5;
    readonly SplitBlock c1, c2, c3, up4, up3, out4;
    readonly Upsample rise = Upsample(scale_factor: [2, 2], mode: UpsampleMode.Nearest);
    readonly Head head3, head4, head5;

    public SiluDetector(Habit habit) : base(nameof(SiluDetector))
    {
        this.habit = habit;
        (stem, down1, down2, down3, down4, down5) = (
            new(3, 16, 3, 2, habit), new(16, 32, 3, 1, habit), new(32, 32, 3, 2, habit), new(32, 48, 3, 2, habit), new(48, 64, 3, 2, habit),
            new(48, 48, 3, 2, habit));
        (c1, c2, c3) = (new(32, 32, habit), new(32, 32, habit), new(48, 48, habit));
        (up4, up3, out4) = (new(64 + 48, 48, habit), new(48 + 32, 32, habit), new(48, 48, habit));
        (head3, head4, head5) = (new(32, habit), new(48, habit), new(48, habit));
        RegisterComponents();
    }

    public override Tensor[] forward(Tensor x)
    {
        if (!habit.Disposes) return Body(x);
        using var scope = NewDisposeScope();
        var levels = Body(x);
        scope.MoveToOuter(levels);
        return levels;
    }

    Tensor[] Body(Tensor x)
    {
        var p2 = habit.Run(c1, habit.Run(down1, habit.Run(stem, x)));
        var p3 = habit.Run(c2, habit.Run(down2, p2));
        var p4 = habit.Run(c3, habit.Run(down3, p3));
        var p5 = habit.Run(down4, p4);
        var n4 = habit.Run(up4, cat([habit.Run(rise, p5), p4], 1));
        var n3 = habit.Run(up3, cat([habit.Run(rise, n4), p3], 1));
        var o4 = habit.Run(out4, n4);
        var o5 = habit.Run(down5, o4);
        return [habit.Run(head3, n3), habit.Run(head4, o4), habit.Run(head5, o5)];
    }

    /// <summary>Binary cross-entropy on the objectness of every cell, and 1 - IoU of the boxes at the cell of each disc's centre.</summary>
    public static Tensor Loss(Tensor[] levels, Scenes scene)
    {
        var total = zeros(1);
        foreach (var level in levels)
        {
            var (n, side) = (level.shape[0], level.shape[2]);
            var cells = (scene.Boxes[.., ..2] * side).floor().clamp(0, side - 1);    // (n, 2) of x, y
            var places = (cells[.., 1] * side + cells[.., 0]).to(ScalarType.Int64);
            var flat = level.flatten(2);
            var target = zeros(n, side * side).scatter_(1, places.unsqueeze(1), ones(n, side * side));
            total = total + F.binary_cross_entropy(flat[.., 4].sigmoid(), target);

            var at = flat.gather(2, places.view(-1, 1, 1).expand(-1, 5, 1)).squeeze(2);
            var centre = (at[.., ..2].sigmoid() + cells) / side;
            var size = at[.., 2..4].sigmoid();
            var (low, high) = (centre - size / 2, centre + size / 2);
            var (trueLow, trueHigh) = (scene.Boxes[.., ..2] - scene.Boxes[.., 2..] / 2, scene.Boxes[.., ..2] + scene.Boxes[.., 2..] / 2);
            var shared = (minimum(high, trueHigh) - maximum(low, trueLow)).clamp(min: 0).prod(1);
            var union = size.prod(1) + scene.Boxes[.., 2..].prod(1) - shared;
            total = total + (1 - shared / (union + 1e-6)).mean();
        }
        return total.sum();
    }

    sealed class ConvBlock : Part
    {
        readonly Conv2d conv;
        readonly BatchNorm2d bn;
        readonly SiLU act = SiLU();

        public ConvBlock(long inputs, long outputs, long kernel, long stride, Habit habit) : base(nameof(ConvBlock), habit)
        {
            conv = Conv2d(inputs, outputs, kernel, stride, padding: kernel / 2, bias: false);
            bn = BatchNorm2d(outputs);
            RegisterComponents();
        }

        protected override Tensor Body(Tensor x) => Run(act, Run(bn, Run(conv, x)));
    }

    // Half of the channels pass through a residual pair, and all channels are concatenated.
    sealed class SplitBlock : Part
    {
        readonly ConvBlock enter, inner1, inner2, leave;

        public SplitBlock(long inputs, long outputs, Habit habit) : base(nameof(SplitBlock), habit)
        {
            var half = outputs / 2;
            (enter, inner1, inner2, leave) = (
                new(inputs, outputs, 1, 1, habit), new(half, half, 3, 1, habit), new(half, half, 3, 1, habit),
                new(3 * half, outputs, 1, 1, habit));
            RegisterComponents();
        }

        protected override Tensor Body(Tensor x)
        {
            var parts = Run(enter, x).chunk(2, 1);
            var inner = parts[1] + Run(inner2, Run(inner1, parts[1]));
            return Run(leave, cat([parts[0], parts[1], inner], 1));
        }
    }

    sealed class Head : Part
    {
        readonly ConvBlock conv;
        readonly Conv2d predict;

        public Head(long inputs, Habit habit) : base(nameof(Head), habit)
        {
            (conv, predict) = (new(inputs, 32, 3, 1, habit), Conv2d(32, 5, 1));
            RegisterComponents();
        }

        protected override Tensor Body(Tensor x) => Run(predict, Run(conv, x));
    }
}

/// <summary>
/// Two graph layers, the first over the dense adjacency, the second over the list of edges, with a layer norm over 8 features.
/// </summary>
sealed class GraphNetwork : Module<Tensor, Tensor, Tensor, Tensor>
{
    const int Features = 8;
    readonly Habit habit;
    readonly Linear embed = Linear(4, Features), dense = Linear(Features, Features), sparse = Linear(2 * Features, Features),
        head = Linear(Features, 3);
    readonly LayerNorm norm1 = LayerNorm(Features), norm2 = LayerNorm(Features), norm3 = LayerNorm(Features);

    public GraphNetwork(Habit habit) : base(nameof(GraphNetwork))
    {
        this.habit = habit;
        RegisterComponents();
    }

    public static ClientRun Client(Habit habit)
    {
        var model = new GraphNetwork(habit);
        return new(model, batch =>
        {
            var (nodes, adjacency, edges, labels) = Scenes.Graph(1024, batch);
            return F.cross_entropy(habit.ByCall ? model.call(nodes, adjacency, edges) : model.forward(nodes, adjacency, edges), labels);
        });
    }

    /// <param name="nodes">The features of the nodes, (nodes, 4).</param>
    /// <param name="adjacency">The adjacency, (nodes, nodes), with rows of sum 1.</param>
    /// <param name="edges">The edges, (2, edges): from and to.</param>
    public override Tensor forward(Tensor nodes, Tensor adjacency, Tensor edges)
    {
        if (!habit.Disposes) return Body(nodes, adjacency, edges);
        using var scope = NewDisposeScope();
        return scope.MoveToOuter(Body(nodes, adjacency, edges));
    }

    Tensor Body(Tensor nodes, Tensor adjacency, Tensor edges)
    {
        var x = F.relu(habit.Run(norm1, habit.Run(embed, nodes)));
        x = x + F.relu(habit.Run(norm2, habit.Run(dense, adjacency.matmul(x))));
        var (from, to) = (x.index_select(0, edges[0]), x.index_select(0, edges[1]));
        var messages = F.silu(habit.Run(sparse, cat([from, to], 1)));
        var gathered = zeros_like(x).scatter_add(0, edges[1].unsqueeze(1).expand(-1, Features), messages);
        x = habit.Run(norm3, x + gathered);
        return habit.Run(head, x);
    }
}

/// <summary>Predicts the next of 32 tokens: (n, t) to (n, t, 32).</summary>
sealed class LanguageModel : Part
{
    const int Tokens = 32, Length = 64, Width = 64, Heads = 4;
    readonly Embedding embedding = Embedding(Tokens, Width);
    readonly Parameter positions = new(randn(Length, Width) * 0.1);
    readonly Block block1, block2;
    readonly LayerNorm norm = LayerNorm(Width);
    readonly Linear head = Linear(Width, Tokens);

    LanguageModel(Habit habit, Func<long, long, Module<Tensor, Tensor>> attention) : base(nameof(LanguageModel), habit)
    {
        (block1, block2) = (new(attention(Width, Heads), habit), new(attention(Width, Heads), habit));
        RegisterComponents();
    }

    public static ClientRun Client(Habit habit, Func<long, long, Module<Tensor, Tensor>> attention)
    {
        var model = new LanguageModel(habit, attention);
        return new(model, batch => NextToken(habit, model, batch));
    }

    public static Tensor NextToken(Habit habit, Module<Tensor, Tensor> model, int batch)
    {
        var tokens = Scenes.Text(8, Length + 1, Tokens, batch);
        return F.cross_entropy(habit.Run(model, tokens[.., ..Length]).flatten(0, 1), tokens[.., 1..].flatten());
    }

    protected override Tensor Body(Tensor tokens)
    {
        var x = Run(embedding, tokens) + positions;
        return Run(head, Run(norm, Run(block2, Run(block1, x))));
    }

    sealed class Block : Part
    {
        readonly LayerNorm norm1 = LayerNorm(Width), norm2 = LayerNorm(Width);
        readonly Module<Tensor, Tensor> attention;
        readonly Sequential feedForward = Sequential(Linear(Width, 4 * Width), GELU(), Dropout(0.1), Linear(4 * Width, Width));

        public Block(Module<Tensor, Tensor> attention, Habit habit) : base(nameof(Block), habit)
        {
            this.attention = attention;
            RegisterComponents();
        }

        protected override Tensor Body(Tensor x)
        {
            x = x + Run(attention, Run(norm1, x));
            return x + Run(feedForward, Run(norm2, x));
        }
    }
}

/// <summary>Attention from single operations: softmax(q k^T / sqrt d) v, with dropout.</summary>
sealed class WrittenAttention : Part
{
    readonly Linear q, k, v, o;
    readonly Dropout dropout = Dropout(0.1);
    readonly long heads;

    public WrittenAttention(long width, long heads, Habit habit) : base(nameof(WrittenAttention), habit)
    {
        this.heads = heads;
        (q, k, v, o) = (Linear(width, width), Linear(width, width), Linear(width, width), Linear(width, width));
        RegisterComponents();
    }

    protected override Tensor Body(Tensor x)
    {
        Tensor Split(Linear linear) => Run(linear, x).view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2);
        var (queries, keys, values) = (Split(q), Split(k), Split(v));
        var scores = queries.matmul(keys.transpose(-2, -1)) / Math.Sqrt(queries.shape[^1]);
        var future = ones(x.shape[1], x.shape[1], ScalarType.Bool).triu(1);
        var weights = Run(dropout, F.softmax(scores.masked_fill(future, double.NegativeInfinity), -1));
        return Run(o, weights.matmul(values).transpose(1, 2).reshape(x.shape));
    }
}

/// <summary>Attention by torch's function, with queries, keys and values from one layer.</summary>
sealed class NativeAttention : Part
{
    readonly Linear qkv, o;
    readonly long heads;

    public NativeAttention(long width, long heads, Habit habit) : base(nameof(NativeAttention), habit)
    {
        this.heads = heads;
        (qkv, o) = (Linear(width, 3 * width), Linear(width, width));
        RegisterComponents();
    }

    protected override Tensor Body(Tensor x)
    {
        var parts = Run(qkv, x).chunk(3, -1).Select(part => part.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)).ToArray();
        var y = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_casual: true);
        return Run(o, y.transpose(1, 2).reshape(x.shape));
    }
}

/// <summary>Attention by torch's module, which takes (t, n, features).</summary>
sealed class ModuleAttention : Part
{
    readonly MultiheadAttention attention;

    public ModuleAttention(long width, long heads, Habit habit) : base(nameof(ModuleAttention), habit)
    {
        attention = MultiheadAttention(width, heads, dropout: 0.1);
        RegisterComponents();
    }

    protected override Tensor Body(Tensor x)
    {
        var y = x.transpose(0, 1);
        var future = full(x.shape[1], x.shape[1], double.NegativeInfinity).triu(1);
        var (attended, _) = Habit.ByCall ? attention.call(y, y, y, null!, false, future) : attention.forward(y, y, y, null!, false, future);
        return attended.transpose(0, 1);
    }
}

/// <summary>A model around torch's whole encoder layer.</summary>
sealed class EncoderModel : Part
{
    readonly Embedding embedding = Embedding(32, 64);
    readonly Parameter positions = new(randn(64, 64) * 0.1);
    readonly TransformerEncoderLayer layer1 = TransformerEncoderLayer(64, 4, 128, 0.1), layer2 = TransformerEncoderLayer(64, 4, 128, 0.1);
    readonly Linear head = Linear(64, 32);

    EncoderModel(Habit habit) : base(nameof(EncoderModel), habit) => RegisterComponents();

    public static ClientRun Client(Habit habit)
    {
        var model = new EncoderModel(habit);
        return new(model, batch => LanguageModel.NextToken(habit, model, batch));
    }

    protected override Tensor Body(Tensor tokens)
    {
        var x = (Run(embedding, tokens) + positions).transpose(0, 1);
        var future = full(tokens.shape[1], tokens.shape[1], double.NegativeInfinity).triu(1);
        foreach (var layer in (TransformerEncoderLayer[])[layer1, layer2])
            x = Habit.ByCall ? layer.call(x, future, null!) : layer.forward(x);
        return Run(head, x.transpose(0, 1));
    }
}

/// <summary>Images of soft discs on smooth grounds, with their targets.</summary>
/// <param name="Images">The images, (n, 3, side, side).</param>
/// <param name="Masks">The masks, (n, 1, side, side): 1 inside the disc.</param>
/// <param name="Boxes">The boxes, (n, 4): centre x, y, width and height, relative to the side.</param>
/// <param name="Quadrants">The quadrant of each centre, (n).</param>
public sealed record Scenes(Tensor Images, Tensor Masks, Tensor Boxes, Tensor Quadrants)
{
    public static Scenes Discs(int n, int side, int seed)
    {
        var random = new Random(seed);
        var (images, masks) = (new float[n, 3, side, side], new float[n, 1, side, side]);
        var (boxes, quadrants) = (new float[n, 4], new long[n]);
        for (var i = 0; i < n; i++)
        {
            double Some(double from, double to) => from + (to - from) * random.NextDouble();
            var (cx, cy, radius) = (Some(0.2, 0.8), Some(0.2, 0.8), Some(0.08, 0.2));
            var (slopeX, slopeY) = (Some(-1, 1), Some(-1, 1));
            for (var c = 0; c < 3; c++)
            {
                // The ground has waves of falling strength, as in photographs. The disc has shading and a texture of its own.
                var waves = Array.ConvertAll((int[])[1, 2, 4, 8], wave =>
                    (Height: 0.5 / wave, OfX: 6 * wave * Some(0.5, 1), OfY: 6 * wave * Some(0.5, 1), Phase: Some(0, 6)));
                var (shade, shading) = (Some(0.5, 1.5), Some(-2, 2));
                for (var row = 0; row < side; row++)
                    for (var column = 0; column < side; column++)
                    {
                        var (x, y) = (column / (side - 1.0), row / (side - 1.0));
                        var disc = 1 / (1 + Math.Exp((Math.Sqrt((x - cx) * (x - cx) + (y - cy) * (y - cy)) - radius) * 60));
                        var ground = slopeX * x + slopeY * y
                            + waves.Sum(wave => wave.Height * Math.Sin(x * wave.OfX + y * wave.OfY + wave.Phase));
                        var texture = shade + (x - cx) * shading + 0.1 * Math.Sin(x * 70 + y * 40);
                        images[i, c, row, column] = (float)(ground * (1 - disc) + texture * disc);
                        masks[i, 0, row, column] = disc > 0.5 ? 1 : 0;
                    }
            }
            for (var c = 0; c < 3; c++)
                for (var row = 0; row < side; row++)
                    for (var column = 0; column < side; column++) images[i, c, row, column] += (float)Some(-0.03, 0.03);
            (boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]) = ((float)cx, (float)cy, (float)(2 * radius), (float)(2 * radius));
            quadrants[i] = (cx > 0.5 ? 1 : 0) + (cy > 0.5 ? 2 : 0);
        }
        return new(from_array(images), from_array(masks), from_array(boxes), from_array(quadrants));
    }

    /// <summary>Random walks over tokens, (n, length) of integers. Some tokens are likely to follow others.</summary>
    public static Tensor Text(int n, int length, int tokens, int seed)
    {
        var (random, text) = (new Random(seed), new long[n * length]);
        for (var i = 0; i < text.Length; i++)
            text[i] = i % length == 0 || random.Next(8) == 0 ? random.Next(tokens) : (text[i - 1] * 5 + 1 + random.Next(3)) % tokens;
        return from_array(text).view(n, length);
    }

    /// <summary>
    /// Points in a square, each joined to its nearest ones, with features and labels that change slowly from place to place.
    /// </summary>
    public static (Tensor Nodes, Tensor Adjacency, Tensor Edges, Tensor Labels) Graph(int nodes, int seed)
    {
        var random = new Random(seed);
        var points = Enumerable.Range(0, nodes).Select(_ => (X: random.NextSingle(), Y: random.NextSingle())).ToArray();
        var places = from_array(points.SelectMany(point => (float[])[point.X, point.Y]).ToArray()).view(nodes, 2);
        var near = cdist(places, places).topk(7, 1, largest: false).indexes[.., 1..];    // (nodes, 6)
        var edges = stack([near.flatten(), arange(nodes).view(-1, 1).expand(-1, 6).flatten()]);
        var weights = from_array(Enumerable.Repeat(1 / 6f, nodes * 6).ToArray()).view(nodes, 6);
        var adjacency = zeros(nodes, nodes).scatter_(1, near, weights);
        var waves = points.SelectMany(point => (float[])[point.X, point.Y, MathF.Sin(point.X * 9), MathF.Cos(point.Y * 7)]).ToArray();
        var features = from_array(waves).view(nodes, 4);
        var labels = from_array(
            points.Select(point => (long)Math.Clamp((MathF.Sin(point.X * 5) + MathF.Cos(point.Y * 6) + 2) * 0.74f, 0, 2)).ToArray());
        return (features, adjacency, edges, labels);
    }
}
