using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Autograd;

/// <summary>
/// What the collector finalizes while an operation runs is freed when the operation has ended. A scenario could end the process, and needs
/// optimised code from the first call on, in which arguments are unreachable once their handles were read.
/// </summary>
public sealed class FinalizedHandlesTests
{
    [Theory]
    [InlineData(nameof(Scenario.A_scalar_is_read_after_its_finalizer_ran))]
    [InlineData(nameof(Scenario.A_tensor_is_read_after_its_finalizer_ran))]
    [InlineData(nameof(Scenario.A_compressed_network_trains_beside_the_collector))]
    [InlineData(nameof(Scenario.What_waited_is_freed))]
    public void Within_an_operation(string scenario) =>
        ChildProcess.RunScenario(typeof(Scenario), scenario, ("DOTNET_TieredCompilation", "0"));

    [Theory]
    [InlineData("THSTensor_add", "at the beginning of THSTensor_add")]
    [InlineData("THSTensor_nothing", "no function THSTensor_nothing")]
    public unsafe void A_function_of_other_code_is_refused_and_stays(string name, string found)
    {
        SavedTensors.SelfCheck();
        var library = NativeLibrary.Load("LibTorchSharp", typeof(torch).Assembly, null);
        var isThere = NativeLibrary.TryGetExport(library, name, out var function);
        var before = isThere ? new ReadOnlySpan<byte>((void*)function, 16).ToArray() : [];
        var refusal = Assert.Throws<PlatformNotSupportedException>(() => FinalizedHandles.Prepare(library, name, 1));
        Assert.Contains(found, refusal.Message, StringComparison.Ordinal);
        if (isThere) Assert.Equal(before, new ReadOnlySpan<byte>((void*)function, 16).ToArray());
    }

    public sealed class Scenario
    {
        // The collector runs within each operation, and new native objects take the memory of freed ones.
        sealed class Collecting : SavedTensorHooks
        {
            readonly List<Scalar> scalars = [];

            public override bool WatchesOperations => true;

            public override SavedTensor Pack(Tensor tensor)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                for (var i = 0; i < 100; i++) scalars.Add((float)i);
                return new PassedOn(tensor);
            }
        }

        static void Run(Action step)
        {
            SavedTensors.SelfCheck();
            Assert.Null(FinalizedHandles.Refusal);
            using (SavedTensorsScope.Enter(new Collecting()))
                for (var i = 0; i < 50; i++) step();
        }

        [Fact(Explicit = true)]
        public void A_scalar_is_read_after_its_finalizer_ran()
        {
            using var x = tensor(new[] { -1f, 2f }, requires_grad: true);
            Run(() =>
            {
                using (var y = x.leaky_relu(0.25)) Assert.Equal([-0.25f, 2], y.data<float>());
                using (var y = x.pow(2)) Assert.Equal([1, 4], y.data<float>());
                using (var z = x.clone())
                using (var y = z.hardtanh_(-1.5, 1.5)) Assert.Equal([-1f, 1.5f], y.data<float>());
            });
        }

        [Fact(Explicit = true)]
        public void A_tensor_is_read_after_its_finalizer_ran()
        {
            using var x = full([1000], 0.5f, requires_grad: true);
            Run(() =>
            {
                for (var i = 0; i < 3; i++) Check(x.mul(x).sin().exp());
            });

            static void Check(Tensor y)
            {
                Assert.All(y.data<float>().ToArray(), value => Assert.Equal(MathF.Exp(MathF.Sin(0.25f)), value, 1e-6f));
                y.Dispose();
            }
        }

        [Fact(Explicit = true)]
        public void A_compressed_network_trains_beside_the_collector()
        {
            var isOver = false;
            var collector = new Thread(() =>
            {
                while (!Volatile.Read(ref isOver))
                {
                    GC.Collect(0);
                    GC.WaitForPendingFinalizers();
                }
            });
            collector.Start();
            random.manual_seed(1);
            using var model = nn.Sequential(
                nn.Conv2d(3, 16, 3, padding: 1), nn.InstanceNorm2d(16, affine: true), nn.LeakyReLU(0.01), nn.Conv2d(16, 16, 3, padding: 1),
                nn.GroupNorm(4, 16), nn.ELU(), nn.Conv2d(16, 16, 3, padding: 1), nn.Softplus(), nn.Conv2d(16, 4, 1));
            using var images = randn(8, 3, 32, 32);
            using (model.CompressActivations(ActivationCodec.Dct(10)))
                for (var step = 0; step < 60; step++)
                {
                    using var loss = Loss(model.forward(images));
                    loss.backward();
                }
            isOver = true;
            collector.Join();

            // The intermediate results are left to the collector.
            static Tensor Loss(Tensor y) => silu(y.mul(y).pow(1.5)).mean();
        }

        [Fact(Explicit = true)]
        public void What_waited_is_freed()
        {
            using var x = full([1 << 18], 0.5f, requires_grad: true);
            Run(() => Chain(x));
            Thread.Sleep(200);
            using (SavedTensorsScope.Enter(new Collecting())) x.sin().Dispose();
            AllocatorMeter.Settle();
            Assert.False(FinalizedHandles.IsWaiting);
            var before = AllocatorMeter.CurrentBytes;
            for (var round = 0; round < 10; round++) Run(() => Chain(x));
            AllocatorMeter.Settle();
            Assert.False(FinalizedHandles.IsWaiting);
            Assert.InRange(AllocatorMeter.CurrentBytes - before, long.MinValue, 1 << 20);    // one tensor has as many bytes

            [MethodImpl(MethodImplOptions.NoInlining)]
            static void Chain(Tensor x) => x.sin().exp().leaky_relu(0.1);
        }
    }
}
