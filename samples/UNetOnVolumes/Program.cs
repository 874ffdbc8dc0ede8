// This program segments bright balls in noisy volumes with a 3D U-Net, whose maps fill the memory of such a training.
using Actipress;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

using var model = new UNet(8);
using var optimizer = optim.Adam(model.parameters(), 3e-3);
using var compression = model.CompressActivations(ActivationCodec.Dct(ratio: 10));

for (var step = 1; step <= 12; step++)
{
    using var scope = NewDisposeScope();
    var (volumes, balls) = Volumes(2, 32);
    optimizer.zero_grad();
    var loss = functional.cross_entropy(model.call(volumes), balls);
    loss.backward();
    optimizer.step();
    Console.WriteLine($"step {step}: loss {loss.item<float>():F3}");
}
Console.WriteLine(compression.Report());

// Volumes are (n, 1, side, side, side) and their labels (n, side, side, side): 1 inside a ball, 0 outside.
static (Tensor Volumes, Tensor Labels) Volumes(int n, int side)
{
    var axis = arange(side, float32);
    Tensor Squares(params long[] shape) => (axis.view(shape) - rand([n, 1, 1, 1]) * side).square();
    var inside = (Squares(1, side, 1, 1) + Squares(1, 1, side, 1) + Squares(1, 1, 1, side)).sqrt() < side / 3f;
    return (inside.to(float32).unsqueeze(1) + 0.3 * randn([n, 1, side, side, side]), inside.to(int64));
}

sealed class UNet : Module<Tensor, Tensor>
{
    readonly Module<Tensor, Tensor> down, pool, bottom, rise, up, head;

    public UNet(int features) : base(nameof(UNet))
    {
        Module<Tensor, Tensor> Level(int from, int to) => Sequential(
            Conv3d(from, to, 3, padding: 1), BatchNorm3d(to), ReLU(), Conv3d(to, to, 3, padding: 1), BatchNorm3d(to), ReLU());
        (down, pool, bottom) = (Level(1, features), MaxPool3d(2), Level(features, 2 * features));
        (rise, up, head) = (ConvTranspose3d(2 * features, features, 2, stride: 2), Level(2 * features, features), Conv3d(features, 2, 1));
        RegisterComponents();
    }

    // Tensors that a forward pass makes are disposed when it ends. Only the tensors that autograd saved stay alive, and Actipress
    // compresses these.
    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var skip = down.call(x);
        var risen = rise.call(bottom.call(pool.call(skip)));
        return head.call(up.call(cat([skip, risen], 1))).MoveToOuterDisposeScope();
    }
}
