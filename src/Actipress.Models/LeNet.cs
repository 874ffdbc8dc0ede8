using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Models;

/// <summary>
/// The convolutional network of the paper's MNIST experiments (Section 5): (n, 1, 28, 28) to log-probabilities (n, 10); 150 194
/// parameters.
/// </summary>
public sealed class LeNet : Module<Tensor, Tensor>
{
    readonly Conv2d conv1 = Conv2d(1, 16, 3);
    readonly ReLU relu1 = ReLU();
    readonly Conv2d conv2 = Conv2d(16, 8, 3);
    readonly MaxPool2d mp = MaxPool2d(2);
    readonly Dropout2d drop1 = Dropout2d(0.25);
    readonly Linear fc1 = Linear(1152, 128);
    readonly ReLU relu2 = ReLU();
    readonly Dropout drop2 = Dropout(0.5);
    readonly Linear fc2 = Linear(128, 10);

    /// <summary>Each block is a layer, as in Figure 6: conv1, relu1, conv2, mp.</summary>
    public static IReadOnlyList<string[]> Blocks { get; } = [["conv1"], ["relu1"], ["conv2"], ["mp"]];

    public LeNet() : base(nameof(LeNet)) => RegisterComponents();

    public override Tensor forward(Tensor x)
    {
        using var a = conv1.call(x);
        using var b = relu1.call(a);
        using var c = conv2.call(b);
        using var d = mp.call(c);
        using var e = drop1.call(d);
        using var f = e.flatten(1);
        using var g = fc1.call(f);
        using var h = relu2.call(g);
        using var i = drop2.call(h);
        using var logits = fc2.call(i);
        return functional.log_softmax(logits, 1);
    }
}
