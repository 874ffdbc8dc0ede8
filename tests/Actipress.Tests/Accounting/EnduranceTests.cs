using Actipress.Backward;
using Actipress.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

/// <summary>
/// The levels of native and managed memory stay the same through many steps. Each scenario runs alone in its process, because finalizers of
/// other tests change the levels by megabytes.
/// </summary>
public class EnduranceTests
{
    [Fact]
    public void Two_thousand_steps_leave_nothing_behind() => ChildProcess.RunScenario(typeof(EnduranceTests), nameof(Steps_of_small_maps));

    [LongFact]
    public void Ten_thousand_steps_that_read_in_pieces_leave_nothing_behind() =>
        ChildProcess.RunScenario(typeof(EnduranceTests), nameof(Steps_that_read_in_pieces), TimeSpan.FromMinutes(30));

    [Fact(Explicit = true)]
    public void Steps_of_small_maps()
    {
        using var model = new LeNet();
        using var images = randn(4, 1, 28, 28);
        using var labels = tensor(new long[] { 1, 2, 3, 4 });
        LeaveNothingBehind(model, 2000, () => functional.nll_loss(model.call(images), labels));
    }

    [Fact(Explicit = true)]
    public void Steps_that_read_in_pieces()
    {
        // A batch norm's input and a convolution's of 8 MiB, which are read in pieces. A transform gathers little of noise, which would get
        // 8 bits.
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), BatchNorm2d(8), ReLU(), Conv2d(8, 1, 3, padding: 1));
        using var noise = randn(256, 1, 32, 32);
        using var images = functional.avg_pool2d(noise, [5, 5], [1, 1], [2, 2]);
        var before = Placeholder.PiecesRead;
        LeaveNothingBehind(model, 10_000, () => model.call(images).square().mean());
        Assert.InRange(Placeholder.PiecesRead - before, 10_000 * 2, long.MaxValue);
    }

    static void LeaveNothingBehind(Module<Tensor, Tensor> model, int steps, Func<Tensor> loss)
    {
        // libtorch's threads and the runtime's compiler take up to 9 MB in the first thousand steps, also in plain steps
        const int Warm = 1000;
        using var optimizer = optim.Adam(model.parameters());
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        (long Native, long Managed, long Tensors) level = default;
        for (var step = 0; step < Warm + steps; step++)
        {
            using (NewDisposeScope())
            {
                optimizer.zero_grad();
                compression.Backward(loss());
                optimizer.step();
            }
            Assert.Equal(0, compression.LiveBytes);
            if (step == Warm) level = Level();
        }
        var after = Level();
        Assert.InRange(after.Native - level.Native, long.MinValue, 1 << 20);
        Assert.InRange(after.Managed - level.Managed, long.MinValue, 1 << 20);
        Assert.Equal(level.Tensors, after.Tensors);
    }

    static (long Native, long Managed, long Tensors) Level()
    {
        for (var i = 0; i < 3; i++) AllocatorMeter.Settle();
        return (AllocatorMeter.CurrentBytes, GC.GetTotalMemory(forceFullCollection: true), Tensor.TotalCount);
    }
}
