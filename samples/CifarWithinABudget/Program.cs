// This program trains a network on CIFAR-10 in less memory than its activation maps take: dotnet run -- FOLDER, where the folder has the
// five data_batch_*.bin of CIFAR-10's binary version. Without a folder it trains on noise, which shows the memory and teaches nothing.
using Actipress;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

const int Batch = 128, Steps = 12;
Module<Tensor, Tensor> Block(int from, int to) => Sequential(
    Conv2d(from, to, 3, padding: 1, bias: false), BatchNorm2d(to), ReLU(), MaxPool2d(2));
using var model = Sequential(Block(3, 32), Block(32, 64), Block(64, 128), Flatten(), Linear(128 * 4 * 4, 10));
using var optimizer = optim.Adam(model.parameters());

// The maps that a step saves may take 8 MiB. The first step measures the bytes and the loss of each layer's maps under each codec.
using var compression = model.CompressActivations(options => options.Budget(8 << 20, BudgetOf.Maps));

for (var step = 1; step <= Steps; step++)
{
    using var scope = NewDisposeScope();
    var (images, labels) = args is [var folder, ..] ? FromFolder(folder, step) : (rand(Batch, 3, 32, 32), randint(0, 10, [Batch]));
    optimizer.zero_grad();
    var loss = functional.cross_entropy(model.call(images), labels);
    loss.backward();
    optimizer.step();
    Console.WriteLine($"step {step}: loss {loss.item<float>():F3}");
}
Console.WriteLine(compression.Report());

// A record of a batch file is a label and 3 x 32 x 32 bytes. The batches here follow one another through one of the five files.
static (Tensor Images, Tensor Labels) FromFolder(string folder, int step)
{
    const int Record = 1 + 3 * 32 * 32;
    using var file = File.OpenRead(Path.Combine(folder, $"data_batch_{1 + step % 5}.bin"));
    file.Position = (long)(step / 5) * Batch * Record;
    var bytes = new byte[Batch * Record];
    file.ReadExactly(bytes);
    var records = tensor(bytes, [Batch, Record]);
    return (records[.., 1..].to(float32).div(255).reshape(Batch, 3, 32, 32), records[.., 0].to(int64));
}
