using System.Runtime.InteropServices;
using Actipress.Gpu;
using Actipress.Grid.Gpu;
using static TorchSharp.torch;

namespace Actipress.Tests.Gpu;

/// <summary>
/// The path from a map to its kernels' PTX through the CUDA driver's interface, on a driver that stands in for the real one.
/// </summary>
public sealed class CudaDeviceTests : IDisposable
{
    public CudaDeviceTests() => StandInDriver.Reset();

    public void Dispose() => StandInDriver.Reset();

    [Fact]
    public void The_very_ptx_that_is_loaded_packs_and_unpacks_as_the_CPU_does()
    {
        var before = StandInDriver.Launches;
        GpuGrid.SelfCheck(StandInDriver.MakeDevice());
        Assert.True(StandInDriver.Launches > before);
    }

    [Fact]
    public void Without_a_driver_it_says_so()
    {
        Assert.SkipWhen(NativeLibrary.TryLoad("libcuda.so.1", out _), "this machine has a driver");
        var refusal = Assert.Throws<PlatformNotSupportedException>(() => CudaDriver.Here);
        Assert.Contains("found no libcuda.so.1, wanted an NVIDIA driver", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_GPU_in_libtorch_it_says_so()
    {
        Assert.SkipWhen(cuda.is_available(), "this machine has a GPU");
        Assert.Null(GpuGrid.DeviceOf(CPU));
        Assert.Contains("no CUDA in this libtorch", GpuGrid.Refusal(0), StringComparison.Ordinal);
    }

    [Fact]
    public void An_old_driver_is_refused()
    {
        StandInDriver.Version = 10020;
        Refused("found a driver for CUDA 10.2, wanted one for CUDA 11.0 or newer");
        StandInDriver.Version = 12080;
        StandInDriver.Missing.Add("cuModuleLoadDataEx");
        Refused("found a CUDA driver without cuModuleLoadDataEx");
        StandInDriver.Missing.Clear();
        StandInDriver.Failures["cuInit"] = 100;
        Refused("found a CUDA driver that does not start: CUDA_ERROR_OF_A_STAND_IN");
    }

    [Fact]
    public void A_driver_or_GPU_that_cannot_read_the_ptx_is_refused_in_the_driver_s_words()
    {
        StandInDriver.Failures["cuModuleLoadDataEx"] = StandInDriver.UnsupportedPtx;
        Refused("ptxas says no");
        StandInDriver.Failures.Clear();
        StandInDriver.Major = 6;
        Refused("found A stand-in of compute capability 6.0, wanted 7.0 or newer");
    }

    static void Refused(string found) =>
        Assert.Contains(found, Assert.Throws<PlatformNotSupportedException>(StandInDriver.MakeDevice).Message, StringComparison.Ordinal);

    [Fact]
    public void A_map_on_another_device_is_refused()
    {
        var gpu = new CudaDevice(StandInDriver.Open(), new Device(DeviceType.META), StandInDriver.CurrentStream);
        using var map = randn(1, 1, 16, 16);
        var mistake = Assert.Throws<ArgumentException>(() => GpuGrid.Pack(gpu, map, ActivationCodec.Dct(10), out _));
        Assert.Contains("A map on cpu was given to the kernels of meta", mistake.Message, StringComparison.Ordinal);
    }

    // x * x saves x twice.
    [Fact]
    public void Out_of_memory_in_pack_or_in_unpack_is_an_error_with_its_cause()
    {
        var gpu = StandInDriver.MakeDevice();
        var codec = ActivationCodec.Dct(2) with { EvenIfLarger = true };
        using var x = randn([1, 1, 16, 16], requires_grad: true);
        using var y = x.mul(2);

        StandInDriver.Failures["cuLaunchKernel"] = StandInDriver.OutOfMemory;
        SavedTensorsScope scope;
        Tensor loss;
        using (scope = Hook()) loss = y.mul(y).sum();
        Assert.Equal(2, scope.Failures.Count);
        Assert.All(scope.Failures, failure => Assert.Contains("Free GPU memory", failure.Message, StringComparison.Ordinal));
        StandInDriver.Failures.Clear();
        Assert.Contains(
            "Free GPU memory", Assert.Throws<ExternalException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
        loss.Dispose();

        using (scope = Hook()) loss = y.mul(y).sum();
        Assert.Empty(scope.Failures);
        StandInDriver.Failures["cuLaunchKernel"] = StandInDriver.OutOfMemory;
        var cause = Assert.Throws<ExternalException>(() => SavedTensors.Backward(loss));
        Assert.Contains("The CUDA driver failed at starting the kernel Unpack", cause.Message, StringComparison.Ordinal);
        loss.Dispose();

        SavedTensorsScope Hook() =>
            SavedTensors.Hook(map => GridOnGpuTests.Packed(gpu, map, codec, out _), packed => ((PackedMap)packed!).Unpack());
    }

    [Fact]
    public void Arguments_may_be_made_on_any_thread_and_nothing_is_left_behind()
    {
        var gpu = StandInDriver.MakeDevice();
        using var map = randn(1, 2, 16, 16).relu_();
        var codec = ActivationCodec.Dct(10) with { EvenIfLarger = true };
        GridOnGpuTests.Packed(gpu, map, codec, out _)!.Dispose();
        AllocatorMeter.Settle();    // tensors that earlier tests left to finalizers would be disposed meanwhile
        var before = Tensor.TotalCount;
        using (var packed = GridOnGpuTests.Packed(gpu, map, codec, out _)!)
        {
            // On CUDA the engine's own threads unpack maps.
            byte[] here = packed.ToBytes(), there = [];
            Tensor? back = null;
            var engine = new Thread(() => (there, back) = (packed.ToBytes(), packed.Unpack()));
            engine.Start();
            engine.Join();
            Assert.Equal(here, there);
            using (var again = packed.Unpack()) Assert.True(again.Equals(back!));
            back!.Dispose();
        }
        Assert.Equal(before, Tensor.TotalCount);
    }
}
