using Actipress.Models;
using static TorchSharp.torch;

namespace Actipress.Tests.Accounting;

public class EnduranceTests
{
    // The test runs alone in its process, because finalizers of other tests change the level by megabytes.
    [Fact]
    public void Two_thousand_steps_leave_nothing_behind() =>
        ChildProcess.RunScenario(typeof(EnduranceTests), nameof(Steps_leave_nothing_behind));

    [Fact(Explicit = true)]
    public void Steps_leave_nothing_behind()
    {
        // libtorch's threads and the runtime's compiler take up to 9 MB in the first thousand steps, also in plain steps
        const int Warm = 1000, Steps = Warm + 2000;
        using var model = new LeNet();
        using var optimizer = optim.Adam(model.parameters());
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        using var images = randn(4, 1, 28, 28);
        using var labels = tensor(new long[] { 1, 2, 3, 4 });
        (long Native, long Managed, long Tensors) level = default;
        for (var step = 0; step < Steps; step++)
        {
            using (NewDisposeScope())
            {
                optimizer.zero_grad();
                compression.Backward(nn.functional.nll_loss(model.call(images), labels));
                optimizer.step();
            }
            Assert.Equal(0, compression.LiveBytes);
            if (step == Warm) level = Level();
        }
        var after = Level();
        Assert.InRange(after.Native - level.Native, long.MinValue, 1 << 20);
        Assert.InRange(after.Managed - level.Managed, long.MinValue, 1 << 20);
        Assert.Equal(level.Tensors, after.Tensors);

        static (long Native, long Managed, long Tensors) Level()
        {
            for (var i = 0; i < 3; i++) AllocatorMeter.Settle();
            return (AllocatorMeter.CurrentBytes, GC.GetTotalMemory(forceFullCollection: true), Tensor.TotalCount);
        }
    }
}
