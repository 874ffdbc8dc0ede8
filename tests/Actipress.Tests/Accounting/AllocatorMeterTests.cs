using System.Runtime.Intrinsics.X86;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

[MeasuresMemory]
public class AllocatorMeterTests
{
    // The runtime and the finalizers of other tests allocate and free this much meanwhile.
    const long MiB = 1 << 20, Others = 100_000;

    // libtorch allocates this much when it is loaded.
    static AllocatorMeterTests() => empty(1).Dispose();

    [Fact]
    public void The_level_follows_a_tensor()
    {
        var before = AllocatorMeter.CurrentBytes;
        using (empty(8 * MiB, uint8)) Assert.InRange(AllocatorMeter.CurrentBytes - before, 8 * MiB - Others, 8 * MiB + Others);
        Assert.InRange(AllocatorMeter.CurrentBytes - before, -Others, Others);
    }

    [Fact]
    public void The_peak_remembers_what_is_gone()
    {
        using var meter = AllocatorMeter.Start();
        var before = AllocatorMeter.CurrentBytes;
        empty(24 * MiB, uint8).Dispose();
        Assert.InRange(meter.PeakBytes - before, 24 * MiB - Others, 24 * MiB + Others);
        meter.ResetPeak();
        Assert.InRange(meter.PeakBytes - before, -Others, Others);
    }

    // The meter does not read the level at smaller allocations. Their bytes are in the level of the next larger one.
    [Theory, InlineData(16 << 10, true), InlineData((16 << 10) - 1, false)]
    public void The_peak_is_looked_at_before_an_allocation_of_16_KiB(int bytes, bool isSeen)
    {
        const int Many = 2000;
        using var meter = AllocatorMeter.Start();
        var seen = Enumerable.Range(0, Many).Count(_ =>
        {
            meter.ResetPeak();
            var before = AllocatorMeter.CurrentBytes;
            empty(bytes, uint8).Dispose();
            return meter.PeakBytes - before >= bytes;
        });
        // Other allocations of the process meanwhile fall into a few of the tries.
        Assert.InRange(seen, isSeen ? Many * 9 / 10 : 0, isSeen ? Many : Many / 10);
    }

    [Fact]
    public void A_temporary_inside_one_operation_is_seen()
    {
        using var x = randn(4 * MiB);
        using var meter = AllocatorMeter.Start();
        var before = AllocatorMeter.CurrentBytes;
        using (x.sort().Values) { }    // sort copies its input
        Assert.True(meter.PeakBytes - before > 2 * 16 * MiB, $"{meter.PeakBytes - before}");
    }

    [Fact]
    public void An_allocation_that_fails_throws_as_without_a_meter()
    {
        using var meter = AllocatorMeter.Start();
        Assert.ThrowsAny<Exception>(() => empty(1L << 50, uint8));
        using var small = empty(MiB, uint8);
    }

    [Fact]
    public void What_the_ledger_says_is_what_the_allocator_holds()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(
            Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), Conv2d(16, 16, 3, padding: 1), BatchNorm2d(16), ReLU(),
            Conv2d(16, 4, 1));
        var x = randn(16, 3, 64, 64);
        long AfterForward(out Tensor y)
        {
            var before = AllocatorMeter.CurrentBytes;
            y = model.call(x);
            return AllocatorMeter.CurrentBytes - before - y.NumberOfElements * 4;
        }
        AfterForward(out var warm);
        warm.Dispose();
        var plain = AfterForward(out var output);
        output.sum().backward();
        output.Dispose();
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        AfterForward(out warm);
        warm.sum().backward();
        warm.Dispose();
        var compressed = AfterForward(out output);
        var report = compression.Report();
        var freed = report.SavedBytes - report.KeptBytes;
        Assert.InRange((plain - compressed) / (double)freed, 0.98, 1.02);
        output.sum().backward();
        output.Dispose();
        Assert.Equal(0, compression.LiveBytes);
    }

    [Fact]
    public void A_large_convolution_s_backward_pass_holds_its_input_once()
    {
        Allocated.ByUsualConvolutions();
        using var everything = NewDisposeScope();
        using var model = Conv3d(32, 4, 3, padding: 1);
        using var compression = model.CompressActivations(options => options.ReadInPieces(false));
        var bytes = 32L * 102 * 102 * 102 * sizeof(float);
        Tensor loss;
        using (var x = randn([1, 32, 102, 102, 102], requires_grad: true))
        using (var doubled = x * 2)
        using (var y = model.call(doubled))
            loss = y.sum();
        using var meter = AllocatorMeter.Start();
        var before = AllocatorMeter.CurrentBytes;
        compression.Backward(loss);
        // The input and its gradient take this, and each of two layouts of the incoming gradient an eighth. oneDNN takes some more: without
        // AVX-512 it computes the weights' gradient as a matrix product, whose operands it rearranges first.
        var most = Avx512F.IsSupported ? 2.5 : 3.5;
        Assert.InRange(meter.PeakBytes - before, 2 * bytes, (long)(most * bytes));
    }
}
