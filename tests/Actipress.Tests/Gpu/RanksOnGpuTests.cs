using Actipress.Distributed;
using Actipress.Tests.Distributed;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Gpu;

/// <summary>Ranks with a GPU each. The tests skip by name where there are fewer.</summary>
public sealed class RanksOnGpuTests
{
    [Fact]
    public void Two_ranks_average_gradients_and_batch_norms_on_their_GPUs()
    {
        Assert.SkipUnless(cuda.is_available() && cuda.device_count() > 1, "needs two GPUs that libtorch can use");
        Mpirun.RunScenario(2, typeof(RanksOnGpuTests), nameof(Averages));
    }

    [Fact(Explicit = true)]
    public void Averages()
    {
        using var everything = NewDisposeScope();
        var ranks = Ranks.World;
        var device = new Device(DeviceType.CUDA, ranks.LocalRank);
        random.manual_seed(3);
        var one = Sequential(Conv2d(3, 8, 3), BatchNorm2d(8), ReLU(), Conv2d(8, 2, 3)).to(device);
        var own = Sequential(Conv2d(3, 8, 3), new SyncBatchNorm(8, ranks), ReLU(), Conv2d(8, 2, 3)).to(device);
        own.load_state_dict(one.state_dict());
        var whole = randn(8, 3, 12, 12).to(device);
        using var parallel = own.DataParallel(ranks);
        one.call(whole).square().mean().backward();
        own.call(whole.narrow(0, 4 * ranks.Rank, 4)).square().mean().backward();
        foreach (var (name, parameter) in own.named_parameters().Where(named => named.name != "0.bias"))
        {
            var wanted = one.get_parameter(name)!.grad!;
            Assert.True((parameter.grad! - wanted).norm().item<float>() < 1e-4f * wanted.norm().item<float>(), name);
        }
    }
}
