// PyTorch has hooks for saved tensors, which TorchSharp lacks: one function receives each tensor that autograd saves for the backward pass
// and returns what to keep, and another function returns the tensor. In this sample every map is kept in 16 bits.
using Actipress;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

using var model = Sequential(Conv2d(1, 16, 3), ReLU(), Conv2d(16, 16, 3), ReLU(), Flatten(), Linear(16 * 24 * 24, 10));
using var images = randn(32, 1, 28, 28);
using var labels = randint(0, 10, [32]);

long saved = 0, kept = 0;
Tensor Loss() => functional.cross_entropy(model.call(images), labels);

using (var exact = Loss()) exact.backward();
var exactGradients = model.parameters().Select(parameter => parameter.grad!.clone()).ToArray();
model.zero_grad();

Tensor loss;
using (SavedTensors.Hook(pack: Half, unpack: Full)) loss = Loss();
using (loss) loss.backward();

foreach (var ((name, parameter), exact) in model.named_parameters().Zip(exactGradients))
{
    using var difference = parameter.grad! - exact;
    Console.WriteLine($"{name,-10} gradient differs by {(difference.norm() / exact.norm()).item<float>():P3}");
    exact.Dispose();
}
Console.WriteLine($"{saved >> 10} KiB saved, {kept >> 10} KiB kept");

// Maps, weights and labels are saved. A tensor that is not of floats is kept as it is.
object Half(Tensor tensor)
{
    if (tensor.dtype != float32) return tensor;
    var half = tensor.half();
    saved += tensor.numel() * sizeof(float);
    kept += half.numel() * sizeof(short);
    return half;
}

Tensor Full(object? handle) => handle is Tensor { dtype: ScalarType.Float16 } half ? half.@float() : ((Tensor)handle!).alias();
