// One network, trained by as many processes as there are: dotnet run, or
//   dotnet build -c Release && OMP_NUM_THREADS=1 mpirun -n 2 dotnet bin/Release/net10.0/SeveralProcesses.dll
// Each process has its part of the batch, whose maps it keeps compressed. The batch norms normalise by the whole batch, so that any number
// of processes learns the same.

using Actipress;
using Actipress.Distributed;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

using var ranks = Ranks.World;
const int Batch = 16, Classes = 3;
if (Batch % ranks.Size != 0)
    throw new ArgumentException($"A batch of {Batch} does not divide among {ranks.Size} processes: wanted 1, 2, 4, 8 or 16.");

random.manual_seed(1);
using var model = Sequential(
    Conv2d(1, 16, 3, padding: 1), new SyncBatchNorm(16, ranks), ReLU(),
    Conv2d(16, 16, 3, padding: 1), new SyncBatchNorm(16, ranks), ReLU(),
    AdaptiveAvgPool2d(4), Flatten(), Linear(16 * 4 * 4, Classes));
using var compression = model.CompressActivations(ActivationCodec.Dct(ratio: 10));
using var parallel = model.DataParallel(ranks);
using var optimizer = optim.Adam(model.parameters(), 0.01);

for (var step = 0; step < 60; step++)
{
    using var scope = NewDisposeScope();
    // Every process draws the same batch and takes its part of it. A program with files reads only its part.
    random.manual_seed(100 + step);
    var labels = randint(0, Classes, [Batch]);
    var images = Stripes(labels);
    var (from, count) = (Batch / ranks.Size * ranks.Rank, Batch / ranks.Size);
    optimizer.zero_grad();
    var loss = functional.cross_entropy(model.call(images.narrow(0, from, count)), labels.narrow(0, from, count));
    compression.Backward(loss);     // the gradients are the mean over all processes when it returns
    optimizer.step();
    var mean = ranks.Sum(loss.item<float>()) / ranks.Size;
    if (ranks.Rank == 0 && step % 20 == 19) Console.WriteLine($"step {step + 1}: loss {mean:0.000}, {ranks.Size} process(es)");
}
if (ranks.Rank == 0) Console.WriteLine(compression.Report());

// Pictures of stripes that are 2, 4 or 8 pixels wide, in noise.
static Tensor Stripes(Tensor labels)
{
    var column = arange(32, ScalarType.Float32).view(1, 1, 1, 32);
    var width = pow(2, labels + 1).view(-1, 1, 1, 1).to(ScalarType.Float32);
    return (column / width).floor().remainder(2).expand(-1, 1, 32, -1) + 0.3 * randn([labels.shape[0], 1, 32, 32]);
}
