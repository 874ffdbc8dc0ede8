using Actipress.Models;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Autograd;

/// <summary>
/// Forward passes as users write them, each a scalar loss over its own parameters. Every hook must leave their gradients unchanged.
/// </summary>
public sealed record ForwardPass(string Name, Func<(IReadOnlyList<Parameter> Parameters, Func<Tensor> Loss)> Make)
{
    public override string ToString() => Name;

    /// <summary>Returns the gradients of all parameters after one backward pass from a fixed seed.</summary>
    public IReadOnlyList<float[]> Gradients(Func<IDisposable>? scope = null)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(7);
        var (parameters, loss) = Make();
        random.manual_seed(11);
        Tensor value;
        using (scope?.Invoke()) value = loss();
        value.backward();
        var gradients =
            parameters.Select(p => p.grad is { } g ? g.to(ScalarType.Float32).contiguous().data<float>().ToArray() : []).ToArray();
        GC.KeepAlive(loss);    // the loss holds the model, whose finalizer disposes its parameters
        return gradients;
    }

    public static readonly IReadOnlyList<ForwardPass> All =
    [
        OneInput("conv, batch norm, relu, pool, linear by call", () => Sequential(
            Conv2d(3, 8, 3, padding: 1), BatchNorm2d(8), ReLU(), Conv2d(8, 8, 3, padding: 1), BatchNorm2d(8), LeakyReLU(0.1), MaxPool2d(2),
            GELU(), Dropout(0.3), Flatten(), Linear(8 * 16, 10)), 4, 3, 8, 8),
        OneInput("lenet", () => new LeNet(), 4, 1, 28, 28),
        OneInput("3d u-net", () => new SmallUNet(), 1, 1, 12, 16, 12),
        OneInput("by forward", () => new ByForward(), 4, 3, 8, 8),
        OneInput("in-place relu, residual", () => new Residual(), 2, 4, 8, 8),
        OneInput(
            "3d convolution",
            () => Sequential(Conv3d(1, 4, 3, padding: 1), BatchNorm3d(4), ReLU(), MaxPool3d(2), ConvTranspose3d(4, 2, 2, stride: 2)), 1, 1,
            8, 8, 8),
        OneInput("transformer encoder layer", () => TransformerEncoderLayer(32, 4, 64, 0.1), 6, 2, 32),
        OneInput("multi-head attention", () => new Attention(), 6, 2, 16),
        OneInput("lstm", () => new Recurrent(), 5, 3, 8),
        OneInput("channels last, transposed, strided", () => new Strided(), 4, 6, 8, 8),
        new("embedding", () =>
        {
            var table = Embedding(50, 16);
            var head = Linear(16, 5);
            var words = randint(0, 50, [8, 12]);
            return ([.. table.parameters(), .. head.parameters()], () => head.call(table.call(words)).square().mean());
        }),
        new("functional calls on bare tensors", () =>
        {
            var w = new Parameter(randn(16, 16));
            var x = randn(8, 16);
            return ([w], () => functional.log_softmax(tanh(x.matmul(w)).matmul(w.t()).sigmoid(), 1).mean());
        }),
        Typed("float64", ScalarType.Float64),
        Typed("bfloat16", ScalarType.BFloat16),
        Typed("float16", ScalarType.Float16),
    ];

    static ForwardPass OneInput(string name, Func<Module<Tensor, Tensor>> make, params long[] shape) => new(name, () =>
    {
        var model = make();
        model.train();
        var x = randn(shape);
        return ([.. model.parameters()], () => model.call(x).square().mean());
    });

    static ForwardPass Typed(string name, ScalarType type) => new(name, () =>
    {
        var model = Sequential(Linear(32, 64), GELU(), Linear(64, 8)).to(type);
        var x = randn(16, 32).to(type);
        return ([.. model.parameters()], () => model.call(x).square().mean());
    });

    sealed class ByForward : Module<Tensor, Tensor>
    {
        readonly Conv2d conv = Conv2d(3, 8, 3, padding: 1);
        readonly BatchNorm2d norm = BatchNorm2d(8);
        readonly Linear linear = Linear(8 * 64, 4);
        public ByForward() : base(nameof(ByForward)) => RegisterComponents();
        public override Tensor forward(Tensor x) => linear.forward(functional.relu(norm.forward(conv.forward(x))).flatten(1));
    }

    sealed class Residual : Module<Tensor, Tensor>
    {
        readonly Conv2d conv1 = Conv2d(4, 4, 3, padding: 1), conv2 = Conv2d(4, 4, 3, padding: 1);
        readonly BatchNorm2d norm1 = BatchNorm2d(4), norm2 = BatchNorm2d(4);
        readonly ReLU relu = ReLU(inplace: true);
        public Residual() : base(nameof(Residual)) => RegisterComponents();
        public override Tensor forward(Tensor x)
        {
            var y = relu.call(norm1.call(conv1.call(x)));
            var z = norm2.call(conv2.call(y));
            return relu.call(z + y);
        }
    }

    sealed class SmallUNet : Module<Tensor, Tensor>
    {
        readonly Sequential down = Block(1, 4), bottom = Block(4, 8), up = Block(8, 4);
        readonly MaxPool3d pool = MaxPool3d(2);
        readonly ConvTranspose3d rise = ConvTranspose3d(8, 4, 2, stride: 2);
        public SmallUNet() : base(nameof(SmallUNet)) => RegisterComponents();
        static Sequential Block(int from, int to) =>
            Sequential(Conv3d(from, to, 3, padding: 1), BatchNorm3d(to), ReLU(), Conv3d(to, to, 3, padding: 1), BatchNorm3d(to), ReLU());
        public override Tensor forward(Tensor x)
        {
            var skip = down.call(x);
            return up.call(cat([skip, rise.call(bottom.call(pool.call(skip)))], 1));
        }
    }

    sealed class Attention : Module<Tensor, Tensor>
    {
        readonly MultiheadAttention attention = MultiheadAttention(16, 4);
        public Attention() : base(nameof(Attention)) => RegisterComponents();
        public override Tensor forward(Tensor x) => attention.call(x, x, x, null, true, null).Item1;
    }

    sealed class Recurrent : Module<Tensor, Tensor>
    {
        readonly LSTM lstm = LSTM(8, 12, numLayers: 2);
        public Recurrent() : base(nameof(Recurrent)) => RegisterComponents();
        public override Tensor forward(Tensor x) => lstm.call(x).Item1;
    }

    sealed class Strided : Module<Tensor, Tensor>
    {
        readonly Conv2d conv = Conv2d(6, 6, 3, padding: 1);
        public Strided() : base(nameof(Strided)) => RegisterComponents();
        public override Tensor forward(Tensor x)
        {
            var channelsLast = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
            var y = conv.call(channelsLast);
            return y.transpose(2, 3).tanh() * y[TensorIndex.Ellipsis, TensorIndex.Slice(step: 2)].repeat(1, 1, 1, 2).sigmoid();
        }
    }
}
