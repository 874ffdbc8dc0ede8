using Actipress.Gpu;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Gpu;

/// <summary>
/// A network's step whose maps a GPU packs, from the engine's hooks to the kernels' PTX, on a driver that stands in for the real one.
/// </summary>
public sealed class DeferredMapTests : IDisposable
{
    readonly CudaDevice gpu;
    readonly ActivationStore store;

    public DeferredMapTests()
    {
        StandInDriver.Reset();
        gpu = StandInDriver.MakeDevice();
        SavedTensors.SelfCheck();
        store = new ActivationStore(
            new CompressingPolicy(new CompressionOptions().SmallestBytes(64).AdaptToLayers(false).Default(ActivationCodec.Dct(4))),
            run: null)
        {
            GpuOf = _ => gpu,
        };
    }

    public void Dispose() => StandInDriver.Reset();

    static Tensor Forward(Tensor x)
    {
        // Each multiplication saves its input.
        using Tensor a = x.mul(x), b = a.tanh(), c = b.mul(b).add_(b), d = c.mul(c), e = d.mul(x);
        return e.sum();
    }

    static Tensor Leaf() => rand([1, 2, 16, 16]).mul(0.9f).add(0.1f).requires_grad_();

    [Fact]
    public void Gradients_are_those_of_maps_packed_on_the_CPU_and_nothing_is_held_after()
    {
        manual_seed(5);
        using Tensor x = Leaf(), y = x.detach().clone().requires_grad_();
        var cpu = new ActivationStore(
            new CompressingPolicy(new CompressionOptions().SmallestBytes(64).AdaptToLayers(false).Default(ActivationCodec.Dct(4))),
            run: null);
        using (var expected = Step(cpu, y)) { }
        var before = StandInDriver.Launches;
        using (var loss = Step(store, x)) { }
        Assert.True(StandInDriver.Launches > before);
        Assert.True(x.grad!.Equals(y.grad!));
        Assert.Equal(0, store.LiveBytes);
        Assert.Empty(store.Failures);
        Assert.Equal(
            cpu.Report().Layers.Select(layer => (layer.Maps, layer.SavedBytes)),
            store.Report().Layers.Select(layer => (layer.Maps, layer.SavedBytes)));

        static Tensor Step(ActivationStore into, Tensor leaf)
        {
            Tensor loss;
            using (SavedTensorsScope.Enter(into)) loss = Forward(leaf);
            SavedTensors.Backward(loss);
            return loss;
        }
    }

    [Fact]
    public void While_the_GPU_is_behind_two_maps_are_held_raw_and_the_host_waits_for_none_before()
    {
        manual_seed(5);
        using var x = Leaf();
        using var scope = NewDisposeScope();
        StandInDriver.Busy = true;
        StandInDriver.HostWaits = 0;
        using (SavedTensorsScope.Enter(store))
        {
            var y = x.mul(2);
            for (var map = 1; map <= 2; map++)
            {
                y = y.mul(y);
                Assert.Equal(0, StandInDriver.HostWaits);
            }
            // Each map is saved twice. While a third map is being measured, the host waits for the first.
            y = y.mul(y);
            Assert.Equal(1, StandInDriver.HostWaits);
        }
        StandInDriver.Busy = false;
        var live = store.LiveBytes;
        Assert.InRange(live, 1, 3 * x.NumberOfElements * sizeof(float) - 1);
    }

    [Fact]
    public void Out_of_memory_when_a_map_is_written_keeps_it_raw_and_says_so()
    {
        manual_seed(5);
        using Tensor x = Leaf(), y = x.mul(2);
        Tensor loss;
        StandInDriver.Busy = true;
        using (SavedTensorsScope.Enter(store)) loss = y.mul(y).sum();
        StandInDriver.Busy = false;
        StandInDriver.Failures["cuLaunchKernel"] = StandInDriver.OutOfMemory;
        Assert.True(store.LiveBytes > 0);
        StandInDriver.Failures.Clear();
        Assert.Contains("kept as it is", Assert.Single(store.Failures).Message, StringComparison.Ordinal);
        SavedTensors.Backward(loss);
        using var exact = x.mul(8);
        Assert.True(x.grad!.allclose(exact));
        Assert.Equal(0, store.LiveBytes);
        loss.Dispose();
    }
}
