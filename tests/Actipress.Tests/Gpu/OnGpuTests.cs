using Actipress.Gpu;
using Actipress.Models;
using Actipress.Tests.Codecs;
using static TorchSharp.torch;

namespace Actipress.Tests.Gpu;

/// <summary>Tests that need a GPU. Without one each test skips and is counted; <c>./dev gpu</c> runs them.</summary>
public sealed class OnGpuTests : IDisposable
{
    readonly DisposeScope scope;

    public OnGpuTests()
    {
        Assert.SkipUnless(cuda.is_available(), "needs a GPU that libtorch can use; ./dev gpu runs this where there is one");
        scope = NewDisposeScope();
    }

    public void Dispose() => scope?.Dispose();

    static readonly Device gpu = new(DeviceType.CUDA, 0);

    [Fact]
    public void Kernels_are_loaded_and_agree_with_the_CPU_in_a_trial() => Assert.Null(GpuKernels.Refusal(gpu));

    [Fact]
    public void The_meter_is_the_caching_allocator_s() => Assert.Equal("torch's caching allocator, exactly", AllocatorMeter.SourceOn(gpu));

    public static TheoryData<string> Codecs => GridOnGpuTests.Codecs;

    [Theory, MemberData(nameof(Codecs))]
    public void Bytes_and_values_are_the_CPU_s_on_every_awkward_map_in_every_type(string text)
    {
        var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
        foreach (var type in CodecLaws.Types)
            foreach (var map in AwkwardMap.All)
            {
                using var one = NewDisposeScope();
                var x = map.Tensor().to(type);
                using var expected = Pipeline.Pack(x, codec, out var cpuWhy);
                using var packed = Pipeline.Pack(x.to(gpu), codec, out var why);
                Assert.True(cpuWhy == why, $"{text} on {map} in {type}: {why}, wanted {cpuWhy}");
                Assert.Equal(expected is null, packed is null);
                if (expected is null) continue;
                Assert.True(expected.ToBytes().AsSpan().SequenceEqual(packed!.ToBytes()), $"{text} on {map} in {type}: other bytes");
                Assert.True(packed.Unpack().cpu().Equals(expected.Unpack()), $"{text} on {map} in {type}: other values");
            }
    }

    [Theory, InlineData("dct:10", 64, 64, 128), InlineData("dct:4", 512, 7, 7), InlineData("st:10", 100, 100, 100)]
    public void Bytes_and_values_are_the_CPU_s_on_larger_maps(string text, int maps, int height, int width)
    {
        var x = randn(8, maps, height, width).relu_();
        using var expected = Pipeline.Pack(x, ActivationCodec.Parse(text), out _)!;
        using var packed = Pipeline.Pack(x.to(gpu), ActivationCodec.Parse(text), out _)!;
        Assert.True(expected.ToBytes().AsSpan().SequenceEqual(packed.ToBytes()));
        Assert.True(packed.Unpack().cpu().Equals(expected.Unpack()));
    }

    [Theory, InlineData("dct:10"), InlineData("wt:haar:10"), InlineData("st:10"), InlineData("quant:4"), InlineData("half")]
    public void A_network_s_step_holds_packed_maps_until_backward_and_none_after(string text)
    {
        using var model = ResNet.ResNet20(10).to(gpu);
        var (x, y) = (randn(32, 3, 32, 32).to(gpu), randint(10, [32]).to(gpu));
        using var compression = model.CompressActivations(ActivationCodec.Parse(text));
        var loss = nn.functional.cross_entropy(model.call(x), y);
        Assert.True(compression.LiveBytes > 0);
        compression.Backward(loss);
        Assert.Equal(0, compression.LiveBytes);
        Assert.Empty(compression.Report().Notes);
        Assert.All(model.parameters(), parameter => Assert.True(parameter.grad!.isfinite().all().item<bool>()));
        Assert.InRange(compression.MeasureFidelity(() => nn.functional.cross_entropy(model.call(x), y)).Cosine, 0.8, 1.01);
    }

    // The measured bytes are within 2 % of the ledger.
    [Fact]
    public void The_allocator_gains_what_the_ledger_says()
    {
        using var model = ResNet.ResNet20(10).to(gpu);
        var x = randn(128, 3, 32, 32).to(gpu);
        long Held(ActivationCodec codec, out long ledger)
        {
            using var compression = model.CompressActivations(codec);
            using (var warm = model.call(x)) compression.Backward(warm.sum());
            var before = AllocatorMeter.BytesOn(gpu);
            using var output = model.call(x);
            var held = AllocatorMeter.BytesOn(gpu) - before - output.NumberOfElements * output.ElementSize;
            ledger = compression.LiveBytes;
            compression.Backward(output.sum());
            return held;
        }
        var (plain, packed) = (Held(ActivationCodec.None, out var raw), Held(ActivationCodec.Dct(10), out var kept));
        Assert.InRange(packed, 0.98 * kept, 1.02 * kept + (512 << 10));
        Assert.InRange(plain, 0.98 * raw, 1.02 * raw + (512 << 10));
    }

    [Fact]
    public void A_map_too_large_for_the_GPU_is_an_error_and_the_process_lives()
    {
        var free = GpuMemory.Free(gpu);
        Assert.ThrowsAny<Exception>(() => empty(2 * free, uint8, gpu));
        AllocatorMeter.EmptyCache(gpu);
        var x = randn(1, 4, 32, 32);
        using var packed = Pipeline.Pack(x.to(gpu), ActivationCodec.Dct(10), out _)!;
        using var onCpu = Pipeline.Pack(x, ActivationCodec.Dct(10), out _)!;
        Assert.Equal(onCpu.ToBytes(), packed.ToBytes());
    }

    static class GpuMemory
    {
        public static long Free(Device device)
        {
            var driver = CudaDriver.Here;
            return driver.Memory(driver.Context(Math.Max(0, device.index))).Free;
        }
    }
}
