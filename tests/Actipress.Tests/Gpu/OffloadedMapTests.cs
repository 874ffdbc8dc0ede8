using Actipress.Encodings;
using Actipress.Gpu;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Gpu;

/// <summary>
/// Packed maps on the host: they are copied while the GPU computes, brought back in order, and no memory stays allocated.
/// </summary>
public sealed class OffloadedMapTests : IDisposable
{
    readonly CudaDevice gpu;

    public OffloadedMapTests()
    {
        StandInDriver.Reset();
        gpu = StandInDriver.MakeDevice();
    }

    public void Dispose() => StandInDriver.Reset();

    PackedMap Pack(Tensor map, string text)
    {
        var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
        return codec.Encoding is GridStorage ? GridOnGpuTests.Packed(gpu, map, codec, out _)! : Pipeline.Pack(map, codec, out _)!;
    }

    [Theory, InlineData("dct:4"), InlineData("quant:4"), InlineData("st:10,storage=compact"), InlineData("half")]
    public void A_map_comes_back_from_the_host_and_no_memory_or_event_stays(string text)
    {
        using var map = randn(1, 2, 16, 16).relu_();
        using (var expected = Pack(map, text))
        using (var values = expected.Unpack())
        {
            AllocatorMeter.Settle();    // tensors that other tests have left to finalizers are not counted
            var before = Tensor.TotalCount;
            var packed = Pack(map, text);
            var held = OffloadedMap.Of(packed, gpu);
            Assert.IsType<OffloadedMap>(held);
            Assert.Equal(expected.Bytes, held.Bytes);
            Assert.InRange(StandInDriver.Pinned.Values.Sum(), held.Bytes, held.Bytes + 4096 + 4 * 64);
            Assert.Equal(expected.HasExactZeros, held.KeepsExactZeros);
            // The device's memory is released.
            Assert.Equal(before, Tensor.TotalCount);
            for (var time = 0; time < 2; time++)
                using (var back = held.Unpack()) Assert.True(back.Equals(values));
            held.Dispose();
            Assert.Equal(before, Tensor.TotalCount);
        }
        Assert.Empty(StandInDriver.Events);
        // Pinned memory is kept for the next map.
        var pinned = StandInDriver.Pinned.Count;
        OffloadedMap.Of(Pack(map, text), gpu).Dispose();
        Assert.Equal(pinned, StandInDriver.Pinned.Count);
    }

    [Fact]
    public void Nothing_is_given_up_before_it_has_arrived_and_only_streams_wait()
    {
        using var map = randn(1, 2, 16, 16).relu_();
        var packed = Pack(map, "half");
        using var values = packed.Unpack();
        var before = Tensor.TotalCount;
        StandInDriver.Busy = true;
        var held = OffloadedMap.Of(packed, gpu);
        Assert.Equal(before, Tensor.TotalCount);
        Assert.Equal(["aside for torch"], StandInDriver.Waits);
        using (var back = held.Unpack()) Assert.True(back.Equals(values));
        Assert.Equal(["aside for torch", "aside for torch", "torch for aside"], StandInDriver.Waits);
        held.Dispose();
        // Memory that is still read is not reused.
        var other = gpu.TakeOnHost(held.Bytes);
        Assert.Equal(2, StandInDriver.Pinned.Count);
        StandInDriver.Busy = false;
        gpu.WhenDone(gpu.Aside(_ => { }), () => { });
        gpu.TakeOnHost(held.Bytes);
        Assert.Equal(2, StandInDriver.Pinned.Count);
        gpu.GiveOnHost(other, held.Bytes);
        Assert.Empty(StandInDriver.Events);
        Assert.True(Tensor.TotalCount < before);
    }

    [Fact]
    public void Where_the_host_has_no_memory_the_map_stays_on_the_device()
    {
        using var map = randn(1, 2, 16, 16);
        using var packed = Pack(map, "half");
        StandInDriver.Failures["cuMemHostAlloc"] = StandInDriver.OutOfMemory;
        Assert.Same(packed, OffloadedMap.Of(packed, gpu));
        using var back = packed.Unpack();
        Assert.Same(packed, OffloadedMap.Of(packed, null));
    }

    [Fact]
    public void On_the_CPU_the_option_changes_nothing()
    {
        var model = nn.Sequential(("tanh", nn.Tanh()), ("again", nn.Tanh()));
        using var compression = model.CompressActivations(options => options.OffloadToHost());
        using var x = randn([4, 4, 16, 16], requires_grad: true);
        using var y = model.call(x);
        compression.Backward(y.sum());
        Assert.All(compression.Report().Layers, layer => Assert.DoesNotContain("host", layer.KeptAs, StringComparison.Ordinal));
    }
}
