// This program compares four ways through one deep network: plain, compressed, recomputed in the backward pass (checkpointed), and both.
using Actipress;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

Module<Tensor, Tensor> Block(int from, int to) => Sequential(
    Conv2d(from, to, 3, padding: 1), BatchNorm2d(to), ReLU(), Conv2d(to, to, 3, padding: 1), BatchNorm2d(to), ReLU());
using var model = Sequential(
    ("early", Block(3, 32)), ("pool", MaxPool2d(2)), ("late", Block(32, 64)), ("flatten", Flatten()), ("head", Linear(64 * 32 * 32, 10)));
using var images = randn(16, 3, 64, 64);
using var labels = randint(0, 10, [16]);

void Step(string way)
{
    using var meter = AllocatorMeter.Start();
    var before = meter.LevelBytes;
    using (var scope = NewDisposeScope())
    {
        var loss = functional.cross_entropy(model.call(images), labels);
        Console.Write($"{way,-24} {(meter.LevelBytes - before) >> 20,4} MiB after the forward pass");
        loss.backward();
    }
    Console.WriteLine($", {(meter.PeakBytes - before) >> 20,4} MiB at the peak");
    model.zero_grad();
}

Step("warming up");
Step("plain");
using (model.CompressActivations(ActivationCodec.Dct(ratio: 10))) Step("compressed");
using (Checkpoint.Blocks(model, "early", "late"))
{
    Step("checkpointed");
    // The blocks' inputs are compressed, and so are the maps that a block saves while it is recomputed.
    using (model.CompressActivations(ActivationCodec.Dct(ratio: 10))) Step("checkpointed, compressed");
}
